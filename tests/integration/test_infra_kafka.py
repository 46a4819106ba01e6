"""Clusters of Kafka that tests may break, seen through the project's own bus."""

from contextlib import closing

import pytest
from kafka.admin import ConfigResource, ConfigResourceType

import infra.kafka
from gim.adapters.kafka.bus import KafkaBus
from gim.adapters.kafka.client import Control
from gim.adapters.kafka.config import KafkaConfig
from gim.adapters.kafka.topics import ensure_topics
from gim.errors import ConfigError
from infra.kafka.wire import ask_metadata
from tests.servers import needs_tool

TOPIC = "gim.segments.v1"

pytestmark = pytest.mark.slow


def config_of(servers, **options) -> KafkaConfig:
    return KafkaConfig(bootstrap_servers=tuple(servers), partitions=1, **options)


def publish(bus, numbers):
    for number in numbers:
        bus.publish(TOPIC, str(number), str(number).encode())
    bus.flush()


def numbers_in(bus):
    return sorted(int(message.value) for message in bus.read(TOPIC))


def settings_of(config, topics, name):
    with closing(Control(config, "test")) as control:
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
        described = control.ask(lambda admin: admin.describe_configs(resources, config_filter="all"))["topic"]
    return [described[topic][name]["value"] for topic in topics]


def test_a_broker_that_is_killed_comes_back_with_its_messages(own_kafka):
    cluster = own_kafka()
    config = config_of(cluster.bootstrap_servers)
    ensure_topics(config, [TOPIC])
    with closing(KafkaBus(config, client_id="test")) as bus:
        publish(bus, range(50))
    cluster.kill()
    (broker,) = cluster.brokers
    assert broker.pid is None
    assert ask_metadata(broker.host, broker.ports["client"]) is None
    cluster.restart()
    with closing(KafkaBus(config, client_id="test")) as bus:
        assert numbers_in(bus) == list(range(50))


def test_of_three_brokers_one_may_be_lost_and_comes_back(own_kafka):
    cluster = own_kafka(brokers=3)
    config = config_of(cluster.bootstrap_servers)
    ensure_topics(config, [TOPIC])
    assert settings_of(config, [TOPIC, TOPIC + ".dead"], "min.insync.replicas") == ["2", "2"]
    with closing(KafkaBus(config, client_id="test")) as bus:
        publish(bus, range(20))
        cluster.kill(2)
        publish(bus, range(20, 40))
        assert numbers_in(bus) == list(range(40))
        cluster.restart(2)
        assert cluster.brokers[1].lists(cluster.brokers)
        publish(bus, range(40, 60))
        assert numbers_in(bus) == list(range(60))


def test_users_log_in_and_may_do_nothing_that_was_not_granted(own_kafka, tmp_path):
    cluster = own_kafka(users={"somebody": "a-secret"})
    ensure_topics(config_of(cluster.admin_servers), [TOPIC])

    def login(password: str) -> KafkaConfig:
        (tmp_path / password).write_text(password)
        security = {"security_protocol": "SASL_PLAINTEXT", "sasl_username": "somebody"}
        return config_of(
            cluster.bootstrap_servers,
            sasl_password_file=str(tmp_path / password),
            request_timeout_seconds=20.0,
            **security,
        )

    with pytest.raises(ConfigError, match="refuses"):
        KafkaBus(login("another-secret"), client_id="test")
    bus = KafkaBus(login("a-secret"), client_id="test")
    with pytest.raises(ConfigError):
        publish(bus, [1])
    with pytest.raises(ConfigError):  # what may not be delivered stays with the bus that it was given to
        bus.close()
    with closing(KafkaBus(config_of(cluster.admin_servers), client_id="test")) as bus:
        assert numbers_in(bus) == []


def test_a_data_folder_whose_making_was_interrupted_is_made_again(tmp_path):
    needs_tool("kafka")
    (tmp_path / "kafka" / "broker-1" / "data").mkdir(parents=True)
    (tmp_path / "kafka" / "broker-1" / "data" / "meta.properties").write_text("cluster.id=half")
    with infra.kafka.start(tmp_path / "kafka") as cluster:
        assert cluster.is_ready
