"""What is said of the matches of planes, and of many planes together."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gim.benchmarks.homography_pairs import PlanePair, read_homography_pairs
from gim.evaluation.auc import error_auc
from gim.evaluation.error_scores import score_errors, score_groups
from gim.evaluation.homography_protocols import PROTOCOLS, homography_protocol_named
from gim.evaluation.homography_scorer import Column, homography_scorer, precision_percent
from gim.evaluation.scores import sample_auc
from gim.geometry.homography import apply_homography

SIZE = (640, 480)
THRESHOLDS = (3.0, 5.0, 10.0)
GIM, STRICT = PROTOCOLS


def plane(shift: float) -> PlanePair:
    return PlanePair("0", "1", np.array([[1.0, 0.05, shift], [0, 1, 3], [1e-5, 0, 1]]), SIZE, SIZE, "")


def exact(pair: PlanePair, num: int = 50) -> np.ndarray:
    points0 = np.random.default_rng(0).uniform(0, SIZE, (num, 2))
    return np.hstack([points0, apply_homography(points0, pair.H01)]).astype(np.float32)


def test_a_pair_is_scored_once_for_each_seed() -> None:
    pair = plane(10)
    points = exact(pair)
    points[:10, 2] += 40
    for protocol, num_seeds in ((GIM, 1), (STRICT, 3)):
        rows = homography_scorer([plane(0), pair], protocol).score(1, points)
        assert rows.shape == (num_seeds, len(Column))
        assert rows[:, Column.CORNER_ERROR_PX].max() < 1e-2
        np.testing.assert_array_equal(rows[:, 1:], np.tile([50, 40, 40, 40], (num_seeds, 1)))
        before, after = precision_percent(rows[None])
        assert (before, after) == pytest.approx((80, 100))


def test_a_match_is_right_in_pixels_of_the_protocol() -> None:
    """Image 1 has twice its shorter side of 480, so that 5 pixels are 2.5 and 7 are 3.5 of its pixels."""
    pair = replace(plane(10), size1=(1280, 960))
    points = exact(pair)
    points[:10, 2] += 5
    points[10:20, 2] += 7
    assert homography_scorer([pair], GIM).score(0, points)[0, Column.NUM_RIGHT_MATCHES] == 40
    as_given = replace(GIM, shortest_side=None)
    assert homography_scorer([pair], as_given).score(0, points)[0, Column.NUM_RIGHT_MATCHES] == 30


def test_a_failure_counts_and_has_no_precision() -> None:
    scorer = homography_scorer([plane(10)], GIM)
    rows = np.stack([scorer.score(0, np.empty((0, 4), np.float32)), scorer.score(0, exact(plane(10), 3))])
    assert np.isinf(rows[..., Column.CORNER_ERROR_PX]).all()
    np.testing.assert_array_equal(rows[:, 0, 1:], [[0, 0, 0, 0], [3, 3, 0, 0]])
    assert precision_percent(rows) == (50, 0)
    score = score_errors("planes", rows[..., Column.CORNER_ERROR_PX].T, THRESHOLDS)
    assert (score.num_failures, score.auc) == (2, {"3": 0, "5": 0, "10": 0})


def test_the_id_is_of_the_protocol_and_the_truth() -> None:
    ids = {
        homography_scorer([plane(10)], GIM).id,
        homography_scorer([plane(11)], GIM).id,
        homography_scorer([replace(plane(10), size1=(320, 240))], GIM).id,
        homography_scorer([plane(10)], STRICT).id,
        homography_scorer([plane(10)], replace(GIM, threshold_px=2.0)).id,
    }
    assert len(ids) == 5
    assert homography_scorer([plane(10)], GIM).id in ids


def test_a_scorer_goes_to_other_processes() -> None:
    scorer = homography_scorer([plane(10)], GIM)
    points = exact(plane(10))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(scorer)).score(0, points), scorer.score(0, points))


def test_exact_matches_of_real_pairs_score_all_and_those_of_others_nothing(shared_data: Path) -> None:
    pairs = read_homography_pairs(shared_data / "data/homography/pairs_h.txt")
    protocol = homography_protocol_named("gim")
    scorer = homography_scorer(pairs, protocol)
    right = [scorer.score(place, exact(pair, 200))[0, 0] for place, pair in enumerate(pairs)]
    assert min(score_errors("planes", np.array([right]), THRESHOLDS).auc.values()) > 99.9
    others = [scorer.score(place, exact(pairs[place - 1], 200))[0, 0] for place in range(len(pairs))]
    assert score_errors("planes", np.array([others]), THRESHOLDS).auc == {"3": 0, "5": 0, "10": 0}


def test_scores_are_means_over_seeds_with_their_spread() -> None:
    errors = np.array([[0.5, 2.0, 7.0, np.inf], [1.5, 2.0, 7.0, np.inf]])
    score = score_errors("planes", errors, THRESHOLDS)
    by_seed = 100 * np.array([error_auc(row, THRESHOLDS) for row in errors])
    assert list(score.auc.values()) == pytest.approx(by_seed.mean(axis=0))
    assert list(score.spread.values()) == pytest.approx(np.abs(by_seed[0] - by_seed[1]))
    assert (score.num_pairs, score.num_failures) == (4, 1)
    for bound, interval in score.interval.items():
        assert interval.low < score.auc[bound] < interval.high


def test_groups_are_scored_apart() -> None:
    errors = np.array([[0.0, 1.0, 20.0]])
    groups = score_groups("planes", errors, ["v", "i", "v"], THRESHOLDS)
    assert list(groups) == ["i", "v"]
    assert groups["v"].num_pairs == 2
    assert groups["v"].auc == score_errors("other", errors[:, [0, 2]], THRESHOLDS).auc
    assert groups["i"].auc == score_errors("other", errors[:, [1]], THRESHOLDS).auc


def test_no_pairs_are_zeros() -> None:
    score = score_errors("planes", np.empty((3, 0)), THRESHOLDS)
    assert (score.num_pairs, score.num_failures, score.auc["3"], score.spread["3"]) == (0, 0, 0, 0)


def test_pose_errors_score_as_elsewhere() -> None:
    """The same errors give the same intervals here and in `gim.evaluation.scores`."""
    errors = np.random.default_rng(0).exponential(8, (2, 60))
    score = score_errors("megadepth1500", errors, (5.0, 10.0, 20.0))
    sets = sample_auc("megadepth1500", errors)
    for bound, interval in score.interval.items():
        assert (interval.low, interval.high) == pytest.approx(np.percentile(sets[bound], [2.5, 97.5]))
