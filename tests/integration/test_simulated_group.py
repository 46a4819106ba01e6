"""What the simulation says of a group whose member is killed is what a real one on Kafka does."""

import json
import subprocess
import sys
import time
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import pytest

from gim.adapters.kafka.bus import KafkaBus
from gim.adapters.kafka.config import KafkaConfig
from gim.adapters.kafka.topics import ensure_topics
from gim.simulation.agenda import Agenda
from gim.simulation.group import Group
from tests.contract.test_bus_kafka import delete_topics, quick_config

pytestmark = pytest.mark.slow

WORKER = Path(__file__).with_name("kafka_worker.py")
WORK_SECONDS, SESSION_SECONDS, RESTART_SECONDS, REBALANCE_SECONDS = 0.3, 12.0, 2.0, 1.0


@pytest.fixture
def config(kafka_servers, unique):
    config = replace(quick_config(kafka_servers, unique), partitions=6, session_timeout_seconds=SESSION_SECONDS)
    ensure_topics(config, ["t"])
    yield config
    delete_topics(config, ("t",))


def start(config: KafkaConfig, folder: Path, name: str) -> subprocess.Popen[bytes]:
    words = {"config": asdict(config), "effects": str(folder), "journal": str(folder / f"{name}.journal")}
    return subprocess.Popen([sys.executable, str(WORKER), json.dumps({**words, "seconds": WORK_SECONDS})])


def taken(folder: Path, name: str) -> list[float]:
    """When a worker took messages."""
    journal = folder / f"{name}.journal"
    lines = journal.read_text().rpartition("\n")[0].splitlines() if journal.exists() else []
    return [line[0] for line in map(json.loads, lines) if line[1] == "taken"]


def wait_for_work(folder: Path, name: str, after: float = 0.0) -> None:
    deadline = time.time() + 120
    while not any(moment > after for moment in taken(folder, name)):
        assert time.time() < deadline, f"{name} takes nothing"
        time.sleep(0.1)


def test_a_restart_before_the_session_has_run_out_stops_the_others_for_as_long_as_simulated(config, tmp_path) -> None:
    bus = KafkaBus(config, client_id="test")
    for number in range(1500):
        bus.publish("t", f"k/{number}", str(number).encode())
    bus.flush()
    bus.close()
    workers = [start(config, tmp_path, name) for name in ("a", "b", "c")]
    try:
        for name in ("a", "b", "c"):
            wait_for_work(tmp_path, name)
        time.sleep(5)  # until they have settled
        killed_at = time.time()
        workers[0].kill()
        time.sleep(RESTART_SECONDS)
        workers.append(start(config, tmp_path, "again"))
        wait_for_work(tmp_path, "again")
        wait_for_work(tmp_path, "b", after=taken(tmp_path, "again")[0])
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    moments = taken(tmp_path, "b")
    stopped, resumed = max(pairwise(moments), key=lambda pair: pair[1] - pair[0])
    assert stopped < killed_at + RESTART_SECONDS + 5

    agenda = Agenda()
    group = Group(agenda, num_partitions=6, max_pods=4, rebalance_seconds=REBALANCE_SECONDS,
                  session_seconds=SESSION_SECONDS)  # fmt: skip
    group.form(3)
    agenda.at(100.0, lambda: group.crash(0))
    agenda.at(100.0 + RESTART_SECONDS, lambda: group.join(0))
    while agenda.now < 200.0:
        until = min(agenda.next_time, 200.0)
        group.advance(until)
        agenda.run_due(until)
    # A process takes a second to start, and a heartbeat may have come just before the end.
    assert resumed - stopped == pytest.approx(group.rebalancing_seconds, abs=3.5)
    assert resumed - killed_at == pytest.approx(SESSION_SECONDS, abs=3.0)
