"""Curves of a run as small charts of SVG, readable at fifty points or fifty thousand. Imports no torch."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from gim.evaluation.reports.svg import element, label, line, marker, picture, polyline, ticks
from gim.records import Float64Array

_WIDTH, _HEIGHT = 420.0, 220.0
_LEFT, _RIGHT, _TOP, _BELOW = 58.0, 12.0, 44.0, 30.0
_COLUMNS = 240  # more points are drawn as the mean and the reach of those in one column
_MAX_DOTS = 40  # fewer points are marked, and say their value
_SPIKE = 4.0  # a point this many times as far from the middle as nearly all others does not set the scale


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart."""

    name: str  # "training", "held out", "AUC@5"
    steps: Float64Array  # [N] ascending
    values: Float64Array  # [N] finite

    @classmethod
    def of(cls, name: str, points: Iterable[tuple[int, float]]) -> "Series":
        """Of points in any order, without those that are no numbers; of two at a step the later one stays."""
        kept = sorted({step: value for step, value in points if np.isfinite(value)}.items())
        steps, values = (np.array([pair[place] for pair in kept], np.float64) for place in (0, 1))
        return cls(name, steps, values)


@dataclass(frozen=True, slots=True)
class Thinned:
    """What is drawn of a series."""

    steps: Float64Array  # [M]
    means: Float64Array
    lows: Float64Array
    highs: Float64Array

    @property
    def is_whole(self) -> bool:
        """Whether every point is drawn by itself."""
        return bool((self.lows == self.highs).all())


def thinned(series: Series, columns: int = _COLUMNS) -> Thinned:
    """The series with the points of one column, of equal steps, taken together: their mean, least and largest."""
    steps, values = series.steps, series.values
    if len(steps) <= columns:
        return Thinned(steps, values, values, values)
    extent = steps[-1] - steps[0] or 1.0
    column = np.minimum(((steps - steps[0]) / extent * columns).astype(np.int64), columns - 1)
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    counts = np.diff(starts, append=len(steps))
    return Thinned(
        np.add.reduceat(steps, starts) / counts,
        np.add.reduceat(values, starts) / counts,
        np.minimum.reduceat(values, starts),
        np.maximum.reduceat(values, starts),
    )


def chart(title: str, series: Sequence[Series], last_step: int, unit: str = "") -> Markup:
    """One chart: up to three lines over steps, each with its last value in words.

    Args:
        title: of the chart.
        series: its lines.
        last_step: where the axis ends.
        unit: behind values: " %", " pairs/s".
    """
    shown = [(index, item, thinned(item)) for index, item in enumerate(series) if len(item.steps)]
    low, high, num_above = _scale([item for _, _, item in shown])
    across, up = (_WIDTH - _LEFT - _RIGHT) / max(last_step, 1), (_HEIGHT - _TOP - _BELOW) / (high - low)
    floor = _HEIGHT - _BELOW

    def place(step: float, value: float) -> tuple[float, float]:
        return _LEFT + step * across, floor - (min(max(value, low), high) - low) * up

    parts = [label(title, 0, 14, class_="panel-title"), *_last_values(series, unit)]
    for value in ticks(low, high, 4):
        y = place(0, value)[1]
        parts += [line(_LEFT, y, _WIDTH - _RIGHT, y, "grid-line"), label(number(value), _LEFT - 7, y + 4, "end")]
    parts += [label(number(step), place(step, low)[0], floor + 16, "middle") for step in ticks(0, max(last_step, 1), 5)]
    parts.append(label("step", _WIDTH - _RIGHT, _HEIGHT - 1, "end", "axis"))
    if num_above:
        parts.append(label(f"{num_above} higher", _WIDTH - _RIGHT, _TOP - 4, "end", "axis"))
    for index, item, drawn in reversed(shown):
        parts.append(_line(index, item, drawn, place, unit))
    return picture(_WIDTH, _HEIGHT, _told(title, series, unit), parts)


