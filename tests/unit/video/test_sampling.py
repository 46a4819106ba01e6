"""Samples: every n-th frame at constant rate, the frame nearest to the grid at variable rate, holes reported."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.errors import ConfigError
from gim.video.config import SamplingConfig
from gim.video.sampling import FrameRate, FrameSampler, measure_rate, step_frames

_UPSTREAM = SamplingConfig(interval_seconds=None, interval_frames=10, interval_frames_high_fps=20)


def take(times: list[float], config: SamplingConfig, rate: FrameRate | None = None) -> tuple[list[int], list[int]]:
    """Indices of samples, and indices of frames before which a hole was seen."""
    measured = rate or measure_rate(np.asarray(times))
    assert measured is not None
    sampler = FrameSampler(measured, config)
    samples: list[int] = []
    holes: list[int] = []
    for index, time_seconds in enumerate(times):
        choice = sampler.see(time_seconds)
        samples += [index - 1] * choice.takes_previous + [index] * choice.takes_this
        holes += [index] * choice.is_after_hole
    return samples, holes


@pytest.mark.parametrize(
    ("fps", "expected"), [(30.0, 6), (29.97, 6), (25.0, 5), (12.5, 3), (10.0, 2), (3.0, 1), (60.0, 12), (120.0, 24)]
)
def test_step_frames_of_a_fifth_of_a_second_is_the_nearest_whole_number(fps: float, expected: int) -> None:
    assert step_frames(SamplingConfig(interval_seconds=0.2), fps) == expected


@pytest.mark.parametrize(
    ("fps", "expected"), [(25.0, 10), (29.97, 10), (30.0, 10), (30.0003, 10), (31.0, 20), (60.0, 20)]
)
def test_step_frames_upstream_doubles_above_30_fps(fps: float, expected: int) -> None:
    assert step_frames(_UPSTREAM, fps) == expected


@pytest.mark.parametrize(
    "config",
    [
        SamplingConfig(interval_seconds=0.2, interval_frames=10),
        SamplingConfig(interval_seconds=None),
        SamplingConfig(interval_seconds=0.0),
        SamplingConfig(interval_seconds=None, interval_frames=0),
    ],
)
def test_step_frames_of_a_contradictory_setting_is_refused(config: SamplingConfig) -> None:
    with pytest.raises(ConfigError, match="sampling"):
        step_frames(config, 30.0)


@given(st.sampled_from([10.0, 23.976, 25.0, 29.97, 50.0, 59.94]), st.floats(0.05, 1.0), st.integers(0, 2**32 - 1))
def test_sampler_at_constant_rate_takes_every_nth_frame_whatever_the_rounding(
    fps: float, interval: float, seed: int
) -> None:
    config = SamplingConfig(interval_seconds=interval)
    jitter = np.random.default_rng(seed).uniform(-0.1, 0.1, 400) / fps
    times = np.arange(400) / fps + jitter
    rate = measure_rate(times)
    assert rate is not None
    assert not rate.is_variable
    samples, holes = take((times - times[0]).tolist(), config, rate)
    assert samples == list(range(0, 400, step_frames(config, rate.fps)))
    assert holes == []


def test_sampler_of_millisecond_time_stamps_does_not_drift_in_ten_hours() -> None:
    times = np.round(np.arange(1_000_000) * 1001 / 30) / 1000
    samples, holes = take(times.tolist(), SamplingConfig())
    assert samples == list(range(0, 1_000_000, 6))
    assert holes == []


@given(
    st.lists(st.floats(0.01, 0.18), min_size=30, max_size=200),
    st.sampled_from([0.2, 0.3, 0.5]),
)
def test_sampler_at_variable_rate_equals_the_nearest_frame_to_every_place(gaps: list[float], interval: float) -> None:
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    rate = FrameRate(1 / float(np.mean(gaps)), float(np.median(gaps)), is_variable=True)
    samples, holes = take(times.tolist(), SamplingConfig(interval_seconds=interval), rate)
    places = np.arange(0, times[-1] + 1e-12, interval)
    nearest = sorted({int(np.abs(times - place).argmin()) for place in places if place <= times[-1]})
    assert samples == nearest
    assert holes == []  # no gap is longer than the step


@given(st.lists(st.floats(0.01, 3.0), min_size=5, max_size=60), st.sampled_from([0.2, 0.7]))
def test_sampler_reports_a_hole_exactly_where_a_place_has_no_frame_within_half_a_step(
    gaps: list[float], interval: float
) -> None:
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    rate = FrameRate(1 / float(np.mean(gaps)), 0.01, is_variable=True)
    samples, holes = take(times.tolist(), SamplingConfig(interval_seconds=interval), rate)
    places = interval * np.arange(int(times[-1] / interval) + 1)
    empty = [place for place in places if np.abs(times - place).min() > interval / 2 + 1e-9]
    assert {int(np.searchsorted(times, place)) for place in empty} <= set(holes)
    for index in holes:
        assert times[index] - times[index - 1] > interval - 1e-9
    assert len(set(samples)) == len(samples)
    for first, second in pairwise(samples):
        is_crossed = any(first < hole <= second for hole in holes)
        assert is_crossed or times[second] - times[first] <= 2 * interval + 1e-9


def test_sampler_where_the_interval_is_below_a_frame_takes_jittering_frames_without_holes() -> None:
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(0.8, 1.2, 100) / 3)
    samples, holes = take(times.tolist(), SamplingConfig(interval_seconds=0.2))
    assert holes == []
    assert len(samples) > 80


def test_measure_rate_of_lost_frames_is_constant_and_of_real_variation_variable() -> None:
    regular = np.arange(300) / 30
    lost = np.delete(regular, [40, 41, 200])
    thinned = measure_rate(lost)
    assert thinned is not None
    assert thinned.fps == pytest.approx(30)
    assert not thinned.is_variable
    phone = np.cumsum(np.random.default_rng(0).choice([1 / 30, 1 / 24, 1 / 15], 300))
    varying = measure_rate(phone)
    assert varying is not None
    assert varying.is_variable
    assert varying.fps == pytest.approx(299 / (phone[-1] - phone[0]))


def test_measure_rate_of_times_that_stand_still_is_none() -> None:
    assert measure_rate(np.zeros(10)) is None
    assert measure_rate(np.zeros(1)) is None
