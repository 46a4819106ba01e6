"""Bytes that version 1 of the wire has published are read forever. Never change a line here; add."""

import pytest

from gim.wire import topics
from gim.wire.v1.events_pb2 import LabelsReady, PairsReady, SegmentReady, VideoRequested

_FILE, _YOUTUBE, _SAMPLING = "file-0123456789abcdef", "yt-dQw4w9WgXcQ", "seconds-1a2b3c4d"
_MATCHER, _RECIPE = "rootsift-5e6f7a8b", "standard-9c0d1e2f"

GOLDEN = [
    (topics.INGEST, VideoRequested(source="dQw4w9WgXcQ"), "0a0b6451773477395767586351"),
    (
        topics.SEGMENTS,
        SegmentReady(video_id=_YOUTUBE, sampling_id=_SAMPLING, segment=7),
        "0a0e79742d645177347739576758635112107365636f6e64732d31613262336334641807",
    ),
    (
        topics.LABELS,
        LabelsReady(
            video_id=_FILE,
            sampling_id=_SAMPLING,
            segment=0,
            matcher_id=_MATCHER,
            num_pairs=93,
            num_correspondences=123456,
        ),
        "0a1566696c652d3031323334353637383961626364656612107365636f6e64732d316132623363346418002211726f6f74736966742d"
        "3565366637613862285d30c0c407",
    ),
    (
        topics.LABELS,
        LabelsReady(video_id=_FILE, sampling_id=_SAMPLING, matcher_id=_MATCHER),
        "0a1566696c652d3031323334353637383961626364656612107365636f6e64732d31613262336334642211726f6f74736966742d3565"
        "366637613862",
    ),
    (
        topics.PAIRS,
        PairsReady(video_id=_FILE, recipe_id=_RECIPE, num_pairs=64, num_shards=2),
        "0a1566696c652d3031323334353637383961626364656612117374616e646172642d396330643165326618402002",
    ),
    (
        topics.PAIRS,
        PairsReady(video_id=_FILE, recipe_id=_RECIPE, rejected="static_camera"),
        "0a1566696c652d3031323334353637383961626364656612117374616e646172642d39633064316532662a0d7374617469635f63616d"
        "657261",
    ),
]


@pytest.mark.parametrize(("topic", "event", "stored"), GOLDEN)
def test_stored_bytes_are_read_as_what_they_meant(topic, event, stored):
    assert topics.parse_event(topic, bytes.fromhex(stored)) == event


@pytest.mark.parametrize(("topic", "event", "stored"), GOLDEN)
def test_what_is_published_today_is_what_was_stored(topic, event, stored):
    assert event.SerializeToString(deterministic=True).hex() == stored
    assert topics.topic_of(event) == topic


def test_a_video_without_segments_is_told_from_one_whose_segment_is_the_first():
    _, first, _ = GOLDEN[2]
    _, without, _ = GOLDEN[3]
    assert first.HasField("segment")
    assert not without.HasField("segment")
