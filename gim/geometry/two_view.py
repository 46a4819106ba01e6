"""Two calibrated views of an unknown scene: their relative pose, and the points both see.

The scene is that of camera 0: its centre is the origin, x right, y down, z forward, and the distance of the two camera
centres is 1, since two photographs say nothing of a scene's size. What is known of neither pose nor depth is refused.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import poselib

from gim.errors import InvalidInput
from gim.geometry.epipolar import fundamental_from_pose
from gim.geometry.homography import transfer_distance_px
from gim.geometry.pose import as_pose
from gim.geometry.robust import fit_homography
from gim.records import BoolArray, Float32Array, Float64Array

_NORMAL_LENS = 1.2  # focal length over the longer side: between a phone's (0.7 to 0.8) and a portrait lens's (2)


@dataclass(frozen=True, slots=True)
class TwoViewConfig:
    """What counts as seen by both cameras."""

    threshold_px: float = 2.0  # epipolar error of an inlier, and largest reprojection error of a point
    min_angle_deg: float = 1.0  # between a point's two rays; below, its depth is mostly noise
    plane_px: float = 3.0  # nearer than this to where a homography sends it, a correspondence says nothing of depth
    max_plane_share: float = 0.95  # of the inliers; beyond, the pose is not to be had from them
    min_points: int = 16  # a hundred matches between unrelated images agree on a dozen by chance
    min_inlier_share: float = 0.3  # of the given correspondences; fewer agree by chance, or the intrinsics are wrong
    max_iterations: int = 10_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TwoViewScene:
    """Relative pose and points, in units of the distance between the cameras."""

    K0: Float64Array  # [3, 3] pixels
    K1: Float64Array
    T_0to1: Float64Array  # [4, 4], translation of unit length
    points: Float64Array  # [P, 3] in the axes of camera 0
    rows: npt.NDArray[np.int64]  # [P] which of the given correspondences became points
    angles_deg: Float64Array  # [P] between a point's two rays


def guess_intrinsics(width: int, height: int, focal_px: float | None = None) -> Float64Array:
    """K of a camera of which at most the focal length is known: centred, square pixels.

    Args:
        width: of the image, pixels.
        height: of the image, pixels.
        focal_px: 1.2 times the longer side where it is not known.

    Returns:
        float64 [3, 3], origin at the centre of the top-left pixel.
    """
    focal = focal_px or _NORMAL_LENS * max(width, height)
    return np.array([[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]])


def reconstruct(
    points: Float32Array,
    K0: npt.ArrayLike,
    K1: npt.ArrayLike,
    config: TwoViewConfig = TwoViewConfig(),
) -> TwoViewScene:
    """Relative pose and triangulated points of two views.

    The pose is that of the five-point algorithm in LO-RANSAC with a final refinement (PoseLib). Points are triangulated
    after the optimal correction of Hartley and Zisserman, 12.5; kept are those in front of both cameras, corrected by
    little, and seen under a sufficient angle.

    Args:
        points: float32 [N, 4] rows (x0, y0, x1, y1), pixels, of which most are right.
        K0: [3, 3] intrinsics of camera 0, pixels.
        K1: [3, 3] intrinsics of camera 1, pixels.
        config: thresholds.

    Raises:
        InvalidInput: too few correspondences, one plane or one viewpoint, or too little parallax; says which.
    """
    rows = np.asarray(points, np.float64)
    K0, K1 = np.asarray(K0, np.float64), np.asarray(K1, np.float64)
    if len(rows) < config.min_points:
        raise InvalidInput(
            f"two views need {config.min_points} correspondences that agree, got {len(rows)}: "
            "take images that share more"
        )
    T_0to1, inliers = _relative_pose(rows, K0, K1, config)
    _refuse_without_depth(rows[inliers], K0, K1, config)
    corrected = _corrected(rows, fundamental_from_pose(K0, K1, T_0to1))
    scene, depths, angles_deg = _triangulated(corrected, K0, K1, T_0to1)
    with np.errstate(invalid="ignore"):
        moved_px = np.linalg.norm((corrected - rows).reshape(-1, 2, 2), axis=2).max(axis=1)
        is_seen = (moved_px < config.threshold_px) & (depths > 0).all(axis=1)
    is_kept = is_seen & (angles_deg >= config.min_angle_deg)
    if np.count_nonzero(is_kept) < config.min_points:
        median_deg = float(np.median(angles_deg[is_seen])) if is_seen.any() else 0.0
        raise InvalidInput(
            f"too little parallax to triangulate: half of the {np.count_nonzero(is_seen)} points are seen under less "
            f"than {median_deg:.2f} degrees, {config.min_angle_deg:g} are needed; take views further apart"
        )
    return TwoViewScene(K0, K1, T_0to1, scene[is_kept], np.flatnonzero(is_kept), angles_deg[is_kept])


def _relative_pose(
    rows: Float64Array, K0: Float64Array, K1: Float64Array, config: TwoViewConfig
) -> tuple[Float64Array, BoolArray]:
    ransac = {
        "max_epipolar_error": config.threshold_px,
        "max_iterations": config.max_iterations,
        "min_iterations": 100,
        "success_prob": 0.999999,
        "seed": config.seed,
    }
    cameras = (
        {"model": "PINHOLE", "width": 0, "height": 0, "params": [K[0, 0], K[1, 1], K[0, 2], K[1, 2]]} for K in (K0, K1)
    )
    pose, found = poselib.estimate_relative_pose(rows[:, :2], rows[:, 2:], *cameras, ransac, {})
    inliers = np.asarray(found["inliers"], bool)
    t = np.asarray(pose.t, np.float64)
    length = np.linalg.norm(t)
    least = max(config.min_points, config.min_inlier_share * len(rows))
    if np.count_nonzero(inliers) < least or not np.isfinite(length) or length == 0:
        raise InvalidInput(
            f"no relative pose fits enough of the {len(rows)} correspondences ({np.count_nonzero(inliers)}): give the "
            "cameras' intrinsics, or take images that share more"
        )
    return as_pose(np.column_stack([pose.R, t / length])), inliers


def _refuse_without_depth(rows: Float64Array, K0: Float64Array, K1: Float64Array, config: TwoViewConfig) -> None:
    """Refuse views related by a homography, of one viewpoint or one plane (Hartley and Zisserman, 13.4 and 11.9)."""
    turn = K1 @ _rotation_between(rows, K0, K1) @ np.linalg.inv(K0)
    share = np.mean(transfer_distance_px(rows, turn) < config.plane_px)
    if share > config.max_plane_share:
        raise InvalidInput(
            f"both images are of one viewpoint: a turn of the camera explains {share:.0%} of the matches within "
            f"{config.plane_px:g} px, so nothing has a depth; step aside between the views"
        )
    plane = fit_homography(rows.astype(np.float32), threshold_px=config.plane_px, seed=config.seed)
    if plane and plane.inliers.mean() > config.max_plane_share:
        raise InvalidInput(
            f"the matches lie on one plane, or the camera only turned: a homography explains "
            f"{plane.inliers.mean():.0%} of them within {config.plane_px:g} px, and two cameras fit it; choose a scene "
            "with depth, or views further apart"
        )


def _rotation_between(rows: Float64Array, K0: Float64Array, K1: Float64Array) -> Float64Array:
    """R with ray1 = R ray0 for most rays: Kabsch's, twice more over the nearer half, so that outliers do no harm."""
    rays0, rays1 = (_rays(rows[:, columns], K) for columns, K in ((slice(0, 2), K0), (slice(2, 4), K1)))
    is_near = np.ones(len(rows), bool)
    R = np.eye(3)
    for _ in range(3):
        U, _, Vt = np.linalg.svd(rays1[is_near].T @ rays0[is_near])
        R = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
        distance = np.linalg.norm(rays1 - rays0 @ R.T, axis=1)
        is_near = distance <= np.median(distance)
    return np.asarray(R)


