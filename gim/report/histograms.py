"""Histograms of the pair qualities over all kept pairs: round edges, the long tail in one open last bar."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gim.records import PairEntry

_BARS = 14  # about so many
_TOLERANCE = 1e-9  # a value on an edge, but for rounding, belongs above it; the script does the same


@dataclass(frozen=True, slots=True)
class Quantity:
    """A field of `PairQuality` that is worth a histogram."""

    field: str
    label: str
    unit: str
    help: str
    decimals: int = 1
    min_width: float = 0.0  # of a bar
    maximum: float | None = None  # the last bar ends here and holds it


QUANTITIES = (
    Quantity("interval_seconds", "Interval", "s", "Time between the two frames of a pair."),
    Quantity("num_correspondences", "Correspondences", "", "Points that correspond in the two frames.", 0),
    Quantity(
        "median_parallax_px",
        "Parallax",
        "px",
        "Median distance to the best homography: 0 for a plane or a turning camera.",
    ),
    Quantity("median_displacement_px", "Displacement", "px", "Median distance the points move in the image.", 0),
    Quantity(
        "epipolar_residual_px",
        "Epipolar residual",
        "px",
        "Median symmetric distance to the epipolar lines of the fitted F01.",
        2,
    ),
    Quantity(
        "coverage",
        "Coverage",
        "%",
        "Share of an 8 × 8 grid's cells with a correspondence, smaller of the two images.",
        min_width=0.05,
        maximum=1.0,
    ),
)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts between ascending edges; `is_open` says that the last bar holds everything above its lower edge."""

    quantity: Quantity
    edges: list[float]
    counts: list[int]
    is_open: bool
    median: float


def make_histograms(pairs: Sequence[PairEntry], step_seconds: float) -> list[Histogram]:
    """One histogram per quantity; none when there are no pairs. Intervals are multiples of `step_seconds`."""
    steps = {"interval_seconds": step_seconds, "num_correspondences": 1.0}
    return [
        make_histogram(
            quantity, [getattr(pair.quality, quantity.field) for pair in pairs], steps.get(quantity.field, 0.0)
        )
        for quantity in QUANTITIES
        if pairs
    ]


def make_histogram(quantity: Quantity, values: Sequence[float], step: float = 0.0) -> Histogram:
    """Bars of one round width; the top 1 % goes into an open last bar when it would stretch the axis.

    Args:
        quantity: what the values are.
        values: at least one.
        step: what the values are multiples of, 0 for none; a bar as narrow as that has its value in the middle.
    """
    data = np.asarray(values, np.float64)
    low, high = float(data.min()), float(data.max())
    tail = float(np.quantile(data, 0.99))
    is_open = high - low > 1.3 * (tail - low) > 0
    extent = (tail if is_open else high) - low
    width = max(_round_width(extent) if extent > 1e-6 * max(1.0, high) else 0.1, quantity.min_width, step)
    offset = 0.5 if width == step else 0.0
    first = math.floor(low / width + offset + _TOLERANCE)
    last = max(first + 1, math.floor((tail if is_open else high) / width + offset + _TOLERANCE) + 1)
    if quantity.maximum is not None and last * width > quantity.maximum:
        last = math.ceil(quantity.maximum / width - _TOLERANCE)
        first = min(first, last - 1)
    edges = [round((k - offset) * width, 10) for k in range(first, last + 1)]
    inner = np.searchsorted(np.asarray(edges[1:-1]) - _TOLERANCE, data, side="right")
    counts = np.bincount(inner, minlength=len(edges) - 1)
    return Histogram(quantity, edges, counts.tolist(), is_open, float(np.median(data)))


def _round_width(extent: float) -> float:
    """1, 2 or 5 times a power of ten, giving about `_BARS` bars."""
    raw = extent / _BARS
    power = 10.0 ** math.floor(math.log10(raw))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= raw * 0.999)
