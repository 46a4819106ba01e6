"""Elements of SVG, escaped as they are made; and the round steps of an axis. Knows nothing of scores."""

import math
from collections.abc import Iterable

from markupsafe import Markup, escape


def element(name: str, *children: Markup | str, **attributes: str | float) -> Markup:
    """An element; children that are no markup are text.

    Args:
        name: of the element.
        *children: in order.
        **attributes: `class_` is class, other underscores are hyphens; lengths are written to a twentieth.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_length(value))}"' for key, value in attributes.items()
    )
    inside = Markup().join(children)
    return Markup(f"<{name}{written}>{inside}</{name}>" if inside else f"<{name}{written}/>")  # noqa: S704 escaped


def picture(width: float, height: float, title: str, children: Iterable[Markup]) -> Markup:
    """A whole SVG that shrinks with its place and tells its title to who cannot see it."""
    return element(
        "svg",
        element("title", title),
        *children,
        viewBox=f"0 0 {_length(width)} {_length(height)}",
        role="img",
        aria_label=title,
    )


def label(text: str, x: float, y: float, anchor: str = "start", class_: str = "label") -> Markup:
    """A line of text; `anchor` is start, middle or end."""
    return element("text", text, x=x, y=y, text_anchor=anchor, class_=class_)


def line(x0: float, y0: float, x1: float, y1: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x0, y1=y0, x2=x1, y2=y1, class_=class_)


def polyline(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    """A line through points."""
    return element("path", d="M" + "L".join(f"{_length(x)} {_length(y)}" for x, y in points), class_=class_)


def marker(kind: int, x: float, y: float, radius: float, title: str = "") -> Markup:
    """A dot of the colour and form of method number `kind`: form tells them apart where colour does not."""
    return element("path", *titled(title), d=form(kind, x, y, radius), class_=f"dot m{kind}")


def titled(title: str) -> list[Markup]:
    """What an element says when it is pointed at."""
    return [element("title", title)] if title else []


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from `low` to `high`, about so many or fewer."""
    extent = max(high - low, 1e-6)
    power = 10.0 ** math.floor(math.log10(extent / about))
    step = next(factor * power for factor in (1, 2, 5, 10) if extent / (factor * power) <= about)
    return [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def form(kind: int, x: float, y: float, radius: float) -> str:
    """The path of a method's dot: disc, square, triangle or diamond."""
    if kind % 4 == 0:
        r, d = _length(radius), _length(2 * radius)
        return f"M{_length(x - radius)} {_length(y)}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z"
    corners = {
        1: [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        2: [(0, -1.2), (1.1, 0.9), (-1.1, 0.9)],
        3: [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
    }[kind % 4]
    return "M" + "L".join(f"{_length(x + radius * u)} {_length(y + radius * v)}" for u, v in corners) + "z"


def _length(value: str | float) -> str:
    return value if isinstance(value, str) else f"{round(20 * value) / 20:g}"
