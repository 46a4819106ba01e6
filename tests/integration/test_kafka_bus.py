"""What only Kafka can go wrong with, on the running broker: topics, other people's messages, refusals, leftovers."""

import dataclasses
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.structs import TopicPartition

from gim.adapters.kafka.bus import KafkaBus
from gim.adapters.kafka.client import Control
from gim.adapters.kafka.config import KafkaConfig
from gim.adapters.kafka.topics import ensure_topics
from gim.errors import ConfigError, InvalidInput, Unavailable
from tests.contract.bus_contract import publish, take, take_all
from tests.contract.test_bus_kafka import delete_topics, quick_config


@pytest.fixture
def config(kafka_servers: tuple[str, ...], unique: str) -> Iterator[KafkaConfig]:
    config = dataclasses.replace(quick_config(kafka_servers, unique), request_timeout_seconds=10.0)
    ensure_topics(config, ["t"])
    yield config
    delete_topics(config, ("t",))


@pytest.fixture
def control(config: KafkaConfig) -> Iterator[Control]:
    control = Control(config, "test")
    yield control
    control.close()


@pytest.fixture
def bus(config: KafkaConfig) -> Iterator[KafkaBus]:
    bus = KafkaBus(config, client_id="test")
    yield bus
    bus.close()


def test_topics_are_made_safe_with_their_dead_letters_and_left_as_they_are_afterwards(config, control) -> None:
    described = {
        topic["name"]: len(topic["partitions"])
        for topic in control.ask(lambda admin: admin.describe_topics([config.prefix + "t", config.prefix + "t.dead"]))
    }
    assert described == {config.prefix + "t": 3, config.prefix + "t.dead": 1}
    assert ensure_topics(dataclasses.replace(config, partitions=7, retention_seconds=1.0), ["t"]) == []
    names = [config.prefix + "t", config.prefix + "t.dead"]
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    settings = control.ask(lambda admin: admin.describe_configs(resources, config_filter="all"))
    kept = {name: settings["topic"][name]["retention.ms"]["value"] for name in names}
    assert kept == {names[0]: str(365 * 86400 * 1000), names[1]: "-1"}


def test_topic_that_is_missing_is_named_with_the_way_out_and_nothing_is_lost(config, control) -> None:
    bus = KafkaBus(config, client_id="test")
    for ask in (
        lambda: bus.subscribe(["t", "u"], "g"),
        lambda: bus.lag("u", "g"),
        lambda: bus.read("u"),
    ):
        with pytest.raises(ConfigError, match=rf"no topic {config.prefix}u: make it with `gim cluster init`"):
            ask()
    bus.publish("u", "k", b"1")
    bus.publish("u", "k", b"2")
    for _ in range(2):
        with pytest.raises(ConfigError, match="gim cluster init"):
            bus.flush()
    assert ensure_topics(config, ["u"]) == ["u", "u.dead"]
    bus.flush()
    assert [message.value for message in bus.read("u")] == [b"1", b"2"]
    bus.close()
    delete_topics(config, ("u",))


def test_message_too_large_is_refused_and_the_others_are_delivered(bus) -> None:
    bus.publish("t", "a", b"1")
    bus.publish("t", "a", b"x" * 2**21)
    bus.publish("t", "a", b"2")
    with pytest.raises(InvalidInput, match="larger than"):
        bus.flush()
    bus.flush()
    assert [message.value for message in bus.read("t")] == [b"1", b"2"]


def test_messages_of_others_are_read_whatever_they_hold(bus, config) -> None:
    producer = KafkaProducer(bootstrap_servers=list(config.bootstrap_servers), enable_idempotence=False)
    name = config.prefix + "t"
    producer.send(name, value=b"no key", partition=0)
    producer.send(name, key=b"\xff\xfe", value=None, headers=[("h", b"\xe9"), ("h", b"last")], partition=1)
    producer.send(name, key="clé".encode(), value=b"theirs").get(30)
    producer.flush()
    producer.close()
    bus.publish("t", "clé", b"ours")
    bus.flush()
    messages = {message.value: message for message in bus.read("t")}
    assert messages[b"no key"].key == ""
    assert (messages[b""].key, dict(messages[b""].headers)) == ("\\xff\\xfe", {"h": "last"})
    assert messages[b"theirs"].partition == messages[b"ours"].partition  # one hash for all
    assert len(take_all(bus.subscribe(["t"], "g"))) == 4


def test_lag_of_what_retention_has_removed_is_not_counted(bus, config, control) -> None:
    publish(bus, *(f"a:{number}" for number in range(10)))
    subscription = bus.subscribe(["t"], "g")
    message = take(subscription)
    subscription.ack(message)
    assert bus.lag("t", "g") == 9
    at = TopicPartition(config.prefix + "t", message.partition)
    control.ask(lambda admin: admin.delete_records({at: 6}))
    assert bus.lag("t", "g") == 4
    assert bus.lag("t", "new") == 4
    assert len(list(bus.read("t"))) == 4


def test_nobody_at_the_address_is_unavailable_in_one_line() -> None:
    with socket.socket() as held:  # bound, but nobody listens
        held.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(Unavailable, match=server) as raised:
            KafkaBus(KafkaConfig(bootstrap_servers=(server,), request_timeout_seconds=1.0), client_id="test")
    assert "\n" not in str(raised.value)


def test_close_leaves_no_thread_and_no_socket(config) -> None:
    KafkaBus(config, client_id="warm-up").close()
    threads, files = set(threading.enumerate()), len(list(Path("/proc/self/fd").iterdir()))
    bus = KafkaBus(config, client_id="test")
    publish(bus, "a:1", "b:2")
    polled, joining, unused = (bus.subscribe(["t"], "g") for _ in range(3))
    take(polled)
    joining.poll(0.0)
    reading = bus.read("t")
    next(reading)
    reading.close()
    bus.close()
    bus.close()
    unused.close()
    assert set(threading.enumerate()) == threads
    assert len(list(Path("/proc/self/fd").iterdir())) == files


def test_closed_subscription_says_so(bus) -> None:
    subscription = bus.subscribe(["t"], "g")
    subscription.close()
    subscription.close()
    with pytest.raises(ValueError, match="closed"):
        subscription.poll(0.0)
