"""Resampled scores: the closed form against plain repetition, and intervals against samples whose truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.evaluation.auc import error_auc
from gim.evaluation.bootstrap import NUM_SETS, Interval, auc_of_sets, interval_of, mean_of_sets, resample

# Few values, so that many errors are the same, and some lie on a threshold.
ERROR = st.sampled_from([0.0, 0.5, 1.0, 2.5, 4.999, 5.0, 7.0, np.inf, np.nan]) | st.floats(0, 30)


@st.composite
def errors_and_counts(draw: st.DrawFn) -> tuple[list[float], np.ndarray]:
    errors = draw(st.lists(ERROR, min_size=1, max_size=12))
    drawn = [
        draw(st.lists(st.integers(0, len(errors) - 1), min_size=len(errors), max_size=len(errors))) for _ in range(3)
    ]
    return errors, np.stack([np.bincount(row, minlength=len(errors)) for row in drawn]).astype(np.float32)


@given(errors_and_counts(), st.sampled_from([1.0, 5.0, 20.0]))
def test_the_auc_of_a_set_is_that_of_its_repeated_errors(
    drawn: tuple[list[float], np.ndarray], threshold: float
) -> None:
    errors, counts = drawn
    expected = [error_auc(np.repeat(errors, row.astype(int)), [threshold])[0] for row in counts]
    assert auc_of_sets(errors, counts, threshold) == pytest.approx(expected, abs=1e-12)


def test_sets_without_the_largest_errors_are_scored_right_too() -> None:
    random = np.random.default_rng(0)
    errors = random.uniform(0, 5, 500)
    counts = np.zeros((3, 500), np.float32)
    counts[0, np.argmin(errors)] = 500
    counts[1, np.argsort(errors)[:100]] = 5
    counts[2, np.argsort(errors)[-100:]] = 5
    expected = [error_auc(np.repeat(errors, row.astype(int)), [5.0])[0] for row in counts]
    assert auc_of_sets(errors, counts, 5.0) == pytest.approx(expected, abs=1e-12)


def test_only_failures_score_zero_and_only_exact_poses_one() -> None:
    counts = resample("any", 7, 20)
    assert auc_of_sets([np.inf, np.nan, 5.0, 90, 180, np.inf, np.inf], counts, 5.0).tolist() == [0.0] * 20
    assert auc_of_sets([0.0] * 7, counts, 5.0) == pytest.approx(1.0)
    assert auc_of_sets([], np.zeros((20, 0), np.float32), 5.0).tolist() == [0.0] * 20


def test_a_set_has_as_many_pairs_and_is_always_the_same() -> None:
    counts = resample("KITTI", 50)
    assert counts.shape == (NUM_SETS, 50)
    assert (counts.sum(axis=1) == 50).all()
    assert np.array_equal(counts, resample("KITTI", 50))
    assert not np.array_equal(counts, resample("GL3D", 50))
    # A pair is in a set once on average, and as often as Binomial(50, 1 / 50) says.
    assert counts.mean(axis=0) == pytest.approx(np.ones(50), abs=0.15)
    assert counts.var() == pytest.approx(1 - 1 / 50, rel=0.03)


def test_an_interval_holds_the_middle_95_percent() -> None:
    found = interval_of(np.random.default_rng(0).permutation(1001) / 10)
    assert (found.low, found.high) == (2.5, 97.5)


@pytest.mark.parametrize(
    ("low", "high", "excludes"), [(0.1, 2, True), (-2, -0.1, True), (-1, 1, False), (0.0, 1, False), (0.0, 0.0, False)]
)
def test_a_difference_is_one_when_zero_is_outside(low: float, high: float, excludes: bool) -> None:
    assert Interval(low, high).excludes_zero is excludes


def test_the_mean_is_taken_set_by_set() -> None:
    assert mean_of_sets([np.array([1.0, 2, 3]), np.array([3.0, 2, 5])]).tolist() == [2.0, 2.0, 4.0]


def test_about_95_of_100_intervals_cover_the_true_score() -> None:
    random = np.random.default_rng(1)
    population = np.where(random.random(100_000) < 0.3, np.inf, random.gamma(2.0, 1.5, 100_000))
    truth = error_auc(population, [5.0])[0]
    counts = resample("any", 120, 400)
    found = [interval_of(auc_of_sets(random.choice(population, 120), counts, 5.0)) for _ in range(300)]
    covered = sum(interval.low <= truth <= interval.high for interval in found)
    assert 0.91 <= covered / 300 <= 0.985  # within three standard deviations, and short of a certain one
    assert np.mean([interval.high - interval.low for interval in found]) < 0.16


def test_an_interval_is_half_as_wide_with_four_times_the_pairs() -> None:
    random = np.random.default_rng(2)
    widths = []
    for num_pairs in (200, 800):
        found = interval_of(auc_of_sets(random.uniform(0, 10, num_pairs), resample("any", num_pairs), 5.0))
        widths.append(found.high - found.low)
    assert widths[0] / widths[1] == pytest.approx(2, rel=0.15)
