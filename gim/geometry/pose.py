"""Camera poses: relative pose, its errors, and its recovery from an epipolar geometry.

T_0to1 [4, 4] maps points of camera 0 into camera 1: X1 = R X0 + t. Axes as in OpenCV: x right, y down, z forward.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from gim.errors import ShapeError
from gim.geometry.epipolar import essential_from_fundamental
from gim.records import BoolArray, Float64Array

_FARTHEST = 1e4  # baselines; beyond, in front and behind cannot be told (OpenCV's default of 50 drops good points)


@dataclass(frozen=True, slots=True)
class RecoveredPose:
    """Relative pose up to scale."""

    T_0to1: Float64Array  # [4, 4], translation of unit length
    is_in_front: BoolArray  # [N] whether a correspondence lies in front of both cameras


def as_pose(rows: npt.ArrayLike) -> Float64Array:
    """A [4, 4] matrix from [4, 4], [3, 4], or their 16 or 12 numbers (one line of KITTI text).

    Raises:
        ShapeError: neither 12 nor 16 numbers.
    """
    numbers = np.asarray(rows, np.float64)
    if numbers.size not in (12, 16):
        raise ShapeError(f"expected a pose of 12 or 16 numbers, got {numbers.size}")
    return np.vstack([numbers.reshape(-1, 4)[:3], [0.0, 0.0, 0.0, 1.0]])


def relative_pose(T_0toworld: npt.ArrayLike, T_1toworld: npt.ArrayLike) -> Float64Array:
    """T_0to1 of two cameras given by their camera-to-world poses: inverse(T_1toworld) T_0toworld.

    Args:
        T_0toworld: [4, 4], [3, 4], or the numbers of either.
        T_1toworld: likewise.

    Returns:
        float64 [4, 4].
    """
    return np.asarray(np.linalg.solve(as_pose(T_1toworld), as_pose(T_0toworld)))


def rotation_error_deg(R: npt.ArrayLike, R_true: npt.ArrayLike) -> float:
    """Angle of the rotation between two rotations, degrees in [0, 180].

    From the chord |R - R_true|_F = 2 sqrt(2) sin(angle / 2), which keeps small angles exact where arccos does not.
    """
    chord = np.linalg.norm(np.asarray(R, np.float64) - np.asarray(R_true, np.float64))
    return float(np.rad2deg(2 * np.arcsin(min(chord / np.sqrt(8), 1.0))))


def translation_error_deg(t: npt.ArrayLike, t_true: npt.ArrayLike) -> float:
    """Angle between two directions of translation, degrees in [0, 180]; 0 if the true one has no length."""
    first, second = np.asarray(t, np.float64), np.asarray(t_true, np.float64)
    if not second.any():
        return 0.0
    return float(np.rad2deg(np.arctan2(np.linalg.norm(np.cross(first, second)), first @ second)))


def recover_pose(
    points: npt.ArrayLike, F01: npt.ArrayLike, K0: npt.ArrayLike, K1: npt.ArrayLike
) -> RecoveredPose | None:
    """The one of the four poses of an epipolar geometry with most correspondences in front of both cameras.

    Hartley and Zisserman, 9.6.2 and Result 9.19.

    Args:
        points: [N, 4] rows (x0, y0, x1, y1), inliers, pixels.
        F01: [3, 3].
        K0: [3, 3] intrinsics of camera 0, pixels.
        K1: [3, 3] intrinsics of camera 1, pixels.

    Returns:
        The pose, or None when no correspondence lies in front of both cameras.
    """
    rows = np.asarray(points, np.float64)
    rays0 = cv2.undistortPoints(rows[:, None, :2], np.asarray(K0, np.float64), None)
    rays1 = cv2.undistortPoints(rows[:, None, 2:], np.asarray(K1, np.float64), None)
    E01 = essential_from_fundamental(F01, K0, K1)
    num_in_front, R, t, mask, _ = cv2.recoverPose(E01, rays0, rays1, np.eye(3), distanceThresh=_FARTHEST)
    if num_in_front == 0:
        return None
    return RecoveredPose(as_pose(np.hstack([R, t])), mask.ravel() > 0)
