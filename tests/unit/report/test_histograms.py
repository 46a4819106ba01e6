"""Bars hold what lies between their edges, and the long tail does not flatten the rest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.report.histograms import QUANTITIES, make_histogram, make_histograms
from tests.unit.report.test_select import make_entry

PARALLAX, COVERAGE = QUANTITIES[2], QUANTITIES[5]


@given(st.lists(st.floats(0, 1e4, allow_subnormal=False), min_size=1, max_size=200))
def test_make_histogram_when_any_values_then_each_is_counted_once_where_it_lies(values):
    histogram = make_histogram(PARALLAX, values)
    edges, top = histogram.edges, len(histogram.counts) - 1
    slow = [0] * (top + 1)
    for value in values:
        slow[max((i for i in range(top + 1) if value >= edges[i] - 1e-9), default=0)] += 1
    assert histogram.counts == slow
    assert np.all(np.diff(edges) > 0)
    assert edges[0] <= min(values) + 1e-9
    assert histogram.is_open or max(values) <= edges[-1] + 1e-9
    assert len(histogram.counts) <= 17


def test_make_histogram_when_few_lie_far_out_then_the_last_bar_is_open():
    histogram = make_histogram(PARALLAX, [i / 100 for i in range(1000)] + [500.0])
    assert histogram.is_open
    assert histogram.edges[-1] <= 12
    assert sum(histogram.counts) == 1001


def test_make_histogram_when_all_are_equal_then_one_bar():
    assert make_histogram(PARALLAX, [3.0] * 7).counts == [7]


def test_make_histograms_when_intervals_are_multiples_of_the_step_then_each_is_in_the_middle_of_a_bar():
    pairs = [make_entry(6 * i, interval_seconds=round(0.2 * (2 + i % 3), 6)) for i in range(30)]
    intervals = make_histograms(pairs, step_seconds=0.2)[0]
    assert intervals.counts == [10, 10, 10]
    assert np.allclose(intervals.edges, [0.3, 0.5, 0.7, 0.9])


@pytest.mark.parametrize("values", [[1.0, 1.0], [0.9, 0.93, 1.0], [0.1, 1.0]])
def test_make_histogram_when_shares_reach_one_then_the_axis_ends_there(values):
    histogram = make_histogram(COVERAGE, values)
    assert histogram.edges[-1] == 1.0
    assert sum(histogram.counts) == len(values)
    assert histogram.counts[-1] >= 1


def test_make_histograms_when_no_pairs_then_none():
    assert make_histograms([], step_seconds=0.2) == []
