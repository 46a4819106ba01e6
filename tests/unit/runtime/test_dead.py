"""Dead letters on a bus: read, replayed byte for byte, settled once."""

import datetime

import pytest

from gim.adapters.bus_sqlite import SqliteBus
from gim.errors import InvalidInput, Unavailable
from gim.runtime.dead import DROPPED, PURGED, REPLAYED, SETTLES, drop, find_letters, read_letters, replay
from gim.runtime.outcome import DEAD_HEADERS, DeadLetter, dead_headers
from gim.wire import topics
from gim.wire.v1.events_pb2 import LabelsReady, VideoRequested

VIDEO = "file-0123456789abcdef"
ORIGINAL = {"gim-type": "gim.wire.v1.LabelsReady", "gim-producer": "label", "traceparent": "00-1-2-03"}
LABEL = LabelsReady(video_id=VIDEO, matcher_id="rootsift-00112233").SerializeToString()


@pytest.fixture
def bus(tmp_path):
    opened = SqliteBus(tmp_path / "bus.sqlite")
    yield opened
    opened.close()


def _die(bus, topic, key, value, headers=ORIGINAL, error="ZeroDivisionError", **more):
    """As a worker does it."""
    bus.publish(topic, key, value, headers)
    bus.flush()
    subscription = bus.subscribe([topic], "g")
    message = subscription.poll(1.0)
    letter = DeadLetter(key, "propagate", error, "oh", topic, key, message.offset, 3, stack="line 1\nline 2")
    subscription.dead_letter(message, {**dead_headers(letter), **more})
    subscription.close()


@pytest.fixture
def three(bus):
    _die(bus, topics.LABELS, VIDEO, LABEL)
    _die(bus, topics.LABELS, VIDEO, b"\xff\xff", error="InvalidInput")
    _die(bus, topics.INGEST, "x.mp4", VideoRequested(source="x.mp4").SerializeToString(), error="InvalidInput")
    return bus


def _on(bus, topic):
    return [(message.key, message.value, dict(message.headers)) for message in bus.read(topic)]


def test_letters_say_all_that_is_known(three):
    ingest, bug, garbled = read_letters(three)
    assert (bug.topic, bug.subject, bug.attempts, bug.value) == (topics.LABELS, VIDEO, 3, LABEL)
    assert bug.event == {"video_id": VIDEO, "matcher_id": "rootsift-00112233"}
    assert bug.headers["stack"] == "line 1\nline 2"
    assert bug.original_headers == ORIGINAL
    assert bug.age_seconds(datetime.datetime.now(datetime.UTC)) < 60
    assert (garbled.subject, garbled.event) == (VIDEO, {})
    assert ingest.subject == "x.mp4"


def test_all_that_a_worker_adds_is_taken_off_again(bus):
    _die(bus, topics.LABELS, VIDEO, LABEL)
    (letter,) = read_letters(bus)
    assert set(letter.headers) - set(ORIGINAL) == DEAD_HEADERS


def test_letters_are_chosen_by_topic_and_error(three):
    assert [letter.topic for letter in read_letters(three, "ingest")] == [topics.INGEST]
    assert [letter.topic for letter in read_letters(three, "gim.labels.v1.dead")] == [topics.LABELS] * 2
    assert len(read_letters(three, error="InvalidInput")) == 2
    assert len(read_letters(three, "labels", error="InvalidInput")) == 1
    with pytest.raises(InvalidInput, match="no topic 'x': one of ingest, segments, labels"):
        read_letters(three, "x")


def test_a_replayed_letter_is_back_as_it_came_and_settled(three):
    before = len(_on(three, topics.LABELS))
    (letter,) = find_letters(three, [read_letters(three, "labels")[0].short_id])
    assert replay(three, [letter]) == 1
    assert _on(three, topics.LABELS)[before:] == [(VIDEO, LABEL, ORIGINAL)]
    assert [each.letter_id for each in read_letters(three)] == [
        each.letter_id for each in read_letters(three, with_settled=True) if each.letter_id != letter.letter_id
    ]
    (again,) = find_letters(three, [letter.letter_id])
    assert again.settled == REPLAYED
    assert replay(three, [again]) == 0
    assert len(_on(three, topics.LABELS)) == before + 1


def test_a_dropped_letter_is_settled_and_goes_nowhere(three):
    before = _on(three, topics.LABELS), _on(three, topics.INGEST)
    assert drop(three, read_letters(three)) == 3
    assert read_letters(three) == []
    assert {letter.settled for letter in read_letters(three, with_settled=True)} == {DROPPED}
    assert (_on(three, topics.LABELS), _on(three, topics.INGEST)) == before
    assert len([message for message in three.read(f"{topics.LABELS}.dead") if SETTLES in message.headers]) == 2


def test_what_died_again_is_a_letter_of_its_own(three):
    (letter,) = read_letters(three, "ingest")
    drop(three, [letter], how=PURGED)
    _die(three, topics.INGEST, "x.mp4", VideoRequested(source="x.mp4").SerializeToString())
    (again,) = read_letters(three, "ingest")
    assert again.letter_id != letter.letter_id


class _Failing:
    """A bus that is away after a number of flushes."""

    def __init__(self, bus, flushes):
        self._bus = bus
        self._left = flushes

    def __getattr__(self, name):
        return getattr(self._bus, name)

    def flush(self):
        if self._left == 0:
            raise Unavailable("away")
        self._left -= 1
        self._bus.flush()


@pytest.mark.parametrize("flushes", [0, 1])
def test_interrupted_a_replay_is_done_again_rather_than_not_at_all(tmp_path, flushes):
    path = tmp_path / "bus.sqlite"
    bus = SqliteBus(path)
    _die(bus, topics.LABELS, VIDEO, LABEL)
    before = len(_on(bus, topics.LABELS))
    with pytest.raises(Unavailable):
        replay(_Failing(bus, flushes), read_letters(bus))
    after = SqliteBus(path)  # as the next command sees it, what was not flushed aside
    assert len(read_letters(after)) == 1
    replay(after, read_letters(after))
    assert len(_on(after, topics.LABELS)) == before + flushes + 1
    assert read_letters(after) == []
    bus.close()
    after.close()


def test_ids_are_short_where_they_can_be(three):
    labels = read_letters(three, "labels")[0]
    for text in (labels.letter_id, labels.short_id, labels.place):
        assert [letter.letter_id for letter in find_letters(three, [text, labels.letter_id])] == [labels.letter_id]
    for text, said in [
        ("labels:0-999", "no such dead letter"),
        ("99", "no id of a dead letter"),
        ("x:0-1", "no topic"),
    ]:
        with pytest.raises(InvalidInput, match=said):
            find_letters(three, [text])
