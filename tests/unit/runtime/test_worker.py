"""What becomes of a message: every kind of error, on the real bus."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from gim.adapters.bus_sqlite import SqliteBus
from gim.errors import ConfigError, CorruptObject, InvalidInput, KeyMissing, Unavailable, UnknownMatcher
from gim.ports.telemetry import NullTelemetry
from gim.ports.tracing import Span
from gim.runtime import handling
from gim.runtime.handling import Handler
from gim.runtime.outcome import Begun, DrainReport, Outcome
from gim.runtime.retry import Patience, RetryPolicy
from gim.runtime.worker import drain, serve
from gim.stages.base import Stage
from gim.wire import topics
from gim.wire.topics import Event, parse_event
from gim.wire.v1.events_pb2 import LabelsReady, PairsReady, SegmentReady, VideoRequested

QUICK = RetryPolicy(bug_pause_seconds=0.0, first_pause_seconds=0.01, longest_pause_seconds=0.02)
Handle = Callable[[Event], Iterable[tuple[str, Event]]]


@dataclass
class FunctionStage:
    handle: Handle
    topic: str = topics.SEGMENTS
    name: str = "label"
    group: str = "label"
    max_seconds: float = 60.0


def follow(event: Event) -> Iterator[tuple[str, Event]]:
    yield event.video_id, LabelsReady(video_id=event.video_id, segment=event.segment)


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[SqliteBus]:
    bus = SqliteBus(tmp_path / "bus", survive_power_cut=False)
    yield bus
    bus.close()


def publish_segments(bus: SqliteBus, *segments: int) -> None:
    for segment in segments:
        event = SegmentReady(video_id="v", sampling_id="s", segment=segment)
        bus.publish(topics.SEGMENTS, f"v/s/{segment}", event.SerializeToString())
    bus.flush()


def published(bus: SqliteBus, topic: str) -> list[Event]:
    subscription = bus.subscribe([topic], "test")
    events = []
    while (message := subscription.poll(0.0)) is not None:
        assert message.headers == {"gim-type": "gim.wire.v1.LabelsReady", "gim-producer": "label"}
        events.append(parse_event(message.topic, message.value))
        subscription.ack(message)
    return events


def run(
    bus: SqliteBus, *stages: Stage, policy: RetryPolicy = QUICK, stop: Callable[[], bool] | None = None
) -> DrainReport:
    return drain(stages, bus, telemetry=NullTelemetry(), policy=policy, stop=stop or (lambda: False))


def test_drain_publishes_what_stages_yield_and_acknowledges(bus: SqliteBus) -> None:
    publish_segments(bus, 0, 1)
    told: list[Begun | Outcome] = []
    report = drain([FunctionStage(follow)], bus, telemetry=NullTelemetry(), observe=told.append)
    assert report.outcomes == {"label": {"done": 2}}
    assert report.dead_letters == []
    assert [event.segment for event in published(bus, topics.LABELS)] == [0, 1]
    assert [type(item) for item in told] == [Begun, Outcome] * 2
    assert isinstance(told[1], Outcome)
    assert (told[1].video_id, told[1].published) == ("v", {topics.LABELS: 1})


@pytest.mark.parametrize("error", [InvalidInput, CorruptObject, UnknownMatcher, ConfigError])
def test_hopeless_error_is_dead_at_once_and_the_rest_flows_on(bus: SqliteBus, error: type[Exception]) -> None:
    attempts = []

    def handle(event: Event) -> Iterable[tuple[str, Event]]:
        attempts.append(event.segment)
        if event.segment == 1:
            raise error("the first line\nand a second")
        return follow(event)

    publish_segments(bus, 0, 1, 2)
    report = run(bus, FunctionStage(handle))
    assert attempts == [0, 1, 2]
    assert report.outcomes == {"label": {"done": 2, "dead": 1}}
    (letter,) = report.dead_letters
    assert (letter.subject, letter.error, letter.message, letter.stack) == ("v", error.__name__, "the first line", "")
    (dead,) = list(bus.read(f"{topics.SEGMENTS}.dead"))
    assert parse_event(topics.SEGMENTS, dead.value).segment == 1
    assert dead.key == "v/s/1"
    headers = dict(dead.headers)
    assert datetime.fromisoformat(headers.pop("died-at")).tzinfo is not None
    assert headers == {
        "error": error.__name__,
        "message": "the first line",
        "stage": "label",
        "attempts": "1",
        "source-topic": topics.SEGMENTS,
        "source-partition": "0",
        "source-offset": "2",
    }


@pytest.mark.parametrize("error", [ZeroDivisionError("oh"), KeyMissing("frames/v/1.jpg"), OSError(5, "Input/output")])
def test_bug_gets_three_attempts_then_is_dead_with_its_stack(bus: SqliteBus, error: Exception) -> None:
    attempts = []

    def handle(event: Event) -> Iterator[tuple[str, Event]]:
        attempts.append(event.segment)
        yield from follow(event)
        raise error

    publish_segments(bus, 0)
    report = run(bus, FunctionStage(handle))
    assert attempts == [0, 0, 0]
    (dead,) = list(bus.read(f"{topics.SEGMENTS}.dead"))
    assert (dead.headers["error"], dead.headers["attempts"]) == (type(error).__name__, "3")
    assert "in handle" in dead.headers["stack"]
    assert report.dead_letters[0].stack == dead.headers["stack"]
    assert published(bus, topics.LABELS) == []


def test_bug_that_passes_publishes_once(bus: SqliteBus) -> None:
    attempts = []

    def handle(event: Event) -> Iterator[tuple[str, Event]]:
        attempts.append(1)
        yield from follow(event)
        if len(attempts) < 3:
            raise RuntimeError

    publish_segments(bus, 0)
    assert run(bus, FunctionStage(handle)).outcomes == {"label": {"done": 1}}
    assert len(published(bus, topics.LABELS)) == 1


def test_unavailable_is_waited_for_and_never_dead(bus: SqliteBus) -> None:
    attempts = []

    def handle(event: Event) -> Iterable[tuple[str, Event]]:
        attempts.append(1)
        if len(attempts) < 8:
            raise Unavailable("the store is away")
        return follow(event)

    publish_segments(bus, 0)
    assert run(bus, FunctionStage(handle)).outcomes == {"label": {"done": 1}}
    assert len(attempts) == 8
    assert list(bus.read(f"{topics.SEGMENTS}.dead")) == []


def away(_: Event) -> Iterable[tuple[str, Event]]:
    raise Unavailable("the disk is full")


def test_stop_while_waiting_leaves_the_message(bus: SqliteBus) -> None:
    publish_segments(bus, 0)
    until = time.monotonic() + 0.2
    report = run(bus, FunctionStage(away), stop=lambda: time.monotonic() > until)
    assert report.outcomes == {"label": {"abandoned": 1}}
    assert run(bus, FunctionStage(follow)).outcomes == {"label": {"done": 1}}


def test_budget_of_patience_is_spent_once_not_per_message(bus: SqliteBus) -> None:
    publish_segments(bus, *range(20))
    policy = RetryPolicy(first_pause_seconds=0.05, longest_pause_seconds=0.05, unavailable_seconds=0.3)
    started = time.monotonic()
    report = run(bus, FunctionStage(away), policy=policy)
    assert 0.3 <= time.monotonic() - started < 3.0
    assert report.outcomes == {"label": {"dead": 20}}
    assert {(letter.error, letter.message) for letter in report.dead_letters} == {("Unavailable", "the disk is full")}


def test_malformed_message_is_dead_and_a_bare_id_is_not(bus: SqliteBus) -> None:
    bus.publish(topics.SEGMENTS, "k", b"\xff\xff\xff")
    bus.publish(topics.INGEST, "k", b"dQw4w9WgXcQ")
    bus.flush()
    seen = []

    def ingest(event: Event) -> list[tuple[str, Event]]:
        seen.append(event)
        return []

    report = run(bus, FunctionStage(ingest, topics.INGEST, "ingest", "ingest"), FunctionStage(follow))
    assert report.outcomes == {"ingest": {"done": 1}, "label": {"dead": 1}}
    assert seen == [VideoRequested(source="dQw4w9WgXcQ")]
    assert next(bus.read(f"{topics.SEGMENTS}.dead")).value == b"\xff\xff\xff"


def test_last_stage_works_first(bus: SqliteBus) -> None:
    order = []

    def label(event: Event) -> Iterable[tuple[str, Event]]:
        order.append(f"label {event.segment}")
        return follow(event)

    def propagate(event: Event) -> list[tuple[str, Event]]:
        order.append(f"propagate {event.segment}")
        return []

    publish_segments(bus, 0, 1)
    run(bus, FunctionStage(label), FunctionStage(propagate, topics.LABELS, "propagate", "propagate"))
    assert order == ["label 0", "propagate 0", "label 1", "propagate 1"]


def test_processes_have_a_video_each_and_help_when_none_is_left(bus: SqliteBus, tmp_path: Path) -> None:
    order: list[tuple[int, str, str]] = []
    meeting = threading.Barrier(2)

    def pipeline(worker: int) -> list[Stage]:
        def ingest(event: Event) -> Iterable[tuple[str, Event]]:
            worker_of[event.source] = worker
            meeting.wait(10)  # each has one of the first two in hand
            for segment in range(3):
                ready = SegmentReady(video_id=event.source, sampling_id="s", segment=segment)
                yield f"{event.source}/s/{segment}", ready

        def label(event: Event) -> Iterable[tuple[str, Event]]:
            order.append((worker, "label", event.video_id))
            if event.video_id == "v2":  # nobody is done with it before the other has begun
                begun.wait(10)
            elif event.segment:
                helped.set()
            else:  # held up at the first segment until somebody takes the next
                begun.set()
                helped.wait(10)
            return follow(event)

        def propagate(event: Event) -> Iterable[tuple[str, Event]]:
            if event.segment == 2:
                order.append((worker, "propagate", event.video_id))
                yield event.video_id, PairsReady(video_id=event.video_id)

        return [
            FunctionStage(ingest, topics.INGEST, "ingest", "ingest"),
            FunctionStage(label),
            FunctionStage(propagate, topics.LABELS, "propagate", "propagate"),
        ]

    worker_of: dict[str, int] = {}
    begun, helped = threading.Event(), threading.Event()
    for source in ("v1", "v2"):
        bus.publish(topics.INGEST, source, VideoRequested(source=source).SerializeToString())
    bus.flush()
    second_bus = SqliteBus(tmp_path / "bus", survive_power_cut=False)
    second = threading.Thread(target=run, args=(second_bus, *pipeline(1)))
    second.start()
    run(bus, *pipeline(0))
    second.join()
    second_bus.close()
    did = [(what, video) for worker, what, video in order if worker == worker_of["v2"]]
    assert did[:5] == [("label", "v2")] * 3 + [("propagate", "v2"), ("label", "v1")]


def test_interrupted_work_comes_back(bus: SqliteBus) -> None:
    def handle(_: Event) -> Iterable[tuple[str, Event]]:
        raise KeyboardInterrupt

    publish_segments(bus, 0)
    with pytest.raises(KeyboardInterrupt):
        run(bus, FunctionStage(handle))
    assert run(bus, FunctionStage(follow)).outcomes == {"label": {"done": 1}}


def test_drain_waits_for_what_another_has_in_hand(bus: SqliteBus, tmp_path: Path) -> None:
    publish_segments(bus, 0)
    started = threading.Event()

    def slow(event: Event) -> Iterable[tuple[str, Event]]:
        started.set()
        time.sleep(0.5)
        return follow(event)

    other = SqliteBus(tmp_path / "bus")
    thread = threading.Thread(target=run, args=(other, FunctionStage(slow)))
    thread.start()
    assert started.wait(10)
    received: list[Event] = []

    def propagate(event: Event) -> list[tuple[str, Event]]:
        received.append(event)
        return []

    stages = [FunctionStage(follow), FunctionStage(propagate, topics.LABELS, "propagate", "propagate")]
    run(bus, *stages)
    thread.join()
    other.close()
    assert len(received) == 1


def test_long_work_is_kept_alive(bus: SqliteBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handling, "_KEEP_ALIVE_SECONDS", 0.1)
    rival = SqliteBus(tmp_path / "bus", lease_seconds=0.5)
    taken = []

    def slow(event: Event) -> Iterable[tuple[str, Event]]:
        subscription = rival.subscribe([topics.SEGMENTS], "label")
        taken.append(subscription.poll(1.5))
        return follow(event)

    publish_segments(bus, 0)
    assert run(bus, FunctionStage(slow)).outcomes == {"label": {"done": 1}}
    assert taken == [None]
    rival.close()


def test_bus_that_stays_away_raises_and_loses_nothing(bus: SqliteBus, tmp_path: Path) -> None:
    publish_segments(bus, 0)
    impatient = SqliteBus(tmp_path / "bus", busy_seconds=0.05)
    blocker = sqlite3.connect(tmp_path / "bus", isolation_level=None, check_same_thread=False)

    def handle(event: Event) -> Iterable[tuple[str, Event]]:
        blocker.execute("BEGIN IMMEDIATE")
        return follow(event)

    policy = RetryPolicy(first_pause_seconds=0.01, unavailable_seconds=0.2)
    with pytest.raises(Unavailable, match="locked"):
        run(impatient, FunctionStage(handle), policy=policy)
    blocker.close()
    impatient.close()
    assert run(bus, FunctionStage(follow)).outcomes == {"label": {"done": 1}}


@dataclass
class PrecedingStage(FunctionStage):
    """Others wait for it, so it says when it gives an event up."""

    def give_up(self, event: Event, error: str, message: str) -> Iterator[tuple[str, Event]]:
        yield event.video_id, LabelsReady(video_id=event.video_id, segment=event.segment, failed=True)


def test_whoever_waits_is_told_of_what_was_given_up_before_it_is_dead(bus: SqliteBus) -> None:
    def fail(event: Event) -> Iterable[tuple[str, Event]]:
        raise InvalidInput("no")

    publish_segments(bus, 0)
    assert run(bus, PrecedingStage(fail)).outcomes == {"label": {"dead": 1}}
    assert [(event.segment, event.failed) for event in published(bus, topics.LABELS)] == [(0, True)]


def test_what_is_only_unavailable_is_not_given_up(bus: SqliteBus) -> None:
    def fail(event: Event) -> Iterable[tuple[str, Event]]:
        raise Unavailable("away")

    publish_segments(bus, 0)
    policy = RetryPolicy(first_pause_seconds=0.01, longest_pause_seconds=0.02, unavailable_seconds=0.05)
    assert run(bus, PrecedingStage(fail), policy=policy).outcomes == {"label": {"dead": 1}}
    assert published(bus, topics.LABELS) == []


def test_a_message_that_nobody_lived_to_finish_is_dead_after_so_many_deliveries(bus: SqliteBus) -> None:
    publish_segments(bus, 0, 1)
    for _ in range(3):
        subscription = bus.subscribe([topics.SEGMENTS], "label")
        message = subscription.poll(0.0)
        assert message is not None
        assert message.key == "v/s/0"
        subscription.close()
    policy = RetryPolicy(max_deliveries=3)
    report = run(bus, FunctionStage(follow), policy=policy)
    assert report.outcomes == {"label": {"dead": 1, "done": 1}}
    (letter,) = report.dead_letters
    assert (letter.error, letter.attempts) == ("WorkerDied", 3)


def test_work_that_takes_longer_than_it_may_is_no_longer_spoken_for(
    bus: SqliteBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handling, "_KEEP_ALIVE_SECONDS", 0.05)
    rival = SqliteBus(tmp_path / "bus", lease_seconds=0.3)
    taken = []

    def stuck(event: Event) -> Iterable[tuple[str, Event]]:
        subscription = rival.subscribe([topics.SEGMENTS], "label")
        message = subscription.poll(20.0)
        assert message is not None
        taken.append(message.value)
        subscription.ack(message)
        return follow(event)

    publish_segments(bus, 0)
    run(bus, FunctionStage(stuck, max_seconds=0.2))
    assert len(taken) == 1
    rival.close()


def _handler(bus: SqliteBus, stop: Callable[[], bool], **more: object) -> Handler:
    return Handler(bus, Patience(QUICK, stop), NullTelemetry(), **more)


def test_serve_works_until_it_is_told_to_stop_and_beats(bus: SqliteBus) -> None:
    publish_segments(bus, 0, 1, 2)
    done, beats = [], []

    def handle(event: Event) -> Iterable[tuple[str, Event]]:
        done.append(event.segment)
        return follow(event)

    handler = _handler(bus, lambda: len(done) == 2)
    serve([FunctionStage(handle)], handler, beat=lambda: beats.append(1))
    assert done == [0, 1]
    assert len(beats) >= 2
    assert bus.lag(topics.SEGMENTS, "label") == 1


def test_serve_takes_nothing_while_it_may_not_begin(bus: SqliteBus) -> None:
    publish_segments(bus, 0)
    asked: list[int] = []

    def may_begin() -> bool:
        asked.append(len(asked))
        return False

    serve([FunctionStage(follow)], _handler(bus, lambda: len(asked) > 1), may_begin=may_begin, beat=lambda: None)
    assert bus.lag(topics.SEGMENTS, "label") == 1
    assert published(bus, topics.LABELS) == []


def test_a_trace_goes_on_in_the_headers_of_what_is_published(bus: SqliteBus) -> None:
    class Tracing:
        def __init__(self) -> None:
            self.came: list[dict[str, str]] = []

        @contextmanager
        def span(self, name: str, headers: Mapping[str, str], **attributes: str | int) -> Iterator[Span]:
            self.came.append(dict(headers))
            yield Span("t", {"traceparent": f"after {headers.get('traceparent', 'nothing')}"})

        def close(self) -> None:
            pass

    tracing = Tracing()
    event = SegmentReady(video_id="v", sampling_id="s", segment=0)
    bus.publish(topics.SEGMENTS, "v", event.SerializeToString(), {"traceparent": "before"})
    bus.flush()
    stop = lambda: bool(tracing.came)  # noqa: E731
    serve([FunctionStage(follow)], _handler(bus, stop, tracing=tracing), beat=lambda: None)
    message = bus.subscribe([topics.LABELS], "test").poll(0.0)
    assert message is not None
    assert (tracing.came[0]["traceparent"], message.headers["traceparent"]) == ("before", "after before")
