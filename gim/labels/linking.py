"""Joining correspondences of neighbouring frame pairs through their common frame.

Functions return index pairs into their inputs, so that callers can carry any per-correspondence flag along.
"""

from typing import Literal

import numpy as np

from gim.errors import ShapeError
from gim.geometry.trees import kd_tree
from gim.records import Float32Array, Int64Array

LinkRule = Literal["mutual", "distance", "rounded"]


def link_points(end01: Float32Array, start12: Float32Array, *, rule: LinkRule, max_distance_px: float) -> Int64Array:
    """Which correspondence 0->1 continues in which correspondence 1->2.

    Args:
        end01: float32 [N, 2], where correspondences 0->1 end in frame 1, pixels.
        start12: float32 [M, 2], where correspondences 1->2 begin in frame 1, pixels.
        rule: "mutual": mutual nearest neighbours closer than `max_distance_px` (ours; one-to-one).
            "distance": every two points closer than `max_distance_px` (GIM, ICLR 2024, Sec. 3.1).
            "rounded": points on the same rounded pixel, the last of each frame pair winning (the published code).
        max_distance_px: exclusive; not used by "rounded".

    Returns:
        int64 [K, 2] index pairs (row of end01, row of start12), ascending.

    Raises:
        ShapeError: an input is not [*, 2].
    """
    for points in (end01, start12):
        if points.ndim != 2 or points.shape[1] != 2:
            raise ShapeError(f"expected points [N, 2], got {points.shape}")
    if not len(end01) or not len(start12):
        return np.empty((0, 2), np.int64)
    if rule == "rounded":
        return _same_rounded_pixel(end01, start12)
    if rule == "distance":
        return _all_within(end01, start12, max_distance_px)
    return _mutual_nearest(end01, start12, max_distance_px)


def one_to_one(points: Float32Array) -> Int64Array:
    """Rows to keep so that no location of either image is used twice; earlier rows win.

    Args:
        points: float32 [N, 4], rows (x0, y0, x1, y1), pixels.

    Returns:
        int64 [K] row indices, ascending.
    """
    kept = np.arange(len(points))
    for columns in (slice(0, 2), slice(2, 4)):
        _, first = np.unique(_location_keys(points[kept, columns]), return_index=True)
        kept = kept[np.sort(first)]
    return kept


def one_per_pixel_pair(points: Float32Array) -> Int64Array:
    """Rows to keep so that each pair of rounded pixels stands once: an entry of the paper's matrix C (Sec. 3.1).

    Without it the rule "distance" multiplies points that lie close together at every join.

    Args:
        points: float32 [N, 4], rows (x0, y0, x1, y1), pixels.

    Returns:
        int64 [K] row indices, ascending; the first of equal ones stays.
    """
    _, first = np.unique(np.rint(points), axis=0, return_index=True)
    return np.sort(first)


def is_among(points: Float32Array, others: Float32Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether each location of `points` float32 [N, 2] is exactly one of `others` float32 [M, 2]."""
    return np.isin(_location_keys(points), _location_keys(others))


def _location_keys(points: Float32Array) -> Int64Array:
    # Adding zero turns -0.0 into 0.0; then equal floats have equal bits, and both halves fit one 64-bit key.
    return np.ascontiguousarray(points + np.float32(0), np.float32).view(np.int64).ravel()


def _mutual_nearest(end01: Float32Array, start12: Float32Array, max_distance_px: float) -> Int64Array:
    tree01, tree12 = kd_tree(end01), kd_tree(start12)
    distance, nearest12 = tree12.query(end01, distance_upper_bound=max_distance_px)
    rows01 = np.flatnonzero(distance < max_distance_px)
    rows12 = nearest12[rows01]
    _, back = tree01.query(start12[rows12])
    # A point that lies several times at one place may come back as its twin: the place decides, the first row wins.
    mutual = (end01[back] == end01[rows01]).all(axis=1)
    rows01, rows12 = rows01[mutual], rows12[mutual]
    _, first = np.unique(rows12, return_index=True)
    first.sort()
    return np.column_stack([rows01[first], rows12[first]]).astype(np.int64)


def _all_within(end01: Float32Array, start12: Float32Array, max_distance_px: float) -> Int64Array:
    close = kd_tree(end01).sparse_distance_matrix(kd_tree(start12), max_distance_px, output_type="ndarray")
    close = close[close["v"] < max_distance_px]
    order = np.lexsort((close["j"], close["i"]))
    return np.column_stack([close["i"][order], close["j"][order]]).astype(np.int64)


def _same_rounded_pixel(end01: Float32Array, start12: Float32Array) -> Int64Array:
    pixels01, rows01 = _last_row_per_pixel(end01)
    pixels12, rows12 = _last_row_per_pixel(start12)
    _, at01, at12 = np.intersect1d(pixels01, pixels12, assume_unique=True, return_indices=True)
    pairs = np.column_stack([rows01[at01], rows12[at12]])
    return pairs[np.argsort(pairs[:, 0])]


def _last_row_per_pixel(points: Float32Array) -> tuple[Int64Array, Int64Array]:
    rounded = np.rint(points).astype(np.int64)
    pixels = (rounded[:, 1] << 32) + rounded[:, 0]
    unique, last_reversed = np.unique(pixels[::-1], return_index=True)
    return unique, len(points) - 1 - last_reversed
