"""Every recipe's propagation against a slow, obvious reference on random tracks."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gim.errors import ConfigError
from gim.labels.chains import Joiner
from gim.labels.config import GuidedConfig, PropagationConfig, RefineConfig
from gim.labels.propagation import propagate_shot
from tests.unit.labels.reference import SlowDoubling, SlowGreedy, rows_of

_INTERVALS = (1, 2, 4)
_LINKS_ONLY = {"refit": None, "guided": GuidedConfig(enabled=False), "refine": RefineConfig(enabled=False)}


class Tracks:
    """Random points over random frames; labels are their positions, jittered, with drop-outs and false matches."""

    def __init__(self, seed: int, num_samples: int, num_points: int, keep: float) -> None:
        rng = np.random.default_rng(seed)
        start = rng.integers(0, 60, (num_points, 2))
        speed = rng.integers(-3, 4, (num_points, 2))
        self.num_samples = num_samples
        self._labels: dict[tuple[int, int], np.ndarray] = {}
        for first in range(num_samples):
            for interval in _INTERVALS:
                if first + interval >= num_samples or rng.random() > 0.95:
                    continue
                rows = np.hstack([start + first * speed, start + (first + interval) * speed]).astype(np.float32)
                rows += rng.uniform(-0.45, 0.45, rows.shape)  # no two distances are equal
                wrong = rng.random(num_points) < 0.1
                rows[wrong, 2:] = rng.uniform(0, 60, (wrong.sum(), 2))
                self._labels[first, interval] = rows[rng.random(num_points) < keep].astype(np.float32)

    def base(self, start: int, interval: int) -> np.ndarray | None:
        return self._labels.get((start, interval))

    def guide(self, start: int, end: int) -> None:
        return None

    def slow_base(self, start: int, interval: int) -> list | None:
        points = self.base(start, interval)
        return None if points is None or not len(points) else rows_of(points)


def reaches(tracks: Tracks, config: PropagationConfig, threads: int = 1) -> list:
    joiner = Joiner(tracks, config, lambda step: nullcontext())
    with ThreadPoolExecutor(threads) as executor:
        blocks = propagate_shot(
            0,
            tracks.num_samples,
            joiner,
            _INTERVALS,
            run_all=lambda function, items: list(executor.map(function, items)),
        )
        return [reach for block in blocks for reach in block]


def assert_equal(found: Sequence, expected: Sequence) -> None:
    for reach, (end, rows) in zip(found, expected, strict=True):
        assert reach.end == end
        assert (reach.chain is None) == (rows is None)
        if rows is not None:
            assert sorted(rows_of(reach.chain.points)) == sorted(rows)


@given(
    seed=st.integers(0, 2**32),
    num_samples=st.integers(2, 40),
    num_points=st.integers(1, 25),
    keep=st.sampled_from([0.4, 0.8, 1.0]),
    link=st.sampled_from(["mutual", "distance", "rounded"]),
    min_links=st.integers(1, 6),
    merged=st.sampled_from([(2, 4), (2,), ()]),
)
@settings(max_examples=60, deadline=None)
def test_doubling_equals_the_reference(seed, num_samples, num_points, keep, link, min_links, merged):
    tracks = Tracks(seed, num_samples, num_points, keep)
    config = PropagationConfig(link=link, min_links=min_links, merge_base_intervals=merged, **_LINKS_ONLY)
    slow = SlowDoubling(
        tracks.slow_base, num_samples - 1, link=link, min_links=min_links, unit=_INTERVALS[0], merged=merged
    )
    assert_equal(reaches(tracks, config), [slow.farthest(start) for start in range(num_samples - 1)])


@given(
    seed=st.integers(0, 2**32),
    num_samples=st.integers(2, 24),
    num_points=st.integers(30, 60),
    keep=st.sampled_from([0.7, 0.9, 1.0]),
    min_links=st.integers(4, 25),
)
@settings(max_examples=40, deadline=None)
def test_greedy_equals_the_reference(seed, num_samples, num_points, keep, min_links):
    tracks = Tracks(seed, num_samples, num_points, keep)
    config = PropagationConfig(link="rounded", extend="greedy", min_links=min_links, **_LINKS_ONLY)
    slow = SlowGreedy(tracks.slow_base, num_samples - 1, min_links=min_links, intervals=_INTERVALS)
    assert_equal(reaches(tracks, config), [slow.farthest(start) for start in range(num_samples - 1)])


@pytest.mark.parametrize("extend", ["double", "greedy"])
def test_threads_change_nothing(extend):
    tracks = Tracks(7, 80, 60, 0.9)
    config = PropagationConfig(extend=extend, min_links=5, **_LINKS_ONLY)
    one, four = reaches(tracks, config, 1), reaches(tracks, config, 4)
    assert [(reach.start, reach.end, reach.ended) for reach in one] == [(r.start, r.end, r.ended) for r in four]
    for first, second in zip(one, four, strict=True):
        if first.chain is not None:
            np.testing.assert_array_equal(first.chain.points, second.chain.points)


def test_a_missing_segment_is_never_linked_across():
    tracks = Tracks(3, 33, 40, 1.0)
    for start in (12, 13, 14, 15):  # no label crosses sample 15 -> 16
        for interval in _INTERVALS:
            if start < 16 <= start + interval:
                tracks._labels.pop((start, interval), None)
    for link, extend in (("mutual", "double"), ("distance", "double"), ("rounded", "greedy")):
        config = PropagationConfig(link=link, extend=extend, min_links=3, **_LINKS_ONLY)
        assert all(reach.end <= 15 or reach.start >= 16 for reach in reaches(tracks, config))


def test_nothing_beyond_the_shot_is_asked_for():
    class Watched(Tracks):
        def base(self, start: int, interval: int) -> np.ndarray | None:
            assert start >= 10
            assert start + interval <= 29
            return super().base(start, interval)

    tracks = Watched(5, 60, 40, 1.0)
    for extend in ("double", "greedy"):
        config = PropagationConfig(extend=extend, min_links=3, **_LINKS_ONLY)
        blocks = list(propagate_shot(10, 20, Joiner(tracks, config, lambda step: nullcontext()), _INTERVALS))
        assert [reach.start for block in blocks for reach in block] == list(range(10, 29))


@pytest.mark.parametrize("intervals", [(), (0, 1), (2, 1), (1, 1), (1, 3)])
def test_intervals_that_cannot_be_chained_are_refused(intervals):
    joiner = Joiner(Tracks(1, 4, 4, 1.0), PropagationConfig(), lambda step: nullcontext())
    with pytest.raises(ConfigError, match="base_intervals"):
        list(propagate_shot(0, 4, joiner, intervals))
