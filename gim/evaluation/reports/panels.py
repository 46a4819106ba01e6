"""Small charts of lines, one line a method: a frame with axes, and in it what is given."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from gim.evaluation.reports.svg import element, label, line, marker, picture, polyline, ticks


@dataclass(frozen=True, slots=True)
class Series:
    """A line of a chart."""

    index: int  # of the method: its colour and form
    points: list[tuple[float, float]]
    titles: list[str]  # of the points; empty: the line has none


@dataclass(frozen=True, slots=True)
class Frame:
    """A chart's size in CSS pixels and its axes, which begin at zero; upwards are percent."""

    title: str
    width: float
    height: float
    x_high: float
    x_label: str
    x_suffix: str


_TALL = 250  # CSS pixels, from where there is room for many lines of the grid
_LEFT, _RIGHT, _TOP, _BELOW = 30, 10, 26, 36


def line_panel(frame: Frame, series: Sequence[Series]) -> Markup:
    """The chart."""
    floor = frame.height - _BELOW
    across = (frame.width - _LEFT - _RIGHT) / frame.x_high
    up = (floor - _TOP) / 100

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return _LEFT + point[0] * across, floor - point[1] * up

    parts = [label(frame.title, _LEFT, 14, class_="panel-title")]
    for value in ticks(0, 100, 5 if frame.height > _TALL else 2):
        y = floor - value * up
        parts += [line(_LEFT, y, frame.width - _RIGHT, y, "grid-line"), label(f"{value:g}", _LEFT - 6, y + 4, "end")]
    for value in ticks(0, frame.x_high, 5):
        parts.append(label(f"{value:g}{frame.x_suffix}", place((value, 0))[0], floor + 16, "middle"))
    parts.append(label(frame.x_label, frame.width - _RIGHT, frame.height - 4, "end", "axis"))
    for item in reversed(series):  # the best lies on top
        places = [place(point) for point in item.points]
        if not places:
            continue
        dots = [marker(item.index, x, y, 3.2, title) for (x, y), title in zip(places, item.titles, strict=False)]
        parts.append(element("g", polyline(places, f"curve m{item.index}"), *dots, class_=f"of{item.index}"))
    return picture(frame.width, frame.height, frame.title, parts)
