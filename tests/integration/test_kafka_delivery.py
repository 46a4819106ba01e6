"""What Kafka does to consumers in production: long work, joiners and leavers, hung processes, brokers that die."""

import dataclasses
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gim.adapters.kafka.bus import KafkaBus
from gim.adapters.kafka.client import Control
from gim.adapters.kafka.config import KafkaConfig
from gim.adapters.kafka.subscription import KafkaSubscription
from gim.adapters.kafka.topics import ensure_topics
from gim.errors import Unavailable
from gim.ports.telemetry import NullTelemetry
from gim.runtime import handling
from gim.runtime.worker import drain
from gim.wire import topics
from gim.wire.topics import Event
from gim.wire.v1.events_pb2 import VideoRequested
from infra.kafka import start
from tests.contract.bus_contract import publish, take
from tests.contract.test_bus_kafka import delete_topics, quick_config

pytestmark = pytest.mark.slow

PATIENT_SECONDS = 240.0
NUM_PARTITIONS = 4
HASTY = {"request_timeout_seconds": 2.0, "delivery_timeout_seconds": 4.0, "session_timeout_seconds": 45.0}


@pytest.fixture
def config(kafka_servers: tuple[str, ...], unique: str) -> Iterator[KafkaConfig]:
    config = dataclasses.replace(quick_config(kafka_servers, unique), partitions=NUM_PARTITIONS)
    ensure_topics(config, ["t"])
    yield config
    delete_topics(config, ("t",))


@pytest.fixture
def open_bus(config: KafkaConfig) -> Iterator[Callable[..., KafkaBus]]:
    opened: list[KafkaBus] = []

    def open_one(**settings: object) -> KafkaBus:
        opened.append(KafkaBus(dataclasses.replace(config, **settings), client_id="test"))  # type: ignore[arg-type]
        return opened[-1]

    yield open_one
    for bus in opened:
        bus.close()


def test_posts_that_wait_for_the_work_of_another_stay_in_their_groups(config, open_bus, caplog, monkeypatch) -> None:
    monkeypatch.setattr(handling, "_KEEP_ALIVE_SECONDS", 0.2)
    lease_seconds = 1.5
    ensure_topics(config, [topics.INGEST, topics.SEGMENTS])
    bus = open_bus(lease_seconds=lease_seconds)
    bus.publish(topics.INGEST, "v", VideoRequested(source="v").SerializeToString())
    bus.flush()
    stages = [_SlowStage(topics.INGEST, "ingest", 4 * lease_seconds), _SlowStage(topics.SEGMENTS, "label", 0.0)]
    try:
        assert drain(stages, bus, telemetry=NullTelemetry()).outcomes == {"ingest": {"done": 1}}
        assert "nothing was heard" not in caplog.text
        idle = bus.subscribe([topics.SEGMENTS], "label")
        assert idle.poll(1.0) is None
        wait_until(lambda: "it polls no more" in caplog.text)  # now nobody speaks for it
    finally:
        delete_topics(config, (topics.INGEST, topics.SEGMENTS))


@dataclass
class _SlowStage:
    topic: str
    name: str
    seconds: float
    max_seconds: float = PATIENT_SECONDS

    @property
    def group(self) -> str:
        return self.name

    def handle(self, event: Event) -> list[tuple[str, Event]]:
        time.sleep(self.seconds)
        return []


def test_a_task_three_times_longer_than_the_poll_interval_disturbs_nobody(open_bus) -> None:
    interval_seconds = 7.0
    busy, idle = (open_bus(max_poll_interval_seconds=interval_seconds).subscribe(["t"], "g") for _ in range(2))
    publish(open_bus(), "a:1")
    message = take(busy)
    with polling(idle) as received:
        before = settle(busy, idle)
        until = time.monotonic() + 3 * interval_seconds
        while time.monotonic() < until:
            busy.keep_alive()
            time.sleep(0.5)
        assert generation_of(busy) == generation_of(idle) == before  # no rebalance
        busy.ack(message)
        assert busy.lag() == 0
        assert generation_of(busy) == generation_of(idle) == before
    assert received == []


def test_what_is_in_hand_stays_while_others_join_and_leave(open_bus) -> None:
    bus = open_bus()
    publish(bus, "a:1", "a:2")
    busy, first, second = bus.subscribe(["t"], "g"), open_bus().subscribe(["t"], "g"), open_bus().subscribe(["t"], "g")
    message = take(busy)
    with polling(first) as received_first:
        alone_with_one = settle(busy, first)
        with polling(second) as received_second:
            assert settle(busy, first, second) > alone_with_one
        second.close()
        settle(busy, first)
    first.close()
    settle(busy)
    assert received_first == received_second == []
    busy.ack(message)
    again = take(busy)
    assert (again.value, again.attempt) == (b"2", 1)
    busy.ack(again)
    assert busy.lag() == 0


