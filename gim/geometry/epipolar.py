"""Two-view epipolar geometry: matrices from cameras, lines, and distances in pixels.

Estimates nothing (see `gim.geometry.robust`). Numbering follows Hartley and Zisserman, Multiple View Geometry, 2nd ed.
Everything is computed in float64; correspondences are rows (x0, y0, x1, y1), and x1' F01 x0 = 0.
"""

import numpy as np
import numpy.typing as npt

from gim.errors import ShapeError
from gim.records import Float64Array


def cross_product_matrix(vector: npt.ArrayLike) -> Float64Array:
    """The matrix [v]x with [v]x w = v x w (HZ A4.5).

    Args:
        vector: [3].

    Returns:
        float64 [3, 3], skew-symmetric.
    """
    x, y, z = np.asarray(vector, np.float64)
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def essential_from_pose(T_0to1: npt.ArrayLike) -> Float64Array:
    """E01 = [t]x R (HZ 9.12).

    Args:
        T_0to1: [4, 4] or [3, 4], maps points of camera 0 into camera 1.

    Returns:
        float64 [3, 3].
    """
    pose = np.asarray(T_0to1, np.float64)
    return cross_product_matrix(pose[:3, 3]) @ pose[:3, :3]


def fundamental_from_essential(E01: npt.ArrayLike, K0: npt.ArrayLike, K1: npt.ArrayLike) -> Float64Array:
    """F01 = K1^-T E01 K0^-1 (HZ 9.12), scaled to Frobenius norm 1.

    Args:
        E01: [3, 3].
        K0: [3, 3] intrinsics of camera 0, pixels.
        K1: [3, 3] intrinsics of camera 1, pixels.

    Returns:
        float64 [3, 3]; all zero when the cameras share their centre.
    """
    inverse0, inverse1 = np.linalg.inv(np.asarray(K0, np.float64)), np.linalg.inv(np.asarray(K1, np.float64))
    F01 = inverse1.T @ np.asarray(E01, np.float64) @ inverse0
    norm = np.linalg.norm(F01)
    return F01 / norm if norm > 0 else F01


def essential_from_fundamental(F01: npt.ArrayLike, K0: npt.ArrayLike, K1: npt.ArrayLike) -> Float64Array:
    """E01 = K1' F01 K0 (HZ 9.12), not forced to equal singular values.

    Args:
        F01: [3, 3].
        K0: [3, 3] intrinsics of camera 0, pixels.
        K1: [3, 3] intrinsics of camera 1, pixels.

    Returns:
        float64 [3, 3].
    """
    return np.asarray(K1, np.float64).T @ np.asarray(F01, np.float64) @ np.asarray(K0, np.float64)


def fundamental_from_pose(K0: npt.ArrayLike, K1: npt.ArrayLike, T_0to1: npt.ArrayLike) -> Float64Array:
    """The fundamental matrix of two calibrated cameras of known relative pose (HZ 9.12).

    Args:
        K0: [3, 3] intrinsics of camera 0, pixels.
        K1: [3, 3] intrinsics of camera 1, pixels.
        T_0to1: [4, 4] or [3, 4], maps points of camera 0 into camera 1.

    Returns:
        float64 [3, 3] of Frobenius norm 1; all zero when the cameras share their centre.
    """
    return fundamental_from_essential(essential_from_pose(T_0to1), K0, K1)


def epipolar_lines(keypoints: npt.ArrayLike, F: npt.ArrayLike) -> Float64Array:
    """Lines F x in the other image (HZ 9.1), scaled so that (a, b) is a unit normal. Give F01' for lines in image 0.

    Args:
        keypoints: [N, 2] pixels.
        F: [3, 3] fundamental matrix from the keypoints' image to the other one.

    Returns:
        float64 [N, 3] rows (a, b, c) with a x + b y + c = 0; zero for a keypoint at the epipole.
    """
    positions = np.asarray(keypoints, np.float64)
    if positions.ndim != 2 or positions.shape[1] != 2:
        raise ShapeError(f"expected keypoints [N, 2], got {positions.shape}")
    lines = _homogeneous(positions) @ np.asarray(F, np.float64).T
    norm = np.linalg.norm(lines[:, :2], axis=1, keepdims=True)
    return np.asarray(np.divide(lines, norm, out=np.zeros_like(lines), where=norm > 0))


