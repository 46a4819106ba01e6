"""How far matches are from what is known of a pair. Imports no torch."""

from dataclasses import dataclass

import numpy as np

from gim.geometry.epipolar import fundamental_from_pose, symmetric_epipolar_distance_px
from gim.geometry.homography import apply_homography
from gim.geometry.robust import RobustFitConfig, fit_fundamental
from gim.geometry.trees import kd_tree
from gim.records import Float32Array, Float64Array
from gim.training.samples import Homography, Labels, Posed, Truth

_LABEL_REACH_PX = 24.0  # a label farther off says nothing of a match


@dataclass(frozen=True, slots=True)
class MatchErrors:
    """Errors of matches, and against what."""

    errors_px: Float64Array  # [N]; infinite where nothing is known
    against: str  # in words


def match_errors(points: Float32Array, truth: Truth) -> MatchErrors:
    """The errors of matches.

    Of a homography: the distance in image 1. Of posed images: the symmetric epipolar distance, by the poses. Of labels:
    the same, by the fundamental matrix that fits them (threshold 1 px); where none does, how far the match moves
    otherwise than the nearest label in image 0.

    Args:
        points: float32 [N, 4] rows (x0, y0, x1, y1), pixels of the sample's images.
        truth: of the sample.
    """
    if isinstance(truth, Homography):
        gaps = apply_homography(points[:, :2], truth.H01) - points[:, 2:]
        return MatchErrors(np.linalg.norm(gaps, axis=1), "the homography")
    F01 = _fundamental_of_poses(truth) if isinstance(truth, Posed) else _fundamental_of_labels(truth)
    if F01 is not None and F01.any():
        what = "the poses' epipolar lines" if isinstance(truth, Posed) else "the labels' epipolar lines"
        return MatchErrors(np.asarray(symmetric_epipolar_distance_px(points, F01), np.float64), what)
    if isinstance(truth, Posed):
        return MatchErrors(np.full(len(points), np.inf), "nothing: both cameras are in one place")
    return MatchErrors(_off_nearest_label(points, truth.points), "the nearest labels")


def _fundamental_of_poses(truth: Posed) -> Float64Array:
    """K and the homography after it are one matrix from rays to the pixels of the sample's image."""
    K0, K1 = (view.to_image @ view.K for view in (truth.view0, truth.view1))
    return fundamental_from_pose(K0, K1, truth.T_0to1)


def _fundamental_of_labels(truth: Labels) -> Float64Array | None:
    fit = fit_fundamental(truth.points, RobustFitConfig(threshold_px=1.0))
    return None if fit is None else fit.F01


def _off_nearest_label(points: Float32Array, labels: Float32Array) -> Float64Array:
    if not len(points) or not len(labels):
        return np.full(len(points), np.inf)
    distances, rows = kd_tree(labels[:, :2]).query(points[:, :2], distance_upper_bound=_LABEL_REACH_PX)
    is_near = np.isfinite(distances)
    errors = np.full(len(points), np.inf)
    moves, label_moves = points[is_near, 2:] - points[is_near, :2], labels[:, 2:] - labels[:, :2]
    errors[is_near] = np.linalg.norm(moves - label_moves[rows[is_near]], axis=1)
    return errors
