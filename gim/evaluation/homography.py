"""The homography that correspondences lead to under a protocol, and how far it takes corners from where they belong."""

from dataclasses import dataclass

import cv2
import numpy as np
import poselib

from gim.benchmarks.homography_pairs import PlanePair, is_singular
from gim.evaluation.estimation import poselib_options
from gim.evaluation.homography_protocols import HomographyProtocol
from gim.geometry.homography import apply_homography
from gim.records import BoolArray, Float32Array, Float64Array


@dataclass(frozen=True, slots=True)
class HomographyEstimate:
    """A map of image 0 into image 1."""

    H01: Float64Array  # [3, 3] pixels of the images as given
    inliers: BoolArray  # [N]


def pixel_size(pair: PlanePair, protocol: HomographyProtocol) -> float:
    """How many pixels of image 1 as given are one of the protocol's."""
    return min(pair.size1) / protocol.shortest_side if protocol.shortest_side else 1.0


def estimate_homography(
    points: Float32Array, protocol: HomographyProtocol, *, pixel: float = 1.0, seed: int = 0
) -> HomographyEstimate | None:
    """The homography of two views; None where there is none: too few correspondences, all on a line, or no agreement.

    Args:
        points: [N, 4] rows (x0, y0, x1, y1), pixels.
        protocol: which solver, with which numbers.
        pixel: of `pixel_size`.
        seed: of the solver, where it takes one.
    """
    rows = np.asarray(points, np.float64)
    if len(rows) < protocol.min_matches:
        return None
    solve = {"opencv-ransac": _by_opencv, "poselib": _by_poselib}[protocol.solver]
    found = solve(rows, protocol, protocol.threshold_px * pixel, seed)
    if found is None or not np.isfinite(found.H01).all() or is_singular(found.H01):
        return None
    return found if np.count_nonzero(found.inliers) >= protocol.min_matches else None


def corner_error_px(estimate: HomographyEstimate | None, pair: PlanePair, protocol: HomographyProtocol) -> float:
    """Mean distance between where an estimate takes the corners of image 0 and where they belong; infinite without it.

    Corners are the centres of the four outermost pixels. In pixels of the protocol, see `pixel_size`.
    """
    if estimate is None:
        return np.inf
    right, below = pair.size0[0] - 1.0, pair.size0[1] - 1.0
    corners = [[0.0, 0.0], [right, 0.0], [right, below], [0.0, below]]
    distance = np.linalg.norm(apply_homography(corners, estimate.H01) - apply_homography(corners, pair.H01), axis=1)
    error = float(distance.mean()) / pixel_size(pair, protocol)
    return error if np.isfinite(error) else np.inf


def _by_opencv(
    rows: Float64Array, protocol: HomographyProtocol, threshold: float, _seed: int
) -> HomographyEstimate | None:
    H01, mask = cv2.findHomography(
        rows[:, :2],
        rows[:, 2:],
        cv2.RANSAC,
        threshold,
        maxIters=protocol.max_iterations,
        confidence=protocol.success_probability,
    )
    return None if H01 is None else HomographyEstimate(np.asarray(H01, np.float64), mask.ravel() > 0)


def _by_poselib(
    rows: Float64Array, protocol: HomographyProtocol, threshold: float, seed: int
) -> HomographyEstimate | None:
    options = poselib_options(protocol, seed, max_reproj_error=threshold)
    H01, info = poselib.estimate_homography(rows[:, :2], rows[:, 2:], options, {})
    return HomographyEstimate(np.asarray(H01, np.float64), np.asarray(info["inliers"], bool))
