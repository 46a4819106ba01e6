import pytest

from gim.errors import InvalidInput
from gim.wire import topics
from gim.wire.v1 import events_pb2

EVENTS = {
    topics.INGEST: events_pb2.VideoRequested(source="a.mp4"),
    topics.SEGMENTS: events_pb2.SegmentReady(video_id="yt-dQw4w9WgXcQ", sampling_id="s", segment=0),
    topics.LABELS: events_pb2.LabelsReady(video_id="yt-dQw4w9WgXcQ", sampling_id="s", segment=0, matcher_id="m"),
    topics.PAIRS: events_pb2.PairsReady(video_id="yt-dQw4w9WgXcQ", recipe_id="r", num_pairs=3),
    topics.CHECKPOINTS: events_pb2.CheckpointReady(run_id="r", step=100, matcher="loftr", checkpoint="checkpoints/r/0"),
    topics.EVALUATION_SHARDS: events_pb2.EvaluationShardPlanned(run_id="r", step=100, benchmark="b", num_shards=1),
    topics.EVALUATIONS: events_pb2.EvaluationReady(run_id="r", step=100, benchmark="b", report="reports/r/report.json"),
}


@pytest.mark.parametrize("topic", EVENTS)
def test_an_event_finds_its_topic_and_returns_from_its_bytes(topic):
    assert topics.topic_of(EVENTS[topic]) == topic
    assert topics.parse_event(topic, EVENTS[topic].SerializeToString()) == EVENTS[topic]


def test_every_message_of_the_wire_has_a_topic():
    names = {type(event).DESCRIPTOR.name for event in EVENTS.values()}
    assert names == set(events_pb2.DESCRIPTOR.message_types_by_name)


@pytest.mark.parametrize("text", ["dQw4w9WgXcQ", " clips/größe.mp4\n", "https://example.org/a.mp4"])
def test_the_ingest_topic_takes_a_bare_name(text):
    event = topics.parse_event(topics.INGEST, text.encode())
    assert event == events_pb2.VideoRequested(source=text.strip())


@pytest.mark.parametrize("value", [b"", b"  ", b"\xff\xfe\xff", b"a\x00b\x07"])
def test_the_ingest_topic_refuses_what_nobody_can_have_meant(value):
    with pytest.raises(InvalidInput, match=topics.INGEST):
        topics.parse_event(topics.INGEST, value)


@pytest.mark.parametrize("topic", [topics.SEGMENTS, topics.LABELS, topics.PAIRS])
@pytest.mark.parametrize("value", [b"", b"dQw4w9WgXcQ", b"\xff\xff"])
def test_other_topics_refuse_what_is_not_their_message(topic, value):
    with pytest.raises(InvalidInput, match=topic):
        topics.parse_event(topic, value)


def test_a_message_without_a_topic_is_a_bug_not_bad_input():
    from google.protobuf.empty_pb2 import Empty

    with pytest.raises(TypeError):
        topics.topic_of(Empty())


def test_an_event_stays_a_doorbell():
    event = events_pb2.LabelsReady(
        video_id="file-0123456789abcdef",
        sampling_id="seconds-00000000",
        segment=2**32 - 1,
        matcher_id="matcher-with-a-long-name-00000000",
        num_pairs=2**32 - 1,
        num_correspondences=2**64 - 1,
    )
    assert len(event.SerializeToString()) < 200
