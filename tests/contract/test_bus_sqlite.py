"""The SQLite bus: the Bus contract, and what only one file shared by processes can go wrong with."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gim.adapters.bus_sqlite import SqliteBus
from gim.errors import ConfigError, Unavailable
from tests.contract.bus_contract import BusContract, OpenBus, bus_machine, publish, take, take_all
from tests.contract.processes import program_until_ready, run_program
from tests.small_disk import run_on_small_disk

TestSqliteBusMachine = bus_machine(lambda folder: SqliteBus(folder / "bus", survive_power_cut=False)).TestCase


class TestSqliteBusContract(BusContract):
    @pytest.fixture
    def open_bus(self, tmp_path: Path) -> Iterator[OpenBus]:
        opened: list[SqliteBus] = []

        def open_one() -> SqliteBus:
            opened.append(SqliteBus(tmp_path / "bus.sqlite"))
            return opened[-1]

        yield open_one
        for bus in opened:
            bus.close()

    @pytest.fixture
    def bus_program(self, tmp_path: Path) -> str:
        return program_of(tmp_path / "bus.sqlite")


def program_of(path: Path) -> str:
    return f"""
from pathlib import Path
from gim.adapters.bus_sqlite import SqliteBus
bus = SqliteBus(Path({str(path)!r}))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bus.sqlite"


@pytest.fixture
def bus(path: Path) -> Iterator[SqliteBus]:
    bus = SqliteBus(path, survive_power_cut=False)
    yield bus
    bus.close()


def test_work_of_a_killed_process_is_handed_back_at_once(bus: SqliteBus, path: Path) -> None:
    publish(bus, "a:1")
    subscription = bus.subscribe(["t"], "g")
    take_and_wait = "m = bus.subscribe(['t'], 'g').poll(10)\nprint(m.value, flush=True)\ninput()"
    with program_until_ready(program_of(path) + take_and_wait) as process:
        assert subscription.poll(0.5) is None
        process.kill()  # and nobody has collected its exit status yet
        started = time.monotonic()
        assert take(subscription).attempt == 2
        assert time.monotonic() - started < 5.0


def test_near_keys_come_first_then_the_oldest(bus: SqliteBus) -> None:
    publish(bus, "ab/1:1", "b/1:2", "a/1:3", "a/2:4")
    subscription, other = bus.subscribe(["t"], "g"), bus.subscribe(["t"], "g")
    first = subscription.poll(0.0, near="a/")
    assert first is not None
    assert first.value == b"3"
    words = []
    while (message := other.poll(0.0, near="a/")) is not None:  # a/1 is in hand
        words.append(message.value)
        other.ack(message)
    assert words == [b"4", b"1", b"2"]


def test_silent_consumer_loses_its_message_and_may_finish_late(path: Path) -> None:
    slow, quick = (SqliteBus(path, lease_seconds=0.5) for _ in range(2))
    publish(slow, "a:1", "a:2")
    silent, other = slow.subscribe(["t"], "g"), quick.subscribe(["t"], "g")
    lost = take(silent)
    found = take(other)
    assert (found.value, found.attempt) == (b"1", 2)
    silent.ack(lost)  # too late: the message is the other's
    assert other.lag() == 2
    assert silent.poll(0.0) is None
    other.ack(found)
    assert take(silent).value == b"2"
    slow.close()
    quick.close()


def test_late_dead_letter_is_not_written_twice(path: Path) -> None:
    slow, quick = (SqliteBus(path, lease_seconds=0.3) for _ in range(2))
    publish(slow, "a:1")
    silent, other = slow.subscribe(["t"], "g"), quick.subscribe(["t"], "g")
    lost, found = take(silent), take(other)
    silent.dead_letter(lost, {"error": "late"})
    other.dead_letter(found, {"error": "first"})
    assert [letter.headers["error"] for letter in quick.read("t.dead")] == ["first"]
    slow.close()
    quick.close()


def test_keep_alive_holds_a_message_for_longer_than_the_lease(path: Path) -> None:
    worker, rival = (SqliteBus(path, lease_seconds=0.6) for _ in range(2))
    publish(worker, "a:1")
    busy, idle = worker.subscribe(["t"], "g"), rival.subscribe(["t"], "g")
    message = take(busy)
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        assert idle.poll(0.05) is None
        busy.keep_alive()
    busy.ack(message)
    assert idle.lag() == 0
    worker.close()
    rival.close()


