import pytest

from gim.adapters.bus_sqlite import SqliteBus
from gim.runtime.queue import read_queue
from gim.wire import topics
from gim.wire.v1.events_pb2 import LabelsReady, SegmentReady, VideoRequested

GROUPS = [(topics.INGEST, "ingest"), (topics.SEGMENTS, "label-rootsift"), (topics.LABELS, "propagate")]
VIDEO, SOURCE = "file-0123456789abcdef", "/videos/walk.mp4"


@pytest.fixture
def bus(tmp_path):
    opened = SqliteBus(tmp_path / "bus.sqlite")
    for topic, group in GROUPS:
        opened.subscribe([topic], group).close()
    yield opened
    opened.close()


def _publish(bus, topic, key, event):
    bus.publish(topic, key, event if isinstance(event, bytes) else event.SerializeToString())
    bus.flush()


def _work_off(bus, topic, group, number):
    subscription = bus.subscribe([topic], group)
    for _ in range(number):
        subscription.ack(subscription.poll(1.0))
    subscription.close()


def test_an_empty_queue_holds_nothing(bus):
    queue = read_queue(bus, GROUPS)
    assert (queue.num_messages, queue.subjects, str(queue)) == (0, frozenset(), "")


def test_what_is_not_acknowledged_is_held_by_every_name(bus):
    _publish(bus, topics.LABELS, "yt-00000000000", LabelsReady(video_id="yt-00000000000"))
    _work_off(bus, topics.LABELS, "propagate", 1)
    _publish(bus, topics.LABELS, "yt-11111111111", LabelsReady(video_id="yt-11111111111"))
    _publish(bus, topics.INGEST, "k", VideoRequested(source="https://youtu.be/22222222222"))
    _publish(bus, topics.INGEST, "k", b"a bare name")
    queue = read_queue(bus, GROUPS)
    assert queue.lag == {"ingest": 2, "label-rootsift": 0, "propagate": 1}
    assert str(queue) == "ingest 2, propagate 1"
    assert not queue.may_hold("yt-00000000000")
    for name in ("yt-11111111111", "yt-22222222222", "https://youtu.be/22222222222", "a bare name", "k"):
        assert queue.may_hold("something", name)


def _lacks_labels(segment):
    return SegmentReady(video_id=VIDEO, sampling_id="s-0", segment=segment)


def test_what_waits_covers_what_it_will_come_to_and_no_more(bus):
    lacks_pairs = LabelsReady(video_id=VIDEO, sampling_id="s-0")
    _publish(bus, topics.LABELS, VIDEO, LabelsReady(video_id=VIDEO, sampling_id="s-0", segment=2))
    queue = read_queue(bus, GROUPS)
    assert queue.covers(lacks_pairs, VIDEO, SOURCE)
    assert not queue.covers(_lacks_labels(2), VIDEO, SOURCE)
    _work_off(bus, topics.LABELS, "propagate", 1)
    assert not read_queue(bus, GROUPS).covers(lacks_pairs, VIDEO, SOURCE)
    _publish(bus, topics.SEGMENTS, f"{VIDEO}/s-0/1", _lacks_labels(1))
    queue = read_queue(bus, GROUPS)
    assert queue.covers(_lacks_labels(1), VIDEO, SOURCE)
    assert not queue.covers(_lacks_labels(2), VIDEO, SOURCE)
    assert queue.covers(lacks_pairs, VIDEO, SOURCE)  # it will say so when its labels are there
    assert not queue.covers(LabelsReady(video_id=VIDEO, sampling_id="s-1"), VIDEO, SOURCE)
    assert not queue.covers(VideoRequested(source=VIDEO), VIDEO, SOURCE)


@pytest.mark.parametrize("asked_for", [VIDEO, SOURCE])
def test_a_request_covers_all_that_a_video_lacks(bus, asked_for):
    _publish(bus, topics.INGEST, asked_for, VideoRequested(source=asked_for))
    queue = read_queue(bus, GROUPS)
    for lacks in (VideoRequested(source=VIDEO), _lacks_labels(0), LabelsReady(video_id=VIDEO, sampling_id="s-0")):
        assert queue.covers(lacks, VIDEO, SOURCE)
        assert not queue.covers(lacks, "file-ffffffffffffffff", "another")


def test_what_is_in_hand_is_held_too(bus):
    _publish(bus, topics.LABELS, "yt-00000000000", LabelsReady(video_id="yt-00000000000"))
    subscription = bus.subscribe([topics.LABELS], "propagate")
    message = subscription.poll(1.0)
    assert read_queue(bus, GROUPS).may_hold("yt-00000000000")
    subscription.ack(message)
    assert read_queue(bus, GROUPS).num_messages == 0


def test_what_cannot_be_read_is_held_by_its_key(bus):
    _publish(bus, topics.LABELS, "yt-00000000000", b"\xff\xff")
    assert read_queue(bus, GROUPS).subjects == {"yt-00000000000"}
