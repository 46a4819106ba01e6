"""The relative pose that correspondences lead to under a protocol, and how far it is from the true one."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import poselib

from gim.evaluation.estimation import poselib_options
from gim.evaluation.protocols import PoseProtocol
from gim.geometry.pose import as_pose, rotation_error_deg, translation_error_deg
from gim.records import BoolArray, Float32Array, Float64Array


@dataclass(frozen=True, slots=True)
class PoseEstimate:
    """A relative pose up to the length of its translation."""

    T_0to1: Float64Array  # [4, 4], translation of unit length
    inliers: BoolArray  # [N]


@dataclass(frozen=True, slots=True)
class PoseErrors:
    """How far an estimated relative pose is from the true one. Infinite where there is no estimate."""

    rotation_deg: float
    translation_deg: float  # angle between the directions
    translation: float  # distance at the true length, in its unit, the sign as it was found

    @property
    def pose_deg(self) -> float:
        """The larger of both angles, which is what counts."""
        return max(self.rotation_deg, self.translation_deg)


NO_POSE = PoseErrors(np.inf, np.inf, np.inf)


def estimate_pose(
    points: Float32Array | Float64Array, K0: Float64Array, K1: Float64Array, protocol: PoseProtocol, seed: int = 0
) -> PoseEstimate | None:
    """The relative pose of two views; None where there is none.

    That is: too few correspondences, all in one place of a view, or none that agrees with what the solver returns.

    Args:
        points: [N, 4] rows (x0, y0, x1, y1), pixels.
        K0: [3, 3] of view 0, pixels.
        K1: [3, 3] of view 1.
        protocol: which solver, with which numbers.
        seed: of the solver, where it takes one.
    """
    rows = np.asarray(points, np.float64)
    if len(rows) < protocol.min_matches or _is_in_one_place(rows):
        return None
    solve = {"opencv-ransac": _by_opencv, "poselib": _by_poselib}[protocol.solver]
    found = solve(rows, K0, K1, protocol, seed)
    return found if found is not None and np.isfinite(found.T_0to1).all() and found.inliers.any() else None


def pose_errors(estimate: PoseEstimate | None, T_0to1: Float64Array, protocol: PoseProtocol) -> PoseErrors:
    """Errors of an estimate; infinite without one.

    Args:
        estimate: of `estimate_pose`.
        T_0to1: [4, 4], the true one; without a baseline any direction is right.
        protocol: whether a translation that points backwards is wrong.
    """
    if estimate is None:
        return NO_POSE
    R, t, true = estimate.T_0to1[:3, :3], estimate.T_0to1[:3, 3], T_0to1[:3, 3]
    direction = translation_error_deg(t, true)
    if not protocol.is_sign_known:
        direction = min(direction, 180 - direction)
    # The published distances count a translation that points backwards as far off, whatever the angle does.
    distance = float(np.linalg.norm(t / np.linalg.norm(t) * np.linalg.norm(true) - true))
    return PoseErrors(rotation_error_deg(R, T_0to1[:3, :3]), direction, distance)


def _is_in_one_place(rows: Float64Array) -> bool:
    """Whether a view sees all in one place: PoseLib answers with a pose that all agree with, and no turn."""
    return not (np.ptp(rows[:, :2], axis=0).any() and np.ptp(rows[:, 2:], axis=0).any())


def _by_opencv(
    rows: Float64Array, K0: Float64Array, K1: Float64Array, protocol: PoseProtocol, _seed: int
) -> PoseEstimate | None:
    x0, x1 = _normalised(rows[:, :2], K0), _normalised(rows[:, 2:], K1)
    threshold = protocol.threshold_px / _focal(K0, K1, protocol)
    found, mask = cv2.findEssentialMat(
        x0, x1, np.eye(3), cv2.RANSAC, protocol.success_probability, threshold, protocol.max_iterations
    )
    if found is None:
        return None
    best: PoseEstimate | None = None
    most = 0
    for E in found.reshape(-1, 3, 3):
        # OpenCV drops from the mask, in place, what is not in front of both cameras: the next candidate starts from it.
        num, R, t, mask, _ = cv2.recoverPose(E, x0, x1, np.eye(3), distanceThresh=protocol.farthest, mask=mask)
        if num > most:
            most = num
            best = PoseEstimate(as_pose(np.column_stack([R, t])), mask.ravel() > 0)
    return best


def _by_poselib(
    rows: Float64Array, K0: Float64Array, K1: Float64Array, protocol: PoseProtocol, seed: int
) -> PoseEstimate | None:
    options = poselib_options(protocol, seed, max_epipolar_error=protocol.threshold_px)
    pose, info = poselib.estimate_relative_pose(rows[:, :2], rows[:, 2:], _camera(K0), _camera(K1), options, {})
    if not np.any(pose.t):  # PoseLib's start, left as it is where no model was found: in a drive nearly the truth
        return None
    return PoseEstimate(as_pose(np.column_stack([pose.R, pose.t])), np.asarray(info["inliers"], bool))


def _camera(K: Float64Array) -> dict[str, Any]:
    return {"model": "PINHOLE", "width": 1, "height": 1, "params": [K[0, 0], K[1, 1], K[0, 2], K[1, 2]]}


def _normalised(positions: Float64Array, K: Float64Array) -> Float64Array:
    return (positions - K[[0, 1], [2, 2]]) / K[[0, 1], [0, 1]]


def _focal(K0: Float64Array, K1: Float64Array, protocol: PoseProtocol) -> float:
    if protocol.focal == "upstream-mean":  # one focal length of each camera; the original takes each twice
        return float((K0[0, 0] + K1[1, 1]) / 2)
    return float(np.mean([K0[0, 0], K0[1, 1], K1[0, 0], K1[1, 1]]))