def epipole0(F01: npt.ArrayLike) -> Float64Array:
    """The epipole in image 0: the null vector of F01 (HZ Table 9.1), homogeneous, unit length. Give F01' for image 1.

    Args:
        F01: [3, 3].

    Returns:
        float64 [3].
    """
    return np.asarray(np.linalg.svd(np.asarray(F01, np.float64))[2][2])


def symmetric_epipolar_distance_px(points: npt.ArrayLike, F01: npt.ArrayLike) -> Float64Array:
    """MEAN of the distances of each point to the epipolar line of the other (cf. HZ 11.10, the sum of squares).

    Args:
        points: [N, 4] rows (x0, y0, x1, y1), pixels.
        F01: [3, 3].

    Returns:
        float64 [N] pixels; a point at its epipole, which every line meets, counts as on its line.

    Raises:
        ShapeError: `points` is not [N, 4].
    """
    distance0, distance1 = _line_distances(points, F01)
    return (distance0 + distance1) / 2


def squared_symmetric_epipolar_distance(points: npt.ArrayLike, F01: npt.ArrayLike) -> Float64Array:
    """SUM of the squared distances of each point to the epipolar line of the other (HZ 11.10).

    Args:
        points: [N, 4] rows (x0, y0, x1, y1), pixels or, with an essential matrix, normalised coordinates.
        F01: [3, 3].

    Returns:
        float64 [N] in the square of the unit of `points`; a point at its epipole counts as on its line.

    Raises:
        ShapeError: `points` is not [N, 4].
    """
    distance0, distance1 = _line_distances(points, F01)
    return np.asarray(distance0**2 + distance1**2)


def sampson_distance_px(points: npt.ArrayLike, F01: npt.ArrayLike) -> Float64Array:
    """First-order distance of each correspondence to the nearest one that fits F01: square root of HZ 11.9.

    Args:
        points: [N, 4] rows (x0, y0, x1, y1), pixels.
        F01: [3, 3].

    Returns:
        float64 [N] pixels, of the joint displacement in both images; 0 where both points are epipoles.

    Raises:
        ShapeError: `points` is not [N, 4].
    """
    residual, norm0, norm1 = _residual_and_norms(points, F01)
    norm = np.hypot(norm0, norm1)
    return np.divide(residual, norm, out=np.zeros_like(residual), where=norm > 0)


def _line_distances(points: npt.ArrayLike, F01: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
    """The distance [N] of each point to the epipolar line of the other, in image 0 and in image 1."""
    residual, norm0, norm1 = _residual_and_norms(points, F01)
    zeros = np.zeros_like(residual)
    distance0 = np.divide(residual, norm0, out=zeros.copy(), where=norm0 > 0)
    return distance0, np.divide(residual, norm1, out=zeros, where=norm1 > 0)


def _residual_and_norms(points: npt.ArrayLike, F01: npt.ArrayLike) -> tuple[Float64Array, Float64Array, Float64Array]:
    """|x1' F01 x0|, and the norms of the normals of the epipolar lines in image 0 and image 1."""
    rows = np.asarray(points, np.float64)
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise ShapeError(f"expected correspondences [N, 4], got {rows.shape}")
    matrix = np.asarray(F01, np.float64)
    x0, x1 = _homogeneous(rows[:, :2]), _homogeneous(rows[:, 2:])
    lines1, lines0 = x0 @ matrix.T, x1 @ matrix
    residual = np.abs(np.einsum("ni,ni->n", x1, lines1))
    return residual, np.hypot(lines0[:, 0], lines0[:, 1]), np.hypot(lines1[:, 0], lines1[:, 1])


def _homogeneous(positions: Float64Array) -> Float64Array:
    return np.column_stack([positions, np.ones(len(positions))])
