"""The access rules made of `services/*/access.toml`, on a Kafka that denies what no rule allows."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import certifi
import pytest

from gim.adapters.kafka.acls import apply_rules, remove_rules
from gim.adapters.kafka.bus import KafkaBus
from gim.adapters.kafka.config import KafkaConfig
from gim.adapters.kafka.topics import ensure_topics
from gim.errors import ConfigError
from gim.runtime.access import kafka_rules, read_access, service_names
from gim.wire import topics
from tests.architecture.tree import ROOT
from tests.integration.secured_kafka import ADMINISTRATOR, SecuredKafka, running_secured_kafka

SERVICES = ROOT / "services"
NAMES = service_names(SERVICES)
GROUPS = ("ingest", "label-rootsift", "propagate", "evaluate", "evaluate-shards", "another")
DEAD = tuple(topic + topics.DEAD_SUFFIX for topic in topics.ALL)
PREFIX = "site1."
# One by default; the others take a minute.
EACH = [pytest.param(name, marks=() if name == "matcher" else pytest.mark.slow) for name in NAMES]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """Running, with the topics of a system that has a prefix, and every service's rules applied."""
    users = [f"gim-{name}" for name in NAMES]
    with running_secured_kafka(tmp_path_factory.mktemp("kafka"), users) as running:
        administrator = running.config(ADMINISTRATOR, prefix=PREFIX)
        ensure_topics(administrator, topics.ALL)
        rules = [rule for name in NAMES for rule in kafka_rules(read_access(SERVICES, name), prefix=PREFIX)]
        apply_rules(administrator, rules)
        with closing(KafkaBus(administrator, client_id="test")) as bus:
            for topic in (*topics.ALL, *DEAD):
                publish(bus, topic)
        yield running


def bus_of(kafka: SecuredKafka, service: str) -> KafkaBus:
    return KafkaBus(kafka.config(f"gim-{service}", prefix=PREFIX), client_id=f"test-{service}")


def is_allowed(action: Callable[[], object]) -> bool:
    try:
        action()
    except ConfigError as error:
        assert_one_line(error)
        return False
    return True


def assert_one_line(error: BaseException) -> None:
    assert "\n" not in str(error)


def publish(bus: KafkaBus, topic: str) -> None:
    bus.publish(topic, "key", b"value")
    bus.flush()


@pytest.mark.parametrize("service", EACH)
def test_a_service_writes_and_reads_the_topics_it_states_and_no_others(kafka: SecuredKafka, service: str) -> None:
    stated = read_access(SERVICES, service).topics
    everything = (*topics.ALL, *DEAD)
    written, read = set(), set()
    for topic in everything:
        # A bus of its own: what may not be delivered stays with the bus that it was given to.
        bus = bus_of(kafka, service)
        if is_allowed(lambda bus=bus, topic=topic: publish(bus, topic)):
            written.add(topic)
            bus.close()
        else:
            with pytest.raises(ConfigError):
                bus.close()
    with closing(bus_of(kafka, service)) as bus:
        for topic in everything:
            if is_allowed(lambda topic=topic: list(bus.read(topic))):
                read.add(topic)
    is_person = service == "operator"
    assert written == set(everything if is_person else stated.write)
    assert read == set(everything if is_person else stated.read)


@pytest.mark.parametrize("service", EACH)
def test_a_service_works_in_the_groups_it_states_and_in_no_others(kafka: SecuredKafka, service: str) -> None:
    stated = read_access(SERVICES, service).topics
    joined, watched = set(), set()
    topic = next(iter(stated.read), "").replace("gim.*", topics.INGEST) or topics.PAIRS
    with closing(bus_of(kafka, service)) as bus:
        for group in GROUPS:
            if is_allowed(lambda group=group: consume(bus, topic, group)):
                joined.add(group)
            if is_allowed(lambda group=group: bus.lag(topics.SEGMENTS, group)):
                watched.add(group)
    expected = {"downloader": {"ingest"}, "matcher": {"label-rootsift"}, "propagator": {"propagate"}}
    expected |= {"evaluator": {"evaluate", "evaluate-shards"}}
    assert joined == expected.get(service, set())
    # To know how far a group is takes the right to see its topic, too.
    seen = {"downloader": {"ingest", "label-rootsift"}, "matcher": {"label-rootsift"}, "operator": set(GROUPS)}
    assert watched == seen.get(service, set())


def consume(bus: KafkaBus, topic: str, group: str) -> None:
    """One message done, and one dead-lettered."""
    with closing(bus.subscribe([topic], group)) as subscription:
        message = subscription.poll(30.0)
        assert message is not None
        subscription.keep_alive()
        subscription.dead_letter(message, {"error": "InvalidInput"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda kafka: kafka.config("gim-matcher", "wrong-0xC0FFEE"), "refuses"),
        (lambda kafka: replace(kafka.config("gim-matcher"), sasl_username="nobody"), "refuses"),
        (lambda kafka: replace(kafka.config("gim-matcher"), sasl_mechanism="PLAIN"), "UnsupportedSaslMechanism"),
        (lambda kafka: kafka.config("gim-matcher", ca_file=certifi.where()), "TLS fails: self-signed certificate"),
        (lambda kafka: kafka.config("gim-matcher", ca_file=""), "TLS fails: self-signed certificate"),
    ],
    ids=["password", "user", "mechanism", "other authority", "system authorities"],
)
def test_who_cannot_prove_who_it_is_gets_one_line(
    kafka: SecuredKafka, change: Callable[[SecuredKafka], KafkaConfig], message: str
) -> None:
    config = replace(change(kafka), request_timeout_seconds=5.0)
    with pytest.raises(ConfigError, match=message) as raised:
        KafkaBus(config, client_id="test")
    assert_one_line(raised.value)
    assert "0xC0FFEE" not in str(raised.value)
    assert kafka.passwords["gim-matcher"] not in str(raised.value)


def test_rules_are_made_exactly_what_is_stated_and_only_by_who_may(kafka: SecuredKafka) -> None:
    administrator = kafka.config(ADMINISTRATOR, prefix=PREFIX)
    access = read_access(SERVICES, "matcher")
    rules = kafka_rules(access, principal="User:new", prefix=PREFIX)

    assert apply_rules(administrator, rules).added == rules
    again = apply_rules(administrator, rules)
    assert (again.added, again.removed) == ([], [])
    fewer = apply_rules(administrator, rules[1:])
    assert fewer.removed == [f"User:new allow read group {PREFIX}label-*"]
    with pytest.raises(ConfigError, match="refuses"):
        apply_rules(kafka.config("gim-operator"), rules)
    remove_rules(administrator, ["User:new"])
    assert apply_rules(administrator, rules).added == rules
    remove_rules(administrator, ["User:new"])
