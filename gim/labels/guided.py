"""Guided re-matching: replenish linked correspondences with keypoints found again where the geometry predicts them.

Linking alone only loses correspondences. After a join, the fitted epipolar geometry and the displacement of nearby
links say where each free keypoint of frame 0 lies in frame 1; its own descriptor is compared inside that small window,
along the epipolar line. Comparing frame 0 with frame 1 directly also stops drift from hop to hop.
"""

from collections.abc import Callable

import numpy as np

from gim.geometry.epipolar import epipolar_lines
from gim.geometry.trees import kd_tree
from gim.labels.config import GuidedConfig
from gim.labels.linking import is_among, one_to_one
from gim.records import BoolArray, Float32Array, Float64Array, Int32Array, Int64Array

DescriptorDistance = Callable[[Int32Array], Float32Array]

_SAME_PLACE_PX = 1.5  # a second keypoint this near is the same structure at another scale or orientation
_DISTANCE_FLOOR_PX = 3.0  # nearer links weigh no more than this


def rematch_guided(
    links: Float32Array,
    F01: Float64Array,
    keypoints0: Float32Array,
    keypoints1: Float32Array,
    distance: DescriptorDistance,
    config: GuidedConfig,
) -> Float32Array:
    """Find free keypoints of frame 0 again in frame 1, guided by links and epipolar geometry.

    Args:
        links: float32 [L, 4], inliers of F01, rows (x0, y0, x1, y1), pixels.
        F01: float64 [3, 3], x1' F01 x0 = 0.
        keypoints0: float32 [N, 2], pixels.
        keypoints1: float32 [M, 2], pixels.
        distance: descriptor distances float32 [C] of keypoint index pairs int32 [C, 2].
        config: windows and thresholds.

    Returns:
        float32 [K, 4], one-to-one, disjoint from `links` in both images, ascending by keypoint of frame 0.
    """
    free0 = np.flatnonzero(~is_among(keypoints0, links[:, :2]))
    if len(links) < config.neighbours or not len(free0):
        return np.empty((0, 4), np.float32)
    # Ends of links are refined and no keypoints any more: what lies on one is taken.
    gap1, _ = kd_tree(links[:, 2:]).query(keypoints1, distance_upper_bound=_SAME_PLACE_PX)
    free1 = np.flatnonzero(np.isinf(gap1))
    predicted, supported = predict_positions(links, keypoints0[free0], config)
    free0, predicted = free0[supported], predicted[supported]
    rows0, rows1 = _within_window(predicted, keypoints1[free1], config.window_px)
    lines1 = epipolar_lines(keypoints0[free0], F01)
    near_line = _line_distance_px(lines1[rows0], keypoints1[free1[rows1]]) < config.line_px
    candidates = np.column_stack([free0[rows0[near_line]], free1[rows1[near_line]]]).astype(np.int32)
    if not len(candidates):
        return np.empty((0, 4), np.float32)
    return _best_mutual(candidates, distance(candidates), keypoints0, keypoints1, config)


def predict_positions(
    links: Float32Array, points0: Float32Array, config: GuidedConfig
) -> tuple[Float64Array, BoolArray]:
    """Where points of frame 0 should lie in frame 1: moved by the inverse-distance mean of their nearest links.

    A local affine fit was tried and measured worse: with few, noisy links it extrapolates their noise.

    Args:
        links: float32 [L, 4] pixels, L >= config.neighbours.
        points0: float32 [N, 2] pixels.
        config: `neighbours` links are used; none farther than `support_px` may be needed for the third nearest.

    Returns:
        float64 [N, 2] predicted pixels, and bool [N] whether links are near enough to believe it.
    """
    gap, nearest = kd_tree(links[:, :2]).query(points0, k=range(1, config.neighbours + 1))
    weights = 1.0 / (gap + _DISTANCE_FLOOR_PX)
    weights /= weights.sum(axis=1, keepdims=True)
    displacement = (links[:, 2:] - links[:, :2]).astype(np.float64)
    predicted = points0 + np.einsum("nk,nkc->nc", weights, displacement[nearest])
    return predicted, gap[:, min(2, config.neighbours - 1)] < config.support_px


def _within_window(
    predicted: Float64Array, keypoints1: Float32Array, window_px: float
) -> tuple[Int64Array, Int64Array]:
    close = kd_tree(predicted).sparse_distance_matrix(kd_tree(keypoints1), window_px, output_type="ndarray")
    return close["i"], close["j"]


def _line_distance_px(lines: Float64Array, points: Float32Array) -> Float64Array:
    """Of points [N, 2] from lines [N, 3] with unit normals, each from its own."""
    return np.asarray(np.abs(lines[:, 0] * points[:, 0] + lines[:, 1] * points[:, 1] + lines[:, 2]))


def _best_mutual(
    candidates: Int32Array,
    distances: Float32Array,
    keypoints0: Float32Array,
    keypoints1: Float32Array,
    config: GuidedConfig,
) -> Float32Array:
    """Candidates that are best for both their keypoints and clearly better than the next place in the window."""
    order = np.lexsort((candidates[:, 1], distances, candidates[:, 0]))
    candidates, distances = candidates[order], distances[order]
    is_best = np.r_[True, candidates[1:, 0] != candidates[:-1, 0]]
    group = np.cumsum(is_best) - 1
    best, best_distance = candidates[is_best], distances[is_best]
    elsewhere = np.abs(keypoints1[candidates[:, 1]] - keypoints1[best[group, 1]]).max(axis=1) > _SAME_PLACE_PX
    second_distance = np.full(len(best), np.inf, np.float32)
    np.minimum.at(second_distance, group[elsewhere], distances[elsewhere])
    best_back = np.full(len(keypoints1), np.inf, np.float32)
    np.minimum.at(best_back, candidates[:, 1], distances)
    kept = (
        (best_distance < config.ratio * second_distance)
        & (best_distance < config.max_distance)
        & (best_distance <= best_back[best[:, 1]])
    )
    best = best[kept][np.argsort(best_distance[kept], kind="stable")]
    # Keypoints with several orientations may claim one place twice: the nearer descriptor, sorted first, wins.
    points = np.hstack([keypoints0[best[:, 0]], keypoints1[best[:, 1]]])
    rows = one_to_one(points)
    return points[rows[np.argsort(best[rows, 0], kind="stable")]]
