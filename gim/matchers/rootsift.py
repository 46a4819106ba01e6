"""RootSIFT: OpenCV's SIFT with Hellinger descriptors, mutual nearest neighbours and the ratio test.

The matcher of the embedded mode: a CPU, nothing to download. Finds no geometry: robust fitting comes after it.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np

from gim import keys
from gim.errors import ConfigError, ShapeError
from gim.geometry.colour import check_image, to_grey
from gim.matchers.base import SparseMatcher, is_best_at, is_usable
from gim.matchers.nearest.mutual import match_mutual
from gim.records import Features, Float32Array, Int32Array, Uint8Array

_DESCRIPTOR_STEPS = 2048  # see `hellinger`
_MIN_SIDE_PX = 8  # OpenCV finds nothing sensible in less
_CHUNK = 16_384  # candidate pairs gathered at a time: two buffers of 8 MB


@dataclass(frozen=True, slots=True)
class RootSiftConfig:
    """What is detected and what counts as a match. The original's labels: 32400, 1e-5, 0.8."""

    max_keypoints: int = 8192  # strongest kept; matching costs its square
    contrast_threshold: float = 0.01  # OpenCV's unit; more is faster and loses right matches: bench/matching.py
    ratio: float = 0.8  # nearest to second nearest distance, exclusive; 1 or more: no test

    def __post_init__(self) -> None:
        if self.max_keypoints < 1 or self.contrast_threshold < 0 or self.ratio <= 0:
            raise ConfigError("rootsift needs max_keypoints >= 1, contrast_threshold >= 0 and ratio > 0")


class RootSift(SparseMatcher):
    """SIFT (Lowe, IJCV 2004) under the Hellinger kernel (Arandjelovic and Zisserman, CVPR 2012)."""

    name: ClassVar[str] = "rootsift"
    revision: ClassVar[int] = 2

    def __init__(self, config: RootSiftConfig) -> None:
        super().__init__(config)
        self.config: RootSiftConfig = config

    @property
    def extractor_id(self) -> str:
        """Without the ratio, which changes no feature."""
        return keys.config_id("sift", self.revision, self.config.max_keypoints, self.config.contrast_threshold)

    def extract(self, image: Uint8Array, mask: Uint8Array | None = None) -> Features:
        """SIFT features with uint8 descriptors, strongest first; several at one place where several angles fit."""
        check_image(image, mask)
        usable_share = 1.0 if mask is None else np.count_nonzero(mask) / max(mask.size, 1)
        if min(image.shape[:2]) < _MIN_SIDE_PX or usable_share == 0:
            return _no_features()
        grey = to_grey(image)
        if mask is None:
            return self._strongest(grey, mask, self.config.max_keypoints)[0]
        # OpenCV cuts to the strongest before it looks at a mask, so ask for more; if the mask took even those, for all.
        num_asked = math.ceil(1.25 * self.config.max_keypoints / usable_share)
        features, num_found = self._strongest(grey, mask, num_asked)
        if len(features.keypoints) < self.config.max_keypoints and num_found >= num_asked:
            features, _ = self._strongest(grey, mask, 0)
        return features

    def _strongest(self, grey: Uint8Array, mask: Uint8Array | None, num_asked: int) -> tuple[Features, int]:
        """Usable features, strongest first, of the `num_asked` strongest (0: of all); and how many there were."""
        # A detector per call: cv2.SIFT keeps state and is not safe across threads.
        detector = cv2.SIFT.create(
            nfeatures=num_asked,
            contrastThreshold=self.config.contrast_threshold,
            enable_precise_upscale=True,  # else positions are off by up to a quarter pixel
        )
        found, descriptors = detector.detectAndCompute(grey, None)
        if not found:
            return _no_features(), 0
        rows = np.array([(*keypoint.pt, keypoint.response, keypoint.size, keypoint.angle) for keypoint in found])
        keypoints = rows[:, :2].astype(np.float32)
        # OpenCV's order may depend on its threads; strongest first, ties by place, size and angle, does not.
        order = np.lexsort((rows[:, 4], rows[:, 3], rows[:, 0], rows[:, 1], -rows[:, 2]))
        order = order[is_usable(keypoints[order], grey.shape, mask)][: self.config.max_keypoints]
        return Features(keypoints[order], descriptors[order].astype(np.uint8)), len(found)

    def match_features(self, features0: Features, features1: Features) -> tuple[Int32Array, np.ndarray[Any, Any]]:
        """Mutual nearest neighbours that pass the ratio test, one-to-one by PLACE in both images."""
        matches, similarity = match_mutual(
            hellinger(features0.descriptors), hellinger(features1.descriptors), ratio=self.config.ratio
        )
        kept = is_best_at(features0.keypoints[matches[:, 0]], similarity)
        kept &= is_best_at(features1.keypoints[matches[:, 1]], similarity)
        return matches[kept], similarity[kept]

    def distance(self, features0: Features, features1: Features, candidates: Int32Array) -> np.ndarray[Any, Any]:
        """sqrt(2 - 2 s) of the Hellinger descriptors' dot product s: the distance of the ratio test."""
        descriptors0, descriptors1 = hellinger(features0.descriptors), hellinger(features1.descriptors)
        similarity = np.empty(len(candidates), np.float32)
        for start in range(0, len(candidates), _CHUNK):
            rows = candidates[start : start + _CHUNK]
            np.einsum(
                "nd,nd->n", descriptors0[rows[:, 0]], descriptors1[rows[:, 1]], out=similarity[start : start + _CHUNK]
            )
        return np.asarray(np.sqrt(2 - 2 * np.minimum(similarity, np.float32(1))))


def hellinger(descriptors: Uint8Array) -> Float32Array:
    """Root of the L1-normalised descriptor, rounded to multiples of 2^-11; zero rows stay zero.

    A sum of products of such numbers is a multiple of 2^-22 below 4, which float32 holds exactly: dot products are the
    same for every BLAS, block size and number of threads. The rounding moves a distance by about 4e-4 / distance.

    Args:
        descriptors: uint8 [N, D].

    Returns:
        float32 [N, D], rows of unit length (within 1e-3) or zero.

    Raises:
        ShapeError: not uint8 [N, D].
    """
    if descriptors.dtype != np.uint8 or descriptors.ndim != 2:
        raise ShapeError(f"expected uint8 descriptors [N, D], got {descriptors.dtype} {descriptors.shape}")
    length = np.maximum(descriptors.sum(axis=1, dtype=np.int64), 1)
    scale = (_DESCRIPTOR_STEPS / np.sqrt(length)).astype(np.float32)
    roots = descriptors.astype(np.float32)
    np.sqrt(roots, out=roots)  # this, products and rounding are the same on every processor
    roots *= scale[:, None]
    np.rint(roots, out=roots)
    roots /= _DESCRIPTOR_STEPS
    return roots


def _no_features() -> Features:
    return Features(np.empty((0, 2), np.float32), np.empty((0, 128), np.uint8))
