"""Errors of relative poses: nothing for exact correspondences, everything for nonsense."""

from dataclasses import replace

import numpy as np
import pytest

from gim.evaluation.pose_auc import NO_POSE, PROTOCOL, pose_auc, pose_errors
from tests.synthetic import PosedPair, posed_pair


@pytest.fixture(scope="module")
def pair() -> PosedPair:
    return posed_pair(size=(160, 120))


def _errors(pair: PosedPair, points: np.ndarray, **changes: object) -> float:
    camera0, camera1 = pair.camera0, pair.camera1
    protocol = replace(PROTOCOL, **changes)
    return pose_errors(points.astype(np.float32), camera0.K, camera1.K, pair.T_0to1, protocol).pose_deg


def test_exact_correspondences_give_the_true_pose(pair: PosedPair) -> None:
    assert _errors(pair, pair.correspondences(200)) < 0.01


def test_error_grows_with_noise(pair: PosedPair) -> None:
    points = pair.correspondences(200)
    noise = np.random.default_rng(0).normal(0, 1, points.shape)
    small, large = (_errors(pair, points + sigma * noise) for sigma in (0.1, 1.0))
    assert 0.01 < small < large


def test_nonsense_gives_a_wrong_pose(pair: PosedPair) -> None:
    assert _errors(pair, np.random.default_rng(0).uniform(0, 120, (100, 4))) > 5


def test_outliers_do_not_count(pair: PosedPair) -> None:
    points = pair.correspondences(200)
    points[:60] = np.random.default_rng(0).uniform(0, 120, (60, 4))
    errors = pose_errors(points.astype(np.float32), pair.camera0.K, pair.camera1.K, pair.T_0to1)
    assert errors.pose_deg < 2
    assert 140 <= errors.num_inliers < 165


def test_too_few_matches_are_a_failure(pair: PosedPair) -> None:
    points = pair.correspondences(8)
    assert pose_errors(points[:4].astype(np.float32), pair.camera0.K, pair.camera1.K, pair.T_0to1) is NO_POSE
    assert _errors(pair, points, min_matches=9) == np.inf


def test_matches_that_allow_no_pose_are_a_failure(pair: PosedPair) -> None:
    assert _errors(pair, np.tile([50.0, 50, 60, 50], (20, 1))) == np.inf


def test_sign_of_the_translation_counts_only_where_it_is_known(pair: PosedPair) -> None:
    points = pair.correspondences(200).astype(np.float32)
    backwards = pair.T_0to1.copy()
    backwards[:3, 3] *= -1
    cameras = (pair.camera0.K, pair.camera1.K, backwards)
    assert pose_errors(points, *cameras).translation_deg < 0.01
    assert pose_errors(points, *cameras, replace(PROTOCOL, is_sign_known=True)).translation_deg > 179


def test_auc_is_in_percent_by_threshold() -> None:
    assert pose_auc([0.0, 0.0]) == {"5": 100, "10": 100, "20": 100}
    assert pose_auc([np.inf, 90.0]) == {"5": 0, "10": 0, "20": 0}
    assert pose_auc([]) == {"5": 0, "10": 0, "20": 0}
    assert pose_auc([0.0, np.inf], replace(PROTOCOL, thresholds_deg=(2.5,))) == {"2.5": 50}
