"""Scores of a method on a dataset: bins, seeds and failures, against sums that are written out."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gim.evaluation.auc import error_auc
from gim.evaluation.bootstrap import Interval, resample
from gim.evaluation.results_file import PairResult
from gim.evaluation.scores import auc_percent, errors_deg, sample_auc, score_results
from tests.zeb_files import result, results_of

ERRORS = [0.2, 4.0, 1.5, math.inf, 8.0, 30.0, math.inf]


def test_scores_are_percent_by_threshold() -> None:
    assert auc_percent([2.5]) == pytest.approx({"5": 75.0, "10": 87.5, "20": 93.75})
    assert auc_percent([]) == {"5": 0.0, "10": 0.0, "20": 0.0}


def test_a_method_is_scored_by_the_larger_angle_of_each_pair() -> None:
    score = score_results("KITTI", [results_of(ERRORS)])
    assert (score.num_pairs, score.num_failures) == (7, 2)
    assert score.auc == pytest.approx(
        {
            "5": 100 * error_auc(ERRORS, [5])[0],
            "10": 100 * error_auc(ERRORS, [10])[0],
            "20": 100 * error_auc(ERRORS, [20])[0],
        }
    )
    assert score.spread == {"5": 0.0, "10": 0.0, "20": 0.0}
    for bound, interval in score.interval.items():
        assert interval.low < score.auc[bound] < interval.high


def test_only_failures_score_zero() -> None:
    infinite, no_number = results_of([1.0, 1.0])
    pairs = [replace(infinite, rotation_error_deg=math.inf), replace(no_number, translation_error_deg=math.nan)]
    score = score_results("KITTI", [pairs])
    assert (score.num_pairs, score.num_failures) == (2, 2)
    assert score.auc == {"5": 0.0, "10": 0.0, "20": 0.0}
    assert score.interval == dict.fromkeys(score.auc, Interval(0.0, 0.0))
    assert [found.auc for found in score.bins] == [score.auc]


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_no_pairs_score_zero(num_seeds: int) -> None:
    score = score_results("KITTI", [[]] * num_seeds)
    assert (score.num_pairs, score.num_failures, score.bins) == (0, 0, [])
    assert score.auc == score.spread == {"5": 0.0, "10": 0.0, "20": 0.0}
    assert score.interval == dict.fromkeys(score.auc, Interval(0.0, 0.0))
    assert (score.precision_before, score.precision_after) == (0.0, 0.0)


def test_seeds_are_averaged_and_their_spread_is_told() -> None:
    seeds = [[1.0, 2.0, 9.0], [1.0, 4.0, math.inf], [math.inf, 3.0, math.inf]]
    score = score_results("KITTI", [results_of(errors) for errors in seeds])
    of_seeds = [100 * error_auc(errors, [5])[0] for errors in seeds]
    assert score.auc["5"] == pytest.approx(sum(of_seeds) / 3)
    assert score.spread["5"] == pytest.approx(max(of_seeds) - min(of_seeds))
    assert (score.num_pairs, score.num_failures) == (3, 2)
    counts = resample("KITTI", 3)
    errors = errors_deg([results_of(row) for row in seeds])
    single = [sample_auc("KITTI", row[None], counts)["5"] for row in errors]
    assert sample_auc("KITTI", errors)["5"] == pytest.approx(np.mean(single, axis=0))


def test_precision_is_the_mean_over_pairs_and_no_number_counts_zero() -> None:
    pairs = [result("s#a#b", precision=(1.0, math.nan)), result("s#c#d", precision=(0.5, 1.0))]
    score = score_results("KITTI", [pairs])
    assert (score.precision_before, score.precision_after) == (75.0, 50.0)


def test_pairs_fall_into_bins_by_their_overlap() -> None:
    overlaps = [0.0, 0.05, 0.1, 0.3, 0.1 + 0.2, 0.29999, 0.7, 0.6999, 0.999, 1.0, math.nan]
    pairs = [result(f"s#{index}#x", index / 2, overlap=overlap) for index, overlap in enumerate(overlaps)]
    found = {(item.low, item.high): item for item in score_results("KITTI", [pairs]).bins}
    members = {
        (0.0, 0.1): [0, 1],
        (0.1, 0.2): [2],
        (0.2, 0.3): [5],
        (0.3, 0.4): [3, 4],
        (0.6, 0.7): [7],
        (0.7, 0.8): [6],
    }
    members[(0.9, 1.0)] = [8, 9]
    assert list(found) == list(members)
    for place, indices in members.items():
        assert found[place].num_pairs == len(indices)
        assert found[place].auc == auc_percent([index / 2 for index in indices])


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 30) | st.just(math.inf)), max_size=30))
def test_bins_have_all_pairs_between_them(pairs: list[tuple[float, float]]) -> None:
    runs: list[list[PairResult]] = [
        [result(f"s#{index}#x", error, overlap=overlap) for index, (overlap, error) in enumerate(pairs)]
    ]
    score = score_results("KITTI", runs)
    assert sum(found.num_pairs for found in score.bins) == len(pairs)
    edges = [(found.low, found.high) for found in score.bins]
    assert edges == sorted(set(edges))
    for found in score.bins:
        end = 2 if found.high == 1 else found.high  # the last bin has its upper end
        inside = [error for overlap, error in pairs if found.low - 1e-9 <= overlap < end - 1e-9]
        assert found.num_pairs == len(inside)
        assert found.auc == pytest.approx(auc_percent(inside))
