"""Differences of two methods as a forest plot: a row each, its interval as a line, and zero through all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from gim.evaluation.bootstrap import Interval
from gim.evaluation.reports.cells import verdict, with_interval
from gim.evaluation.reports.svg import element, label, line, picture, ticks, titled

_ROW = 24
_TOP, _BELOW = 24, 22
_NUMBERS = 178  # width of the column of numbers, CSS pixels
_PER_LETTER = 6.7  # about, of a label of 12 px


@dataclass(frozen=True, slots=True)
class ForestRow:
    """A difference."""

    name: str
    value: float
    interval: Interval
    is_sum: bool = False  # of all the others: a rule is drawn below it


def forest_plot(title: str, rows: Sequence[ForestRow], width: float) -> Markup:
    """The plot.

    Args:
        title: above it.
        rows: from top to bottom, at least one.
        width: CSS pixels.
    """
    left = min(0.4 * width, 16 + _PER_LETTER * max(len(row.name) for row in rows))
    right = width - _NUMBERS
    low, high = min(0.0, *(row.interval.low for row in rows)), max(0.0, *(row.interval.high for row in rows))
    margin = 0.04 * max(high - low, 1e-3)
    across = (right - left) / (high - low + 2 * margin)

    def at(value: float) -> float:
        return left + (value - low + margin) * across

    height = _TOP + _ROW * len(rows) + _BELOW
    floor = height - _BELOW
    parts = [label(title, 0, 13, class_="panel-title")]
    for value in ticks(low - margin, high + margin, 5):
        is_zero = abs(value) < 1e-9
        parts += [
            line(at(value), _TOP, at(value), floor, "zero" if is_zero else "grid-line"),
            label("0" if is_zero else f"{value:+g}".replace("-", "−"), at(value), floor + 15, "middle"),
        ]
    for place, row in enumerate(rows):
        parts += _row(row, _TOP + (place + 0.5) * _ROW, at, width)
    return picture(width, height, title, parts)


def _row(row: ForestRow, y: float, at: Callable[[float], float], width: float) -> list[Markup]:
    kind = verdict(row.interval)
    text = with_interval(row.value, row.interval, is_signed=True)
    x, reach = at(row.value), 5.0 if row.is_sum else 4.0
    mark = element("circle", cx=x, cy=y, r=reach, class_="estimate")
    if row.is_sum:
        mark = element(
            "path",
            d=f"M{x - 7:.1f} {y:.1f}L{x:.1f} {y - 6:.1f}L{x + 7:.1f} {y:.1f}L{x:.1f} {y + 6:.1f}z",
            class_="estimate",
        )
    whole = element(
        "g",
        *titled(f"{row.name}: {text}, {kind}"),
        line(at(row.interval.low), y, at(row.interval.high), y, "reach-line"),
        mark,
        class_=kind,
    )
    rule = [line(0, y + _ROW / 2, width, y + _ROW / 2, "rule")] * row.is_sum
    strong = "label strong" if row.is_sum else "label"
    return [label(row.name, 0, y + 4, class_=strong), whole, label(text, width, y + 4, "end", strong), *rule]