def number(value: float) -> str:
    """A value in few characters: `0.0001`, `12.3`, `20k`, `1e-05`."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:.3g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:.3g}k"
    return f"{value:.4g}"


def group_curves(points: Mapping[str, Sequence[tuple[int, float]]]) -> dict[str, dict[str, list[Series]]]:
    """Curves by section of the page and chart: those of held-out pairs lie in the chart of their training curve.

    Args:
        points: of each curve by its name, as `gim.training.journal` has them.
    """
    sections: dict[str, dict[str, list[Series]]] = {name: {} for name in _SECTIONS}
    for name in sorted(points, key=_place):
        section, title, line_name = _where(name)
        if section:
            sections[section].setdefault(title, []).append(Series.of(line_name, points[name]))
    return {name: charts for name, charts in sections.items() if charts}


_SECTIONS = ("Loss", "Benchmarks", "Terms of the loss", "Optimisation", "Speed", "Further")
_OPTIMISATION = {"lr": "learning rate", "gradient_norm": "gradient norm"}
_SPEED = {"pairs_per_second": "pairs per second", "data_wait_share": "share of the time waiting for data"}


def _place(name: str) -> tuple[bool, str, int]:
    """Training before held out, and bounds by their size."""
    what, _, bound = name.rpartition("/")
    return name.startswith("validation/"), what if bound.isdecimal() else name, int(bound) if bound.isdecimal() else 0


def _where(name: str) -> tuple[str, str, str]:
    """Section, chart and line of a curve; no section: it is told elsewhere on the page."""
    kind, _, rest = name.partition("/")
    if name in ("loss", "validation/loss"):
        return "Loss", "loss", "training" if name == "loss" else "held out"
    if name in _OPTIMISATION:
        return "Optimisation", _OPTIMISATION[name], ""
    if name in _SPEED:
        return "Speed", _SPEED[name], ""
    if kind == "auc" and "/" in rest:
        benchmark, _, bound = rest.rpartition("/")
        return "Benchmarks", f"AUC on {benchmark}", f"@{bound}°"
    if kind in COUNTED:
        return "", "", ""
    if kind == "validation":
        return "Terms of the loss", rest.replace("/", ": "), "held out"
    return ("Terms of the loss" if rest else "Further"), name.replace("/", ": "), "training" if rest else ""


COUNTED = ("skipped", "bad_steps")  # curves of counts since the point before, which the page sums up


def _scale(drawn: Sequence[Thinned]) -> tuple[float, float, int]:
    """The ends of the axis, and how many points lie above it: a few spikes do not flatten all the rest."""
    if not drawn:
        return 0.0, 1.0, 0
    values = np.concatenate([np.concatenate([item.lows, item.highs]) for item in drawn])
    low, high = float(values.min()), float(values.max())
    usual = float(np.quantile(values, 0.98))
    middle = float(np.median(values))
    if high - middle > _SPIKE * (usual - middle) > 0:
        high = usual + 0.5 * (usual - middle)
    if low > 0 and low < 0.5 * high:
        low = 0.0
    if high - low < 1e-12 * max(abs(high), 1.0):
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    return low, high, int(sum(np.count_nonzero(item.highs > high) for item in drawn))


def _line(
    index: int, item: Series, drawn: Thinned, place: Callable[[float, float], tuple[float, float]], unit: str
) -> Markup:
    parts = []
    if not drawn.is_whole:
        edge = [*zip(drawn.steps, drawn.highs, strict=True), *reversed(list(zip(drawn.steps, drawn.lows, strict=True)))]
        parts.append(polyline([place(step, value) for step, value in edge], f"band m{index}"))
    parts.append(polyline([place(*point) for point in zip(drawn.steps, drawn.means, strict=True)], f"curve m{index}"))
    if len(item.steps) <= _MAX_DOTS:
        for step, value in zip(item.steps, item.values, strict=True):
            name = f"{item.name}, " if item.name else ""
            parts.append(marker(index, *place(step, value), 2.6, f"{name}step {step:.0f}: {number(value)}{unit}"))
    return element("g", *parts, class_=f"of{index}")


def _last_values(series: Sequence[Series], unit: str) -> list[Markup]:
    """What each line is and ends at, in its colour, beside a piece of the line."""
    parts, x = [], 0.0
    for index, item in enumerate(series):
        if len(item.values):
            text = f"{item.name} {number(item.values[-1])}{unit}".strip()
            parts.append(polyline([(x, 28), (x + 18, 28)], f"curve m{index}"))
            parts.append(label(text, x + 23, 32, class_=f"last m{index}"))
            x += 36 + 6.6 * len(text)
    return parts


def _told(title: str, series: Sequence[Series], unit: str) -> str:
    """The chart in a sentence, for who cannot see it."""
    said = [
        f"{item.name or 'it'} goes from {number(item.values[0])}{unit} at step {item.steps[0]:.0f} to "
        f"{number(item.values[-1])}{unit} at step {item.steps[-1]:.0f}, between {number(item.values.min())} and "
        f"{number(item.values.max())}"
        for item in series
        if len(item.values)
    ]
    return f"{title}: {'; '.join(said) or 'no value'}"
