"""Plane-to-plane maps: applying a homography to positions and images. Fitting one: see `gim.geometry.robust`."""

import cv2
import numpy as np
import numpy.typing as npt

from gim.errors import ShapeError
from gim.records import Float64Array, Uint8Array


def apply_homography(keypoints: npt.ArrayLike, H01: npt.ArrayLike) -> Float64Array:
    """Map positions of image 0 into image 1: x1 ~ H01 x0 (Hartley and Zisserman, 2.5).

    Args:
        keypoints: [N, 2] pixels.
        H01: [3, 3].

    Returns:
        float64 [N, 2] pixels; positions that go to infinity become inf or nan.

    Raises:
        ShapeError: `keypoints` is not [N, 2].
    """
    positions = np.asarray(keypoints, np.float64)
    if positions.ndim != 2 or positions.shape[1] != 2:
        raise ShapeError(f"expected keypoints [N, 2], got {positions.shape}")
    mapped = np.column_stack([positions, np.ones(len(positions))]) @ np.asarray(H01, np.float64).T
    with np.errstate(divide="ignore", invalid="ignore"):
        return mapped[:, :2] / mapped[:, 2:]


def transfer_distance_px(points: npt.ArrayLike, H01: npt.ArrayLike) -> Float64Array:
    """Distance in image 1 from where H01 sends x0 to x1 (Hartley and Zisserman, 4.6, one image).

    Args:
        points: [N, 4] rows (x0, y0, x1, y1), pixels.
        H01: [3, 3].

    Returns:
        float64 [N] pixels; inf where x0 goes to infinity.

    Raises:
        ShapeError: `points` is not [N, 4].
    """
    rows = np.asarray(points, np.float64)
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise ShapeError(f"expected correspondences [N, 4], got {rows.shape}")
    distance = np.linalg.norm(apply_homography(rows[:, :2], H01) - rows[:, 2:], axis=1)
    return np.where(np.isfinite(distance), distance, np.inf)


def warp_image(image1: Uint8Array, H01: npt.ArrayLike, *, width: int, height: int) -> Uint8Array:
    """Image 1 as seen from image 0: pixel x0 of the result is image 1 at H01 x0, bilinear, black outside.

    Args:
        image1: uint8 [H, W] or [H, W, 3].
        H01: [3, 3].
        width: of image 0, pixels.
        height: of image 0, pixels.

    Returns:
        uint8 [height, width] or [height, width, 3].
    """
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpPerspective(image1, np.asarray(H01, np.float64), (width, height), flags=flags), np.uint8)