def test_a_worker_that_hangs_loses_its_message_and_its_late_ack_changes_nothing(open_bus) -> None:
    publish(open_bus(), "a:1", "a:2", "a:3")
    hung = open_bus(lease_seconds=1.5).subscribe(["t"], "g")
    lost = take(hung)
    other = open_bus().subscribe(["t"], "g")
    found = take(other)
    assert (found.value, found.attempt) == (b"1", 2)
    other.ack(found)
    other.ack(take(other))
    hung.ack(lost)
    assert other.lag() == hung.lag() == 1
    last = take(other)
    assert (last.value, last.attempt) == (b"3", 1)
    hung.poll(2.0)  # it joins again
    other.ack(last)
    publish(open_bus(), *(f"{key}:4" for key in "abcdefgh"))
    while other.lag():
        for subscription in (hung, other):
            if (message := subscription.poll(0.2)) is not None:
                subscription.ack(message)


def test_a_late_dead_letter_is_not_written(open_bus) -> None:
    bus = open_bus()
    publish(bus, "a:1")
    hung = open_bus(lease_seconds=1.5).subscribe(["t"], "g")
    lost = take(hung)
    other = bus.subscribe(["t"], "g")
    found = take(other)
    hung.dead_letter(lost, {"error": "late"})
    other.dead_letter(found, {"error": "in time"})
    assert [letter.headers["error"] for letter in bus.read("t.dead")] == ["in time"]


def test_a_process_stopped_for_longer_than_its_session_loses_its_message(open_bus, config, tmp_path) -> None:
    bus = open_bus()
    bus.publish("t", "a", b"1", {"seconds": "2"})
    publish(bus, "a:2", "a:3")
    with working(config, tmp_path, 1) as (worker,):
        wait_until(lambda: worker.said("taken"))
        worker.process.send_signal(signal.SIGSTOP)
        other = bus.subscribe(["t"], "g")
        found = take(other)
        assert (found.value, found.attempt) == (b"1", 2)
        other.ack(found)
        other.ack(take(other))
        last = take(other)
        worker.process.send_signal(signal.SIGCONT)
        wait_until(lambda: worker.said("done"))  # it acknowledges what it has lost
        assert bus.lag("t", "g") == 1
        other.ack(last)
        assert bus.lag("t", "g") == 0
        publish(bus, *(f"{key}:4{key}" for key in "abcdefgh"))
        finish_together(bus, other)
        assert [words[1] for words in worker.said("taken") if words[1] in "123"] == ["1"]


def test_broker_killed_and_started_again_loses_nothing(tmp_path) -> None:
    with start(tmp_path / "kafka", 1) as kafka:
        config = patient_config(kafka.bootstrap_servers, 1)
        ensure_topics(config, ["t", "u"])
        hasty = KafkaBus(dataclasses.replace(config, **HASTY), client_id="hasty")
        publish(hasty, "a:0", topic="u")
        waiting = hasty.subscribe(["u"], "g")
        with working(config, tmp_path, 2) as workers, publishing(config) as publisher:
            wait_until(lambda: len(effects_in(tmp_path)) > 50)
            in_hand = take(waiting)
            kafka.kill(1)
            for number in "12":
                hasty.publish("u", "a", number.encode())
                with pytest.raises(Unavailable) as raised:
                    hasty.flush()
                assert "\n" not in str(raised.value)
            with pytest.raises(Unavailable):
                waiting.ack(in_hand)
            kafka.restart(1)
            waiting.ack(in_hand)  # within its session: it is still ours
            publish(hasty, "a:3", topic="u")
            assert [int(message.value) for message in hasty.read("u")] == [0, 1, 2, 3]
            assert waiting.lag() == 3
            reached = publisher.count
            wait_until(lambda: publisher.count > reached + 200)
            publisher.stop()
            check_all_done(config, tmp_path, workers, publisher)
        hasty.close()


def test_one_of_three_brokers_killed_in_mid_stream_loses_nothing(tmp_path) -> None:
    with start(tmp_path / "kafka", 3) as kafka:
        config = patient_config(kafka.bootstrap_servers, 3)
        ensure_topics(config, ["t"])
        with working(config, tmp_path, 2) as workers, publishing(config) as publisher:
            wait_until(lambda: len(effects_in(tmp_path)) > 50)
            kafka.kill(coordinator_of(config, "g"))
            reached = publisher.count
            wait_until(lambda: publisher.count > reached + 300)
            publisher.stop()
            check_all_done(config, tmp_path, workers, publisher)


# --- what the tests are made of ---------------------------------------------------------------------------------------


@dataclass
class Worker:
    process: subprocess.Popen[bytes]
    journal: Path

    def said(self, word: str) -> list[list]:
        if not self.journal.exists():
            return []
        complete = self.journal.read_text(encoding="utf-8").rpartition("\n")[0]
        lines = [json.loads(line)[1:] for line in complete.splitlines()]
        return [words for words in lines if words[0] == word]


