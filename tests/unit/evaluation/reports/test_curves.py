"""Curves are those of all pairs: against slow counts of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.evaluation.comparison import MethodResults
from gim.evaluation.reports.curves import BOUNDS_DEG, pooled_bins, recall
from gim.evaluation.reports.svg import element, ticks
from gim.evaluation.reports.worst import pair_errors, worst_pairs
from gim.evaluation.scores import score_results
from tests.zeb_files import result, results_of

errors = st.lists(st.one_of(st.floats(0, 180), st.just(float("inf"))), min_size=1, max_size=30)


@given(errors)
def test_recall_when_counted_one_by_one_then_is_the_same(found):
    curve = recall(MethodResults("m", "v", {"yard": [results_of(found)]}), "yard")
    assert curve == pytest.approx([100 * np.mean([error <= bound for error in found]) for bound in BOUNDS_DEG])


def test_recall_when_of_several_seeds_then_is_their_mean():
    results = MethodResults("m", "v", {"yard": [results_of([1.0, 1.0]), results_of([1.0, 30.0])]})
    assert recall(results, "yard")[-1] == 75


def test_pooled_bins_when_datasets_are_put_together_then_are_nearly_those_of_one_dataset():
    random = np.random.default_rng(0)
    parts = []
    for size in (400, 900):
        pairs = zip(random.gamma(1, 4, size), random.uniform(0, 1, size), strict=True)
        parts.append([result(f"s#{i}#x", float(error), overlap=float(share)) for i, (error, share) in enumerate(pairs)])
    pooled = pooled_bins([score_results("a", [part]) for part in parts])
    together = score_results("b", [parts[0] + parts[1]]).bins
    assert [(item.low, item.high, item.num_pairs) for item in pooled] == [
        (item.low, item.high, item.num_pairs) for item in together
    ]
    for mine, theirs in zip(pooled, together, strict=True):
        assert mine.auc == pytest.approx(theirs.auc, abs=1.5)  # each part's curve is cut level at its own last error


def test_worst_pairs_when_some_have_no_pose_then_those_come_first_by_overlap(three):
    found = worst_pairs(three, "dkm", "KITTI", 5)
    (runs,) = three.results["dkm"].runs["KITTI"]
    expected = sorted(runs, key=lambda item: (-item.pose_error_deg, -item.overlap0))[:5]
    assert [item.identifier for item in found] == [item.identifier for item in expected]
    assert [item.errors_deg["dkm"] is None for item in found] == [True, True, True, False, False]
    assert set(found[0].errors_deg) == {item.name for item in three.summaries if "KITTI" not in item.missing}


def test_pair_errors_when_of_three_seeds_then_are_their_median():
    runs = [results_of([1.0, 5.0]), results_of([2.0, float("inf")]), results_of([9.0, float("inf")])]
    assert pair_errors(runs).tolist() == [2.0, float("inf")]


@given(st.floats(-50, 50), st.floats(1e-3, 100), st.integers(2, 8))
def test_ticks_when_of_any_range_then_are_few_round_and_inside(low, extent, about):
    found = ticks(low, low + extent, about)
    assert len(found) <= about + 1
    assert all(low - 1e-6 <= value <= low + extent + 1e-6 for value in found)
    steps = np.diff(found)
    assert np.ptp(steps) < 1e-6 if len(steps) else True
    assert all(f"{step:.0e}"[0] in "125" for step in steps)


def test_element_when_given_texts_then_escapes_them():
    written = element("text", "<b>&", class_="x", aria_label='"><script>', x=1.23456)
    assert written == '<text class="x" aria-label="&#34;&gt;&lt;script&gt;" x="1.25">&lt;b&gt;&amp;</text>'
