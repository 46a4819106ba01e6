"""How right the relative pose is that correspondences lead to: errors of one pair, and the AUC over many.

How a pose is estimated and what counts is a `PoseProtocol`, a record that every report carries: numbers of two
protocols are not to be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import poselib

from gim.evaluation.auc import error_auc
from gim.geometry.pose import as_pose, rotation_error_deg, translation_error_deg
from gim.records import Float32Array, Float64Array


@dataclass(frozen=True, slots=True)
class PoseProtocol:
    """How a relative pose is estimated and judged: PoseLib's LO-RANSAC of the essential matrix, seeded."""

    name: str = "poselib"
    revision: int = 1  # bumped when the same numbers below give other results
    threshold_px: float = 1.0  # largest epipolar error of an inlier
    success_probability: float = 0.99999
    max_iterations: int = 20_000
    seed: int = 0
    min_matches: int = 5  # fewer are a failure
    is_sign_known: bool = False  # whether a translation that points backwards is wrong
    thresholds_deg: tuple[float, ...] = (5, 10, 20)  # of the AUC


PROTOCOL = PoseProtocol()


@dataclass(frozen=True, slots=True)
class PoseErrors:
    """How far an estimated relative pose is from the true one. Infinite where there is no estimate."""

    rotation_deg: float
    translation_deg: float  # angle between the directions
    num_inliers: int

    @property
    def pose_deg(self) -> float:
        """The larger of both, which is what counts."""
        return max(self.rotation_deg, self.translation_deg)


NO_POSE = PoseErrors(np.inf, np.inf, 0)


def pose_errors(
    points: Float32Array,
    K0: Float64Array,
    K1: Float64Array,
    T_0to1: Float64Array,
    protocol: PoseProtocol = PROTOCOL,
) -> PoseErrors:
    """Errors of the pose that correspondences lead to.

    Args:
        points: [N, 4] rows (x0, y0, x1, y1), pixels.
        K0: [3, 3] of view 0, pixels.
        K1: [3, 3] of view 1.
        T_0to1: [4, 4], the true one; its translation may have any length.
        protocol: how the pose is estimated.
    """
    if len(points) < protocol.min_matches:
        return NO_POSE
    cameras = [
        {"model": "PINHOLE", "width": 1, "height": 1, "params": [K[0, 0], K[1, 1], K[0, 2], K[1, 2]]} for K in (K0, K1)
    ]
    options = {
        "max_epipolar_error": protocol.threshold_px,
        "success_prob": protocol.success_probability,
        "max_iterations": protocol.max_iterations,
        "seed": protocol.seed,
    }
    rows = points.astype(np.float64)
    pose, info = poselib.estimate_relative_pose(rows[:, :2], rows[:, 2:], *cameras, options, {})
    if not np.any(pose.t):  # PoseLib's start, left as it is where no model was found: in a drive nearly the truth
        return NO_POSE
    T = as_pose(np.column_stack([pose.R, pose.t]))
    direction = translation_error_deg(T[:3, 3], T_0to1[:3, 3])
    if not protocol.is_sign_known:
        direction = min(direction, 180 - direction)
    rotation = rotation_error_deg(T[:3, :3], T_0to1[:3, :3])
    return PoseErrors(rotation, direction, int(info["num_inliers"])) if np.isfinite(rotation + direction) else NO_POSE


def pose_auc(errors_deg: Sequence[float], protocol: PoseProtocol = PROTOCOL) -> dict[str, float]:
    """The AUC of pose errors in percent, by threshold: `{"5": 60.2, ...}`; zeros without pairs."""
    scores = error_auc(errors_deg, protocol.thresholds_deg)
    return {f"{bound:g}": 100 * score for bound, score in zip(protocol.thresholds_deg, scores, strict=True)}
