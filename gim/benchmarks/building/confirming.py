"""Whether two images are the same picture, one perhaps cropped, scaled or recoloured, or only of the same place.

Features are matched and an affine map is fitted: a crop and a scale are one, parallax is not. Then one picture is laid
over the other and their grey values are compared: of the same place at another time, or from another side, they differ.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from gim.geometry.pixels import resize_image
from gim.matchers.rootsift import RootSift, RootSiftConfig
from gim.records import Features, Float64Array, Uint8Array

MIN_SIMILARITY = 0.9  # correlation of grey values where both are seen: measured, see docs/zeb.md
_LONGEST_SIDE = 480  # pixels: coding noise matters less, and it is quick
_NUM_KEYPOINTS = 800
_INLIER_PX = 2.0
_FEWEST_INLIERS = 10
_INLIER_SHARE = 0.5  # of the matches
_SHARED_AREA = 0.5  # of the smaller picture's area, at least
_LARGEST_STRETCH = 1.5  # of one direction against another: 4:3 shown as 16:9 is 1.33
_BLUR = 1.5  # pixels: the blur of scaling and coding, given to both


@dataclass(frozen=True, slots=True, eq=False)
class ConfirmView:
    """A picture as it is compared."""

    grey: Uint8Array  # [H, W]
    features: Features


_MATCHER = RootSift(RootSiftConfig(max_keypoints=_NUM_KEYPOINTS, contrast_threshold=0.002))


def confirm_view(grey: Uint8Array) -> ConfirmView:
    """What a comparison needs of a picture [H, W]."""
    height, width = grey.shape
    scale = min(1.0, _LONGEST_SIDE / max(width, height))
    small, _ = resize_image(grey, (max(1, round(width * scale)), max(1, round(height * scale))))
    return ConfirmView(small, _MATCHER.extract(small))


def similarity(view0: ConfirmView, view1: ConfirmView) -> float:
    """Correlation of the grey values of two pictures where both are seen, -1 to 1; 0 where no map joins them."""
    A01 = _fit_affine(view0, view1)
    if A01 is None:
        return 0.0
    height, width = view1.grey.shape
    warped = cv2.warpAffine(view0.grey, A01, (width, height), flags=cv2.INTER_LINEAR)
    is_seen = cv2.warpAffine(np.full_like(view0.grey, 255), A01, (width, height), flags=cv2.INTER_NEAREST) == 255
    scale = abs(float(np.linalg.det(A01[:, :2])))
    smaller = min(view0.grey.size * scale, view1.grey.size)
    if np.count_nonzero(is_seen) < _SHARED_AREA * smaller:
        return 0.0
    smooth0, smooth1 = (cv2.GaussianBlur(image, (0, 0), _BLUR)[is_seen] for image in (warped, view1.grey))
    return _correlation(smooth0.astype(np.float64), smooth1.astype(np.float64))


def _fit_affine(view0: ConfirmView, view1: ConfirmView) -> Float64Array | None:
    matches, _ = _MATCHER.match_features(view0.features, view1.features)
    if len(matches) < _FEWEST_INLIERS:
        return None
    points0, points1 = view0.features.keypoints[matches[:, 0]], view1.features.keypoints[matches[:, 1]]
    A01, inliers = cv2.estimateAffine2D(points0, points1, method=cv2.RANSAC, ransacReprojThreshold=_INLIER_PX)
    if A01 is None or np.count_nonzero(inliers) < max(_FEWEST_INLIERS, _INLIER_SHARE * len(matches)):
        return None
    wide, narrow = np.linalg.svd(A01[:, :2])[1]
    if np.linalg.det(A01[:, :2]) <= 0 or wide > _LARGEST_STRETCH * narrow:
        return None
    return np.asarray(A01, np.float64)


def _correlation(values0: Float64Array, values1: Float64Array) -> float:
    apart0, apart1 = values0 - values0.mean(), values1 - values1.mean()
    norm = float(np.linalg.norm(apart0) * np.linalg.norm(apart1))
    return float(apart0 @ apart1) / norm if norm > 0 else 0.0
