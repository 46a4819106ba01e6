"""Chooses the labels of a video pair whose pixels become keypoints. Imports no torch."""

import numpy as np
import numpy.typing as npt

from gim.geometry.trees import kd_tree
from gim.matchers.base import is_usable
from gim.records import BoolArray, Float32Array, Int64Array, Uint8Array
from gim.training.data.hashing import key_of
from gim.training.samples import Labels, Sample


def generator_for(sample: Sample) -> np.random.Generator:
    """The generator that choices about a sample are drawn from: its own, whatever batch and process it is in.

    The labels are part of it, so that other augmentations of the pair give other choices.
    """
    drawn = sample.truth.points.tobytes().hex() if isinstance(sample.truth, Labels) else ""
    return np.random.default_rng(key_of("label points", sample.part, sample.name, drawn))


def draw_labels(
    points: Float32Array,
    valid0: npt.NDArray[np.bool_] | Uint8Array,
    valid1: npt.NDArray[np.bool_] | Uint8Array,
    *,
    num: int,
    min_distance_px: float,
    rng: np.random.Generator,
) -> Int64Array:
    """Labels on photographed pixels of both images, at distinct places in each, in random order.

    Args:
        points: float32 [N, 4], rows (x0, y0, x1, y1), pixels.
        valid0: [H, W], where image 0 is a photograph.
        valid1: the same of image 1.
        num: most that are drawn.
        min_distance_px: no two are as near as that in either image, so that a keypoint has one counterpart only.
        rng: decides which, and which of two that are near.

    Returns:
        int64 [K], indices into `points`, K <= num.
    """
    is_seen = _is_seen(points[:, :2], valid0) & _is_seen(points[:, 2:], valid1)
    order = rng.permutation(np.flatnonzero(is_seen))
    near = [
        kd_tree(places).query_pairs(min_distance_px, output_type="ndarray")
        for places in (points[order, :2], points[order, 2:])
        if len(places)
    ]
    is_kept = np.ones(len(order), np.bool_)
    # Pairs (earlier, later): when an earlier one is looked at, all that could remove it have been.
    for earlier, later in sorted(map(tuple, np.concatenate(near).tolist())) if near else ():
        if is_kept[earlier]:
            is_kept[later] = False
    return order[is_kept][:num]


def _is_seen(keypoints: Float32Array, valid: npt.NDArray[np.bool_] | Uint8Array) -> BoolArray:
    return is_usable(keypoints, valid.shape, valid.view(np.uint8))
