"""Base labels: which pairs of samples are matched directly, and what makes a label of their matches."""

from dataclasses import dataclass

import numpy as np

from gim.geometry.robust import fit_fundamental
from gim.labels.config import PairingConfig
from gim.records import Correspondences, Float32Array, FrameManifest, Segment

LABELLED = "labelled"
TOO_FEW_MATCHES = "too_few_matches"
NO_FIT = "no_fit"
TOO_FEW_INLIERS = "too_few_inliers"


@dataclass(frozen=True, slots=True)
class PairLabel:
    """What came of one base pair."""

    outcome: str  # LABELLED, or the reason for none
    num_matches: int  # before the robust fit
    points: Float32Array  # [N, 4] inliers, pixels; empty unless labelled
    confidence: Float32Array  # [N]


def base_pairs(manifest: FrameManifest, segment: Segment, base_intervals: tuple[int, ...]) -> list[tuple[int, int]]:
    """Pairs of samples matched directly whose first one lies in the segment; none leaves its shot.

    Returns:
        (sample0, sample1), ascending.
    """
    shot = manifest.shots[segment.shot]
    end = shot.first_sample + shot.num_samples
    starts = range(segment.first_sample, segment.first_sample + segment.num_samples)
    return [(start, start + interval) for start in starts for interval in base_intervals if start + interval < end]


def label_pair(correspondences: Correspondences, config: PairingConfig, *, seed: int) -> PairLabel:
    """Fit an epipolar geometry to a matcher's correspondences and keep its inliers.

    Args:
        correspondences: of one matcher.
        config: least counts and the robust fit.
        seed: of the robust fit.
    """
    points, confidence = correspondences.points, correspondences.confidence
    if config.drop_static_points:
        moves = (np.abs(points[:, 2:] - points[:, :2]) >= 1).any(axis=1)
        points, confidence = points[moves], confidence[moves]
    if len(points) < config.min_matches:
        return _no_label(TOO_FEW_MATCHES, len(points))
    fit = fit_fundamental(points, config.fit, seed=seed)
    if fit is None:
        return _no_label(NO_FIT, len(points))
    if np.count_nonzero(fit.inliers) < config.min_inliers:
        return _no_label(TOO_FEW_INLIERS, len(points))
    return PairLabel(LABELLED, len(points), points[fit.inliers], confidence[fit.inliers])


def _no_label(outcome: str, num_matches: int) -> PairLabel:
    return PairLabel(outcome, num_matches, np.empty((0, 4), np.float32), np.empty(0, np.float32))
