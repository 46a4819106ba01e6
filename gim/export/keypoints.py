"""Correspondences as indices: the keypoints of every image of one video, each position with one id over all pairs.

Structure from motion builds tracks by keypoint ids, so the same point seen in two pairs must have the same id.
"""

import numpy as np
import numpy.typing as npt

from gim.geometry.trees import kd_tree
from gim.records import BoolArray, Float32Array, Int32Array

_NONE = np.empty((0, 2), np.float32)


class KeypointTable:
    """Ids of positions, image by image, in the order of their first appearance."""

    def __init__(self, merge_px: float = 0.0) -> None:
        """Start with no image.

        Args:
            merge_px: a new position this near to keypoints of other pairs becomes the nearest of them; of several new
                ones near the same keypoint, the nearest does. 0 merges equal positions only.
        """
        self._merge_px = merge_px
        self._positions: dict[int, Float32Array] = {}

    def add(self, frame: int, positions: Float32Array) -> Int32Array:
        """Ids, int32 [N], of positions [N, 2] in a frame; new positions get new ids."""
        known = self._positions.get(frame, _NONE)
        added = np.asarray(positions, np.float32) + np.float32(0)  # -0.0 is 0.0
        if self._merge_px > 0 and len(known) and len(added):
            added = self._snapped(known, added)
        every = np.vstack([known, added])
        _, first, inverse = np.unique(_as_numbers(every), return_index=True, return_inverse=True)
        order = np.argsort(first)  # unique values by first appearance: those known keep their ids
        rank = np.empty(len(first), np.int32)
        rank[order] = np.arange(len(first), dtype=np.int32)
        self._positions[frame] = every[first[order]]
        return np.asarray(rank[inverse.ravel()[len(known) :]], np.int32)

    def keypoints(self, frame: int) -> Float32Array:
        """Positions [N, 2] of a frame by id."""
        return self._positions.get(frame, _NONE)

    def _snapped(self, known: Float32Array, added: Float32Array) -> Float32Array:
        _, first, inverse = np.unique(_as_numbers(added), return_index=True, return_inverse=True)
        single = added[first]
        distance, nearest = kd_tree(known).query(single, distance_upper_bound=np.nextafter(self._merge_px, np.inf))
        near = np.flatnonzero(np.isfinite(distance))
        near = near[np.argsort(distance[near], kind="stable")]
        _, winners = np.unique(nearest[near], return_index=True)
        taken = near[winners]
        single[taken] = known[nearest[taken]]
        return np.asarray(single[inverse.ravel()])


def one_to_one(ids0: Int32Array, ids1: Int32Array) -> BoolArray:
    """Which rows, bool [N], to keep so that no keypoint is matched twice: the first of either image."""
    keep = np.zeros(len(ids0), np.bool_)
    keep[np.unique(ids0, return_index=True)[1]] = True
    first1 = np.zeros(len(ids0), np.bool_)
    first1[np.unique(ids1, return_index=True)[1]] = True
    return keep & first1


def _as_numbers(positions: Float32Array) -> npt.NDArray[np.int64]:
    """One integer per position [N, 2], equal where both coordinates are."""
    return np.ascontiguousarray(positions, np.float32).view(np.int64).ravel()