def _rays(keypoints: Float64Array, K: Float64Array) -> Float64Array:
    """Unit directions [N, 3] of pixels [N, 2]."""
    rays = np.column_stack([keypoints, np.ones(len(keypoints))]) @ np.linalg.inv(K).T
    return np.asarray(rays / np.linalg.norm(rays, axis=1, keepdims=True))


def _corrected(rows: Float64Array, F01: Float64Array) -> Float64Array:
    """The nearest correspondences that fit F01 exactly; NaN where there is none."""
    places0, places1 = cv2.correctMatches(F01, rows[None, :, :2], rows[None, :, 2:])
    return np.hstack([places0[0], places1[0]])


def _triangulated(
    rows: Float64Array, K0: Float64Array, K1: Float64Array, T_0to1: Float64Array
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Points [N, 3], their distances along both rays [N, 2], and the angles between the rays, of rays that meet.

    From d1 ray1 = d0 R ray0 + t: crossing with ray1, or with R ray0, leaves one unknown.
    """
    R, t = T_0to1[:3, :3], T_0to1[:3, 3]
    rays0 = _rays(rows[:, :2], K0)
    turned, rays1 = rays0 @ R.T, _rays(rows[:, 2:], K1)
    normals = np.cross(turned, rays1)
    sine = np.linalg.norm(normals, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance0 = np.einsum("ni,ni->n", np.cross(rays1, t), normals) / sine**2
        distance1 = np.einsum("ni,ni->n", np.cross(turned, t), normals) / sine**2
        scene = rays0 * distance0[:, None]
    angles_deg = np.rad2deg(np.arctan2(sine, np.einsum("ni,ni->n", turned, rays1)))
    return scene, np.column_stack([distance0, distance1]), angles_deg
