"""The time line has every pair in exactly one bar, and stays small in long videos."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.adapters.store_file import FileStore
from gim.report.results import load_results
from gim.report.timeline import MAX_BARS, make_bars
from tests import report_data
from tests.unit.report.test_select import make_entry


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    store = FileStore(tmp_path_factory.mktemp("store"))
    video_id = report_data.rejected_video(store)
    return load_results(store, [video_id])[0].frames


def test_make_bars_when_one_pair_per_sample_then_one_bar_each(frames):
    pairs = [make_entry(6 * i, interval_seconds=0.4 + 0.2 * (i % 5)) for i in range(100)]
    bars = make_bars(frames, pairs, {pairs[3].name: 0})
    assert [bar.name for bar in bars] == [pair.name for pair in pairs]
    assert [bar.drawn for bar in bars[:5]] == [-1, -1, -1, 0, -1]


def test_make_bars_when_ten_thousand_pairs_then_few_bars_that_name_the_farthest(frames):
    pairs = [make_entry(6 * i, interval_seconds=0.2 * (1 + i * 7919 % 31)) for i in range(10_000)]
    bars = make_bars(frames, pairs, {pairs[5000].name: 4})
    assert len(bars) <= MAX_BARS + 1
    assert sum(bar.num_pairs for bar in bars) == len(pairs)
    assert max(bar.end_seconds - bar.start_seconds for bar in bars) == pytest.approx(0.2 * 31)
    assert [bar.drawn for bar in bars if bar.drawn >= 0] == [4]


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 3)), max_size=80, unique_by=lambda item: item[0]))
def test_make_bars_when_any_pairs_then_each_in_one_bar_of_its_shot(frames, starts):
    pairs = [make_entry(start) for start, _ in sorted(starts)]
    bars = make_bars(frames, pairs, {}, max_bars=20)
    assert sum(bar.num_pairs for bar in bars) == len(pairs)
    assert all(a.start_seconds < b.start_seconds for a, b in itertools.pairwise(bars))
