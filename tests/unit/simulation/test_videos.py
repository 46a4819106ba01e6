"""Segments, frames and pairs of simulated videos are those that the pipeline would make."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.labels.pairing import base_pairs
from gim.records import FrameManifest, Shot
from gim.simulation.plan import VideosPlan
from gim.simulation.videos import Videos, draw_seconds, num_samples, num_segments, split
from gim.video.decoding import cut_segments


def real_rows(plan, samples, shot_samples):
    """(samples, frames needed, pairs) of each segment, by the code of the stages."""
    starts = range(0, samples, shot_samples)
    shots = [
        Shot(index, 0, 0, 0.0, 0.0, first, min(shot_samples, samples - first)) for index, first in enumerate(starts)
    ]
    segments = cut_segments(shots, plan.segment_samples)
    frames = list(range(samples))
    manifest = FrameManifest("v", "s", 64, 48, 30.0, samples, 1.0, 0.2, frames, [0.0] * samples, shots, segments)
    for segment in segments:
        pairs = base_pairs(manifest, segment, plan.base_intervals)
        own = range(segment.first_sample, segment.first_sample + segment.num_samples)
        needed = set(own) | {sample for pair in pairs for sample in pair}
        yield segment.num_samples, len(needed), len(pairs)


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=4),
    st.integers(0, 90),
    st.integers(1, 40),
    st.sampled_from([(1, 2, 4), (1,), (3,)]),
)
def test_segments_are_cut_as_the_stages_cut_them(samples, shot, segment_samples, base_intervals) -> None:
    plan = VideosPlan(
        interval_seconds=0.5, shot_seconds=shot * 0.5, segment_samples=segment_samples, base_intervals=base_intervals
    )
    found = split(plan, np.array(samples))
    assert num_segments(plan, np.array(samples)).tolist() == np.bincount(found.video).tolist()
    for video, number in enumerate(samples):
        mine = found.video == video
        assert found.number[mine].tolist() == list(range(int(mine.sum())))
        expected = list(real_rows(plan, number, shot or number))
        assert found.samples[mine].tolist() == [own for own, _, _ in expected]
        assert found.pairs[mine].tolist() == [pairs for _, _, pairs in expected]
        for ours, (own, frames, _) in zip(found.frames[mine].tolist(), expected, strict=True):
            # Of a segment shorter than an interval a frame behind it may be left out, which is not counted.
            assert ours == frames or (own < max(base_intervals) and ours > frames)


def test_lengths_follow_the_distribution_that_is_asked_for() -> None:
    rng = np.random.default_rng(3)
    drawn = draw_seconds(VideosPlan(median_seconds=300.0, spread=0.5, max_seconds=1e9), rng, 100_000)
    assert np.median(drawn) == pytest.approx(300.0, rel=0.01)
    assert np.log(drawn).std() == pytest.approx(0.5, rel=0.01)
    assert set(draw_seconds(VideosPlan(lengths_seconds=(5.0, 9.0)), rng, 100)) == {5.0, 9.0}
    assert draw_seconds(VideosPlan(spread=0.0, median_seconds=60.0), rng, 3).tolist() == pytest.approx([60.0] * 3)
    assert draw_seconds(VideosPlan(max_seconds=100.0), rng, 1000).max() == 100.0


def test_samples_are_those_of_the_interval_that_are_used() -> None:
    plan = VideosPlan(interval_seconds=0.2, used_share=0.5)
    assert num_samples(plan, np.array([60.0, 0.1, 14.9])).tolist() == [150, 1, 38]


def test_videos_keep_what_they_had_when_more_come() -> None:
    plan, rng, videos = VideosPlan(), np.random.default_rng(5), Videos()
    rows = [videos.add(plan, np.full(700, float(number + 1)), rng) for number in range(5)]
    assert np.concatenate(rows).tolist() == list(range(3500))
    assert videos.seconds[:3500].tolist() == [float(number // 700 + 1) for number in range(3500)]
    assert (videos.segments[:3500] > 0).all()
