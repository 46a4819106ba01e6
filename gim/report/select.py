"""Which pairs a report draws: the worst, the best, the farthest, and an even spread over time, each with its tags.

Deterministic: equal input gives the same choice. Not responsible for reading or drawing them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gim.records import Float32Array, Int64Array, PairEntry, PairQuality

TAGS = ("worst", "best", "farthest", "spread")

# Half of the full score is reached at these values; shown in the page beside the score.
HALF_RESIDUAL_PX = 1.0
HALF_CORRESPONDENCES = 200.0
HALF_PARALLAX_PX = 2.0


@dataclass(frozen=True, slots=True)
class Selected:
    """A pair to draw, and why."""

    entry: PairEntry
    tags: tuple[str, ...]


def score_pair(quality: PairQuality) -> float:
    """How well a pair's labels are supported, in [0, 1]: the geometric mean of four terms, so one bad term is felt.

    Terms (ours): fit `1 / (1 + residual / 1 px)`, number `n / (n + 200)`, coverage as it is, and parallax
    `p / (p + 2 px)`, without which the epipolar geometry says little. Reach is not in it: it is its own tag.
    """
    number = quality.num_correspondences
    terms = (
        HALF_RESIDUAL_PX / (HALF_RESIDUAL_PX + max(quality.epipolar_residual_px, 0.0)),
        number / (number + HALF_CORRESPONDENCES),
        min(max(quality.coverage, 0.0), 1.0),
        max(quality.median_parallax_px, 0.0) / (max(quality.median_parallax_px, 0.0) + HALF_PARALLAX_PX),
    )
    return float(np.prod(terms) ** 0.25)


def select_pairs(pairs: Sequence[PairEntry], limit: int) -> list[Selected]:
    """Choose up to `limit` pairs: a quarter each of worst, best and farthest, the rest evenly over time.

    Neighbouring starts show nearly the same picture, so picks of one tag keep a distance in time where they can.

    Args:
        pairs: every kept pair of one video.
        limit: how many to draw at most.

    Returns:
        At most `limit` selected pairs, ascending by start; all of `pairs` when they are no more than `limit`.
    """
    if limit <= 0 or not pairs:
        return []
    quarter = max(1, limit // 4)
    gap_seconds = (max(pair.time0 for pair in pairs) - min(pair.time0 for pair in pairs)) / (4 * quarter)
    orders: dict[str, Callable[[PairEntry], float]] = {
        "worst": lambda pair: score_pair(pair.quality),
        "best": lambda pair: -score_pair(pair.quality),
        "farthest": lambda pair: -pair.quality.interval_seconds,
    }
    tags: dict[int, list[str]] = {}
    for tag, order in orders.items():
        ranked = sorted(range(len(pairs)), key=lambda i: (order(pairs[i]), pairs[i].frame0, pairs[i].frame1))
        for i in _apart(ranked, pairs, min(quarter, len(pairs)), gap_seconds):
            if i in tags or len(tags) < limit:
                tags.setdefault(i, []).append(tag)
    for i in _evenly([i for i in range(len(pairs)) if i not in tags], pairs, limit - len(tags)):
        tags[i] = ["spread"]
    chosen = [Selected(pairs[i], tuple(names)) for i, names in tags.items()]
    return sorted(chosen, key=lambda item: (item.entry.frame0, item.entry.frame1))


def share_out(limit: int, sizes: Sequence[int]) -> list[int]:
    """Split `limit` among videos with these numbers of pairs as evenly as they can use it, earlier videos first."""
    shares = [0] * len(sizes)
    left = min(limit, sum(sizes))
    while left > 0:
        open_videos = [i for i, size in enumerate(sizes) if shares[i] < size][:left]
        step = max(1, left // len(open_videos))
        for i in open_videos:
            given = min(step, sizes[i] - shares[i])
            shares[i] += given
            left -= given
    return shares


def spread_subset(points: Float32Array, limit: int, columns: int = 16, rows: int = 12) -> Int64Array:
    """Ascending indices of at most `limit` correspondences, spread over image 0 by taking turns among grid cells.

    Args:
        points: float32 [N, 4], rows (x0, y0, x1, y1).
        limit: how many to keep.
        columns: cells across the bounding box of the points.
        rows: cells down it.
    """
    if len(points) <= limit:
        return np.arange(len(points), dtype=np.int64)
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    cells = np.minimum((points[:, :2] - low) / np.maximum(high - low, 1e-6) * (columns, rows), (columns - 1, rows - 1))
    cell = cells[:, 1].astype(np.int64) * columns + cells[:, 0].astype(np.int64)
    by_cell = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[by_cell], cell[by_cell], side="left")
    turn = np.empty(len(points), np.int64)
    turn[by_cell] = np.arange(len(points)) - starts  # position within its cell
    return np.sort(np.lexsort((cell, turn))[:limit]).astype(np.int64)


def _apart(ranked: Sequence[int], pairs: Sequence[PairEntry], count: int, gap_seconds: float) -> list[int]:
    picked: list[int] = []
    for i in ranked:
        if len(picked) == count:
            return picked
        if all(abs(pairs[i].time0 - pairs[j].time0) >= gap_seconds for j in picked):
            picked.append(i)
    return picked + [i for i in ranked if i not in picked][: count - len(picked)]


def _evenly(candidates: Sequence[int], pairs: Sequence[PairEntry], count: int) -> list[int]:
    by_time = sorted(candidates, key=lambda i: (pairs[i].time0, pairs[i].frame1))
    count = min(count, len(by_time))
    return [by_time[(2 * k + 1) * len(by_time) // (2 * count)] for k in range(count)]
