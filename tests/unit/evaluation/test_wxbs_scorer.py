"""Recall of marked correspondences: exact matches find all, nonsense little, and a failure nothing."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.benchmarks.wxbs import MarkedPair
from gim.errors import ConfigError
from gim.evaluation.wxbs_scorer import (
    PROTOCOLS,
    THRESHOLDS_PX,
    FundamentalProtocol,
    fundamental_protocol_named,
    marked_recall,
    recall_scorer,
    score_recalls,
)
from gim.geometry.epipolar import fundamental_from_pose
from gim.records import Float64Array
from gim.synthetic.camera import intrinsics

K = intrinsics(640, 480, 65.0)
T_0to1 = np.array([[0.98, 0, 0.199, 1.0], [0, 1, 0, 0.1], [-0.199, 0, 0.98, 0.2], [0, 0, 0, 1.0]])
each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.id)


def exact(num: int, seed: int = 0) -> Float64Array:
    """Correspondences of points in space."""
    rng = np.random.default_rng(seed)
    pixels = np.column_stack([rng.uniform((100, 50), (540, 430), (num, 2)), np.ones(num)])
    space = rng.uniform(4, 12, (num, 1)) * (pixels @ np.linalg.inv(K).T)
    moved = (space @ T_0to1[:3, :3].T + T_0to1[:3, 3]) @ K.T
    return np.hstack([pixels[:, :2], moved[:, :2] / moved[:, 2:]])


PAIR = MarkedPair("WGBS/room", "WGBS", "0", "1", exact(30, seed=1))


@each_protocol
def test_exact_matches_find_what_was_marked(protocol: FundamentalProtocol) -> None:
    rows = recall_scorer([PAIR], protocol).score(0, exact(100).astype(np.float32))
    assert rows.shape == (max(len(protocol.seeds), 1), 2 + len(THRESHOLDS_PX))
    np.testing.assert_array_equal(rows[:, :2], [[1, 100]] * len(rows))
    np.testing.assert_array_equal(rows[:, 3:], 1)


@each_protocol
def test_noise_costs_recall_and_nonsense_has_little(protocol: FundamentalProtocol) -> None:
    points = exact(100)
    noise = np.random.default_rng(0).normal(0, 1, points.shape)
    scorer = recall_scorer([PAIR], protocol)
    maa = [
        score_recalls("wxbs", scorer.score(0, np.float32(rows))[None]).maa["10"]
        for rows in (points, points + 2 * noise, points + 200 * noise)
    ]
    assert maa[0] == 100
    assert 99.5 > maa[1] > maa[2]
    assert maa[2] < 30


@each_protocol
def test_too_few_matches_find_nothing(protocol: FundamentalProtocol) -> None:
    scorer = recall_scorer([PAIR], protocol)
    rows = np.stack([scorer.score(0, np.float32(points)) for points in (exact(7), np.empty((0, 4)))])
    np.testing.assert_array_equal(rows[:, 0, :2], [[0, 7], [0, 0]])
    assert not rows[..., 2:].any()
    score = score_recalls("wxbs", rows)
    assert (score.num_pairs, score.num_failures, score.maa) == (2, 2, {"10": 0, "20": 0})


@given(st.integers(0, 2**32 - 1))
def test_recall_is_by_the_root_of_both_squared_distances(seed: int) -> None:
    rng = np.random.default_rng(seed)
    F01 = fundamental_from_pose(K, K, T_0to1)
    marked = exact(8, seed) + rng.normal(0, 6, (8, 4))
    errors = []
    for x0, y0, x1, y1 in marked:
        p0, p1 = np.array([x0, y0, 1]), np.array([x1, y1, 1])
        line1, line0 = F01 @ p0, F01.T @ p1
        errors.append(np.hypot(p1 @ line1 / np.hypot(*line1[:2]), p0 @ line0 / np.hypot(*line0[:2])))
    expected = [np.mean([error <= bound for error in errors]) for bound in THRESHOLDS_PX]
    np.testing.assert_array_equal(marked_recall(marked, F01), expected)


def test_scores_are_means_over_pairs_and_seeds() -> None:
    curve = np.clip(np.array(THRESHOLDS_PX) / 10, 0, 1)
    rows = np.array([[[1, 50, *curve], [1, 50, *np.zeros(21)]], [[1, 60, *curve], [0, 60, *np.zeros(21)]]])
    score = score_recalls("wxbs", rows)
    assert score.recall["5"] == pytest.approx(25)
    assert score.maa["10"] == pytest.approx(100 * np.mean(np.arange(1, 11) / 10) / 2)
    assert score.spread["10"] == pytest.approx(55)
    assert score.num_failures == 1
    assert score.interval["10"].low == pytest.approx(score.maa["10"])  # both pairs are alike


def test_the_id_is_of_the_protocol_and_the_marks() -> None:
    other = replace(PAIR, points=exact(30, seed=2))
    ids = {recall_scorer([pair], protocol).id for pair in (PAIR, other) for protocol in PROTOCOLS}
    assert len(ids) == 4


def test_a_misspelt_protocol_is_told() -> None:
    with pytest.raises(ConfigError, match="no protocol of WxBS 'gim': wxbs, strict"):
        fundamental_protocol_named("gim")
