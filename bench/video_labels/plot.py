"""The plot of the experiment in docs/images: a panel for each benchmark, a bar with its interval for each condition."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.video_labels.conditions import CONDITIONS, REFERENCES
from bench.video_labels.page import TITLES, Document, unit_of

_PANEL, _GAP, _LEFT, _TOP, _HEIGHT = 210, 46, 44, 66, 250  # px
_WIDTH = _LEFT + len(TITLES) * (_PANEL + _GAP) - _GAP + 16
_COLOURS = (("a", "#8a94a0", "#8f9baa"), ("b", "#d98a1f", "#eba94b"), ("c", "#1f77b4", "#5fb0e8"))  # light, dark
_STYLE = """\
    .page { fill: #ffffff; }
    text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1c2733; }
    .title { font-weight: 700; }
    .grid { stroke: #dfe5ec; }
    .reference { stroke: #6b7785; stroke-dasharray: 3 3; }
    .bar { fill-opacity: 0.55; stroke: none !important; }
    .interval { stroke-width: 2; }
"""
_DARK = ".page { fill: #12181f; } text { fill: #dde6ef; } .grid { stroke: #2c3947; } .reference { stroke: #93a1b0; }"


def plot(document: Document) -> str:
    """The whole SVG; what was not trained here is a dashed line."""
    light = "".join(f"    .{name} {{ fill: {colour}; stroke: {colour}; }}\n" for name, colour, _ in _COLOURS)
    dark = " ".join(f".{name} {{ fill: {colour}; stroke: {colour}; }}" for name, _, colour in _COLOURS)
    height = _TOP + _HEIGHT + 40
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"',
        '  role="img" aria-labelledby="title desc">',
        '  <title id="title">AUC of the three conditions on what is held out</title>',
        '  <desc id="desc">The numbers are those of the tables in docs/results.md.</desc>',
        f"  <style>\n{_STYLE}{light}    @media (prefers-color-scheme: dark) {{ {_DARK} {dark} }}\n  </style>",
        f'  <rect class="page" width="{_WIDTH}" height="{height}"/>',
        *_legend(),
    ]
    for number, benchmark in enumerate(TITLES):
        lines += _panel(document, benchmark, _LEFT + number * (_PANEL + _GAP))
    return "\n".join([*lines, "</svg>"]) + "\n"


def _legend() -> Iterator[str]:
    x = _LEFT
    for (name, *_), condition in zip(_COLOURS, CONDITIONS, strict=True):
        yield f'  <rect class="{name}" x="{x}" y="13" width="11" height="11"/>'
        yield f'  <text x="{x + 17}" y="23">{condition.words}</text>'
        x += 40 + round(6.3 * len(condition.words))
    yield f'  <line class="reference" x1="{x}" x2="{x + 24}" y1="18.5" y2="18.5"/>'
    yield f'  <text x="{x + 30}" y="23">not trained here</text>'


@dataclass(frozen=True, slots=True)
class _Axis:
    """AUC from a ten to a ten, and where it is drawn."""

    low: int
    high: int

    @classmethod
    def of(cls, estimates: Sequence[dict[str, float]]) -> "_Axis":
        low = min(min(each.values()) for each in estimates)
        high = max(max(each.values()) for each in estimates)
        return cls(max(int(low // 10) * 10 - 10, 0), min(int(high // 10 + 1) * 10, 100))

    def y(self, value: float) -> float:
        return round(_TOP + _HEIGHT * (self.high - value) / (self.high - self.low), 1)


def _panel(document: Document, benchmark: str, left: int) -> Iterator[str]:
    scores: dict[str, Any] = {name: rows[benchmark] for name, rows in document["auc"].items()}
    bounds = list(scores[CONDITIONS[0].name])
    axis = _Axis.of([each for rows in scores.values() for each in rows.values()])
    yield f'  <text class="title" x="{left}" y="{_TOP - 14}">{TITLES[benchmark]}: AUC, %</text>'
    for value in range(axis.low, axis.high + 1, 10):
        yield f'  <line class="grid" x1="{left}" x2="{left + _PANEL}" y1="{axis.y(value)}" y2="{axis.y(value)}"/>'
        yield f'  <text x="{left - 6}" y="{axis.y(value) + 4}" text-anchor="end">{value}</text>'
    width = _PANEL / len(bounds)
    for number, bound in enumerate(bounds):
        start = left + number * width
        middle = round(start + width / 2, 1)
        yield f'  <text x="{middle}" y="{_TOP + _HEIGHT + 18}" text-anchor="middle">@{bound}{unit_of(benchmark)}</text>'
        yield from _group({name: rows[bound] for name, rows in scores.items()}, axis, start, width)


def _group(estimates: dict[str, Any], axis: _Axis, start: float, width: float) -> Iterator[str]:
    """All that is known at one threshold."""
    room = (width - 16) / len(CONDITIONS)
    for number, ((colour, *_), condition) in enumerate(zip(_COLOURS, CONDITIONS, strict=True)):
        estimate, x = estimates[condition.name], round(start + 8 + number * room, 1)
        top, middle = axis.y(estimate["mean"]), round(x + (room - 3) / 2, 1)
        height = round(axis.y(axis.low) - top, 1)
        yield f'  <rect class="{colour} bar" x="{x}" y="{top}" width="{room - 3:.1f}" height="{height}"/>'
        low, high = axis.y(estimate["low"]), axis.y(estimate["high"])
        yield f'  <line class="{colour} interval" x1="{middle}" x2="{middle}" y1="{low}" y2="{high}"/>'
    for reference in REFERENCES:
        if reference.name in estimates:
            y, end = axis.y(estimates[reference.name]["mean"]), start + width - 4
            yield f'  <line class="reference" x1="{start + 4:.1f}" x2="{end:.1f}" y1="{y}" y2="{y}"/>'