@contextmanager
def working(config: KafkaConfig, folder: Path, num_workers: int) -> Iterator[list[Worker]]:
    """Processes that work until the end of the block, and then end well."""
    effects = folder / "effects"
    effects.mkdir()
    workers = []
    for number in range(num_workers):
        journal = folder / f"worker-{number}"
        settings = {"config": dataclasses.asdict(config), "effects": str(effects), "journal": str(journal)}
        command = [sys.executable, "-m", "tests.integration.kafka_worker", json.dumps(settings)]
        workers.append(Worker(subprocess.Popen(command), journal))
    try:
        yield workers
        (effects / "stop").touch()
        assert [worker.process.wait(PATIENT_SECONDS) for worker in workers] == [0] * num_workers
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()


def effects_in(folder: Path) -> list[str]:
    return [path.name for path in (folder / "effects").iterdir() if path.name != "stop"]


class Publisher:
    """Publishes id after id, each flushed, whatever happens to the brokers; none is given up."""

    def __init__(self, config: KafkaConfig) -> None:
        self.count = 0
        self.setbacks: list[str] = []
        self._bus = KafkaBus(config, client_id="publisher")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._publish)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def close(self) -> None:
        self.stop()
        self._bus.close()

    def _publish(self) -> None:
        while not self._stopping.is_set():
            self._bus.publish("t", f"k{self.count % 13}", str(self.count).encode())
            while True:
                try:
                    self._bus.flush()
                    break
                except Unavailable as error:
                    self.setbacks.append(str(error))
            self.count += 1
            time.sleep(0.01)


@contextmanager
def publishing(config: KafkaConfig) -> Iterator[Publisher]:
    publisher = Publisher(config)
    try:
        yield publisher
    finally:
        publisher.close()


def check_all_done(config: KafkaConfig, folder: Path, workers: list[Worker], publisher: Publisher) -> None:
    """Every id has its effect, once; the group has acknowledged everything; order was kept per key."""
    bus = KafkaBus(config, client_id="checker")
    wait_until(lambda: bus.lag("t", "g") == 0)
    held = [message.value.decode() for message in bus.read("t")]
    bus.close()
    published = {str(number) for number in range(publisher.count)}
    assert set(held) == published  # nothing that was flushed is lost
    assert sorted(effects_in(folder)) == sorted(published)
    taken = Counter(words[1] for worker in workers for words in worker.said("taken"))
    assert set(taken) == published
    assert all(worker.said("taken") for worker in workers)
    done = [words[1] for worker in workers for words in worker.said("done")]
    twice = sum(count - 1 for count in taken.values())
    print(  # noqa: T201 - shown by -s and on failure
        f"{len(published)} published, {len(held) - len(published)} written twice, {twice} handed out again, "
        f"{len(done)} acknowledged, {len(publisher.setbacks)} flushes refused"
    )
    assert twice <= 20  # what was in hand when a broker died, and no more


def coordinator_of(config: KafkaConfig, group: str) -> int:
    """The broker that leads the group; it hurts most."""
    control = Control(config, "test")
    found = control.ask(lambda admin: admin._manager.run(admin._find_coordinator_ids, [group]))
    control.close()
    return int(str(found[group]).removeprefix("coordinator-"))


def patient_config(servers: tuple[str, ...], replicas: int) -> KafkaConfig:
    return KafkaConfig(
        bootstrap_servers=servers,
        partitions=NUM_PARTITIONS,
        replication_factor=replicas,
        session_timeout_seconds=10.0,
        request_timeout_seconds=10.0,
        delivery_timeout_seconds=60.0,
    )


@contextmanager
def polling(subscription: KafkaSubscription) -> Iterator[list]:
    """Poll and acknowledge in a thread until the end of the block; the messages that came."""
    received: list = []
    stopping = threading.Event()

    def poll() -> None:
        while not stopping.is_set():
            message = subscription.poll(0.2)
            if message is not None:
                received.append(message)
                subscription.ack(message)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield received
    finally:
        stopping.set()
        thread.join()


def finish_together(bus: KafkaBus, subscription: KafkaSubscription) -> None:
    deadline = time.monotonic() + PATIENT_SECONDS
    while bus.lag("t", "g"):
        assert time.monotonic() < deadline
        if (message := subscription.poll(0.2)) is not None:
            subscription.ack(message)


def generation_of(subscription: KafkaSubscription) -> int:
    """Which round of the group it takes part in; -1 before the first."""
    membership = subscription._membership
    return -1 if membership is None else membership._consumer.group_metadata().generation_id


def settle(*subscriptions: KafkaSubscription) -> int:
    """Wait until these are the group, and nothing has changed for three seconds. Returns the generation."""
    before, since, deadline = -1, time.monotonic(), time.monotonic() + PATIENT_SECONDS
    while time.monotonic() < deadline:
        for subscription in subscriptions:
            subscription.keep_alive()
        generations = {generation_of(subscription) for subscription in subscriptions}
        owners = [set(s._membership._consumer.assignment()) for s in subscriptions if s._membership is not None]
        if generations != {before} or before < 0 or len(set().union(*owners)) < NUM_PARTITIONS:
            before, since = min(generations), time.monotonic()
        elif time.monotonic() - since > 3.0:
            return before
        time.sleep(0.1)
    raise AssertionError(f"the group does not settle: {generations}, {owners}")


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)
