"""The Kafka bus: the Bus contract, on a real broker, in topics of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gim.adapters.kafka.bus import KafkaBus
from gim.adapters.kafka.client import Control
from gim.adapters.kafka.config import KafkaConfig
from gim.adapters.kafka.topics import DEAD, ensure_topics
from tests.contract.bus_contract import BusContract, OpenBus, bus_machine
from tests.servers import state_of

TOPICS = ("t", "u", "v")


def quick_config(servers: tuple[str, ...], prefix: str) -> KafkaConfig:
    """Of a consumer whose death is noticed as soon as a broker allows: after six seconds."""
    return KafkaConfig(bootstrap_servers=servers, prefix=f"{prefix}.", partitions=3, session_timeout_seconds=6.0)


def delete_topics(config: KafkaConfig, topics: tuple[str, ...]) -> None:
    control = Control(config, "tests")
    names = [config.prefix + topic + suffix for topic in topics for suffix in ("", DEAD)]
    control.ask(lambda admin: admin.delete_topics(names))
    control.close()


class TestKafkaBusContract(BusContract):
    brief_seconds = 3.0  # a join takes up to two

    @pytest.fixture
    def config(self, kafka_servers: tuple[str, ...], unique: str) -> Iterator[KafkaConfig]:
        config = quick_config(kafka_servers, unique)
        ensure_topics(config, TOPICS)
        yield config
        delete_topics(config, TOPICS)

    @pytest.fixture
    def open_bus(self, config: KafkaConfig) -> Iterator[OpenBus]:
        opened: list[KafkaBus] = []

        def open_one() -> KafkaBus:
            opened.append(KafkaBus(config, client_id="contract"))
            return opened[-1]

        yield open_one
        for bus in opened:
            bus.close()

    @pytest.fixture
    def bus_program(self, config: KafkaConfig) -> str:
        return f"""
from gim.adapters.kafka.bus import KafkaBus
from gim.adapters.kafka.config import KafkaConfig
bus = KafkaBus({config!r}, client_id="contract")
"""


def open_in(folder: Path) -> KafkaBus:
    config = quick_config(tuple(state_of("kafka")["bootstrap_servers"]), folder.name)
    ensure_topics(config, ["t"])
    return KafkaBus(config, client_id="machine")


class KafkaBusMachine(bus_machine(open_in, examples=4, steps=20, poll_seconds=1.0)):
    def teardown(self) -> None:
        super().teardown()
        delete_topics(quick_config(tuple(state_of("kafka")["bootstrap_servers"]), Path(self.folder.name).name), ("t",))


TestKafkaBusMachine = pytest.mark.slow(KafkaBusMachine.TestCase)
TestKafkaBusMachine.settings = KafkaBusMachine.__bases__[0].TestCase.settings
