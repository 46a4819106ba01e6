"""Bars of AUC@5 degrees side by side for every dataset, with their intervals, and the best that is printed."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from gim.evaluation.reports.cells import printable, with_interval
from gim.evaluation.reports.contents import Contents
from gim.evaluation.reports.svg import element, label, line, picture, ticks, titled
from gim.evaluation.scores import MAIN, Score

_WIDTH, _HEIGHT = 1296, 330
_LEFT, _TOP = 34, 16
_FLOOR = _HEIGHT - 30
_WIDEST = 34.0  # a bar
_LINE = 14.0  # of text
_LABELLED = 24.0  # bars this wide have their number in them


@dataclass(frozen=True, slots=True)
class _Axis:
    """Where percents are."""

    top: float

    def y(self, value: float) -> float:
        return _FLOOR - value * (_FLOOR - _TOP) / self.top


def score_bars(contents: Contents, names: Sequence[str]) -> Markup:
    """The chart of some methods, on the datasets that one of them has; where another has none is a dash."""
    scores = contents.scores
    columns = [dataset for dataset in contents.columns if any(dataset in scores[name].datasets for name in names)]
    found = [score.interval[MAIN].high for name in names for score in scores[name].datasets.values()]
    printed = [row.scores.get(dataset, 0.0) for row in contents.rows for dataset in columns]
    axis = _Axis(min(100.0, 10 * -(-max(*found, *printed, 10.0) // 10)))
    parts = []
    for value in ticks(0, axis.top, 5):
        parts.append(line(_LEFT, axis.y(value), _WIDTH, axis.y(value), "grid-line"))
        parts.append(label(f"{value:g}", _LEFT - 8, axis.y(value) + 4, "end"))
    step = (_WIDTH - _LEFT) / len(columns)
    width = min(_WIDEST, 0.8 * step / len(names))
    for place, dataset in enumerate(columns):
        middle = _LEFT + (place + 0.5) * step
        parts.append(label(printable(dataset), middle, _HEIGHT - 8, "middle", "axis"))
        parts += _best_printed(contents, dataset, middle, 0.44 * step, axis)
        for index, name in enumerate(names):
            x = middle + (index - len(names) / 2) * width
            what = printable(f"{name}, {dataset}")
            parts.append(_bar(what, index, scores[name].datasets.get(dataset), x=x, width=width, axis=axis))
    return picture(_WIDTH, _HEIGHT, "AUC@5° of every dataset, percent", parts)


def _bar(what: str, index: int, score: Score | None, *, x: float, width: float, axis: _Axis) -> Markup:
    middle = x + width / 2
    if score is None:
        return element(
            "text",
            *titled(f"{what}: no results"),
            "–",
            x=middle,
            y=_FLOOR - 4,
            text_anchor="middle",
            class_="absent",
        )
    value, interval = score.auc[MAIN], score.interval[MAIN]
    pairs = f"{score.num_pairs:,} pairs, {score.num_failures:,} failures"
    low, high = axis.y(interval.low), axis.y(interval.high)
    parts = [
        element(
            "rect", x=x + 0.5, y=axis.y(value), width=width - 1, height=_FLOOR - axis.y(value), class_=f"bar m{index}"
        ),
        line(middle, low, middle, high, "whisker"),
    ]
    if width >= _LABELLED:
        # In its bar, where the line of the best printed score cannot run through it.
        is_tall = _FLOOR - low > 2 * _LINE
        y, class_ = (low + _LINE, "value inside") if is_tall else (high - 5, "value")
        parts.append(label(f"{value:.1f}", middle, y, "middle", class_))
    return element("g", *titled(f"{what}: {with_interval(value, interval)}; {pairs}"), *parts, class_=f"of{index}")


def _best_printed(contents: Contents, dataset: str, middle: float, reach: float, axis: _Axis) -> list[Markup]:
    printed = [row for row in contents.rows if row.is_printed and dataset in row.scores]
    if not printed:
        return []
    best = max(printed, key=lambda row: row.scores[dataset])
    y = axis.y(best.scores[dataset])
    title = titled(f"Best printed on {dataset}: {best.scores[dataset]:.1f}, {best.name}")
    return [element("path", *title, d=f"M{middle - reach:.1f} {y:.1f}H{middle + reach:.1f}", class_="best-printed")]