def test_bury_takes_a_message_even_out_of_a_hand(bus: SqliteBus) -> None:
    publish(bus, "a:1", "a:2")
    subscription = bus.subscribe(["t"], "g")
    message = take(subscription)
    assert bus.bury("t", message.offset, "g", {"error": "WorkerDied"}) is True
    assert bus.bury("t", message.offset, "g", {"error": "WorkerDied"}) is False
    subscription.ack(message)
    assert take_all(subscription) == ["a:2"]
    assert [(letter.value, letter.headers) for letter in bus.read("t.dead")] == [(b"1", {"error": "WorkerDied"})]


def test_compact_drops_what_every_group_has_and_keeps_the_rest(bus: SqliteBus, path: Path) -> None:
    first, second = bus.subscribe(["t"], "g1"), bus.subscribe(["t"], "g2")
    for number in range(2000):
        bus.publish("t", f"k{number}", b"x" * 1000)
    publish(bus, "lonely:1", topic="nobody listens")
    for index in range(2000):
        for subscription in (first, second)[: 2 if index < 1990 else 1]:
            message = take(subscription)
            if index == 0:
                subscription.dead_letter(message, {})
            else:
                subscription.ack(message)
    large = path.stat().st_size
    assert bus.compact() == 1990
    assert bus.topics() == {"nobody listens": 1, "t": 10, "t.dead": 2}
    assert path.stat().st_size < large / 10
    publish(bus, "new:1")
    assert take_all(first) == ["new:1"]
    assert len(take_all(second)) == 11


def test_offsets_are_never_used_again(bus: SqliteBus) -> None:
    subscription = bus.subscribe(["t"], "g")
    publish(bus, "a:1")
    message = take(subscription)
    subscription.ack(message)
    bus.compact()
    publish(bus, "a:2")
    assert take(subscription).offset > message.offset


def test_open_when_it_is_something_else_says_so(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("not a database, " * 100)
    with pytest.raises(ConfigError, match="not a bus"):
        SqliteBus(words)
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE photos (name TEXT)")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigError, match="not a bus"):
        SqliteBus(other)


def test_open_when_the_schema_is_another_refuses(path: Path) -> None:
    SqliteBus(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(ConfigError, match="schema 7"):
        SqliteBus(path)


def test_open_where_no_folder_can_be_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="file"):
        SqliteBus(tmp_path / "file" / "bus.sqlite")
    with pytest.raises(Unavailable, match="cannot be opened"):
        SqliteBus(tmp_path)


def test_open_by_many_processes_at_once_makes_one_bus(path: Path) -> None:
    program = program_of(path) + "bus.publish('t', 'k', b'1'); bus.close()"
    processes = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(6)]
    assert [process.wait(60) for process in processes] == [0] * 6
    bus = SqliteBus(path)
    assert bus.topics() == {"t": 6}
    bus.close()


def test_locked_file_is_unavailable_and_what_was_published_is_kept(path: Path) -> None:
    bus = SqliteBus(path, busy_seconds=0.2)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    bus.publish("t", "k", b"1")
    with pytest.raises(Unavailable, match="locked"):
        bus.flush()
    blocker.execute("ROLLBACK")
    blocker.close()
    bus.flush()
    assert take_all(bus.subscribe(["t"], "g")) == ["k:1"]
    bus.close()


def test_full_disk_is_unavailable_and_nothing_is_half_published(path: Path, tmp_path: Path) -> None:
    program = (
        program_of(path)
        + """
from gim.errors import Unavailable
bus.publish('t', 'k', b'small'); bus.flush()
for number in range(30):
    bus.publish('t', 'k', b'x' * 100_000)
try:
    bus.flush()
except Unavailable as error:
    print(error)
print(bus.topics())
"""
    )
    done = run_on_small_disk(tmp_path, "1m", f'{sys.executable} -c "$1"', program)
    message, topics = done.stdout.splitlines()
    assert "the disk is full: free some space" in message
    assert topics == "{'t': 1}"


def test_close_twice_and_from_a_killed_publisher_leave_a_sound_file(path: Path) -> None:
    publish_for_ever = "i = 0\nwhile True:\n    bus.publish('t', 'k', str(i).encode()); bus.flush(); i += 1\n"
    publish_for_ever += "    if i == 50: print('ready', flush=True)"
    with program_until_ready(program_of(path) + publish_for_ever):
        time.sleep(0.05)
    bus = SqliteBus(path)
    received = take_all(bus.subscribe(["t"], "g"))
    assert received == [f"k:{number}" for number in range(len(received))]
    assert len(received) >= 50
    bus.close()
    bus.close()
    assert run_program(program_of(path) + "print(bus.topics()); bus.close()") == f"{{'t': {len(received)}}}"
