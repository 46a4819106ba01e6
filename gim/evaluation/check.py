"""How right correspondences are, by reached interval, where the cameras are known. Reads no store: see
`gim.runtime.checking`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from gim.evaluation.cameras import KnownCameras
from gim.records import Float32Array, Float64Array


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """Two frames and what is said to correspond in them."""

    frame0: int
    frame1: int
    interval_seconds: float  # pairs of equal values are scored together
    correspondences: Float32Array  # [N, 4] pixels


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """Errors of many correspondences in three numbers."""

    median_px: float | None  # None when most have no finite error
    within_1px: float  # shares, 0 to 1
    within_2px: float


@dataclass(frozen=True, slots=True)
class IntervalScore:
    """The score of all pairs of one interval, or of all intervals together."""

    interval_seconds: float | None  # None = all
    num_pairs: int
    num_correspondences: int
    epipolar: ErrorSummary  # symmetric epipolar distance
    point: ErrorSummary | None = None  # distance to the exact place, where that is known


@dataclass(slots=True)
class _Collected:
    num_pairs: int = 0
    epipolar: list[Float32Array] = field(default_factory=list)
    point: list[Float32Array] = field(default_factory=list)


def score_pairs(pairs: Iterable[JudgedPair], cameras: KnownCameras) -> list[IntervalScore]:
    """Score pairs against known cameras: one score per interval, ascending, and a last one of all together.

    Args:
        pairs: at least one for a result; read once, one at a time.
        cameras: of the frames.

    Returns:
        Empty without pairs.

    Raises:
        InvalidInput: a frame has no known camera.
    """
    collected: dict[float, _Collected] = {}
    for pair in pairs:
        errors = cameras.errors_px(pair.frame0, pair.frame1, pair.correspondences)
        own = collected.setdefault(pair.interval_seconds, _Collected())
        own.num_pairs += 1
        own.epipolar.append(errors.epipolar.astype(np.float32))
        if errors.point is not None:
            own.point.append(errors.point.astype(np.float32))
    if not collected:
        return []
    return [_score(interval, [own]) for interval, own in sorted(collected.items())] + [
        _score(None, list(collected.values()))
    ]


def summarise_errors(errors_px: Float64Array | Float32Array) -> ErrorSummary:
    """Median, and shares within 1 and 2 pixels, of errors [N], which may be infinite."""
    if not len(errors_px):
        return ErrorSummary(None, 0.0, 0.0)
    middle = float(np.median(errors_px)) if np.isfinite(errors_px).mean() > 0.5 else None
    return ErrorSummary(middle, float(np.mean(errors_px <= 1)), float(np.mean(errors_px <= 2)))


def _score(interval_seconds: float | None, parts: Sequence[_Collected]) -> IntervalScore:
    epipolar = np.concatenate([errors for part in parts for errors in part.epipolar])
    point = [errors for part in parts for errors in part.point]
    return IntervalScore(
        interval_seconds,
        sum(part.num_pairs for part in parts),
        len(epipolar),
        summarise_errors(epipolar),
        summarise_errors(np.concatenate(point)) if point else None,
    )
