"""The topics of a cluster: made with what keeps them safe, looked at, never changed."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from kafka import KafkaAdminClient
from kafka import errors as kafka_errors

from gim.adapters.kafka.client import Control, milliseconds
from gim.adapters.kafka.config import KafkaConfig
from gim.errors import ConfigError, Unavailable

DEAD = ".dead"
_FOR_EVER = "-1"
_SAFE_REPLICAS, _SAFE_IN_SYNC = 3, 2  # so that one broker may be away, and an acknowledged message is on two disks
_LOOKS, _LOOK_SECONDS = 3, 0.5


def ensure_topics(config: KafkaConfig, topics: Sequence[str]) -> list[str]:
    """Make the topics that are missing, and `<topic>.dead` of each; those that exist are left as they are.

    Args:
        config: with the partitions and replicas that they get, and how long they keep a message. Dead letters have one
            partition and are kept for ever.
        topics: without the prefix.

    Returns:
        Those that were made, without the prefix.

    Raises:
        ConfigError: the brokers refuse.
        Unavailable: they cannot be reached.
    """
    wanted = {name: _settings(name, config) for topic in topics for name in dict.fromkeys((topic, topic + DEAD))}
    control = Control(config, "gim-topics")
    try:
        missing = missing_topics(control, config, wanted)
        if missing:
            control.ask(lambda admin: _make(admin, {config.prefix + name: wanted[name] for name in missing}))
        return missing
    finally:
        control.close()


def missing_topics(control: Control, config: KafkaConfig, topics: Iterable[str]) -> list[str]:
    """Which of these topics the cluster has not; names without the prefix."""
    names = list(topics)
    found = control.ask(lambda admin: admin.describe_topics([config.prefix + name for name in names]))
    errors = {topic["name"]: kafka_errors.for_code(topic["error_code"]) for topic in found}
    refused = [
        name.removeprefix(config.prefix)
        for name, error in errors.items()
        if issubclass(error, kafka_errors.AuthorizationError)
    ]
    if refused:
        raise ConfigError(f"Kafka topic {', '.join(refused)}: this user may not use it")
    gone = kafka_errors.UnknownTopicOrPartitionError
    return [name for name in names if errors.get(config.prefix + name, gone) is gone]


def check_topics(control: Control, config: KafkaConfig, topics: Iterable[str]) -> None:
    """Refuse to go on without a topic, which the client would wait for.

    Raises:
        ConfigError: one is missing, or may not be used.
        Unavailable: the brokers cannot be reached.
    """
    wanted = list(topics)
    for look in range(_LOOKS):
        if look:
            time.sleep(_LOOK_SECONDS)  # a broker hears of a new topic a moment after another one made it
        missing = missing_topics(control, config, wanted)
        if not missing:
            return
    names = ", ".join(config.prefix + name for name in missing)
    raise ConfigError(f"Kafka has no topic {names}: make it with `gim cluster init`")


def num_partitions(control: Control, config: KafkaConfig, topic: str) -> int:
    """Of a topic; name without the prefix.

    Raises:
        ConfigError: it is missing, or may not be used.
        Unavailable: the brokers cannot be reached.
    """
    check_topics(control, config, [topic])
    return len(control.ask(lambda admin: admin.describe_topics([config.prefix + topic]))[0]["partitions"])


def _settings(topic: str, config: KafkaConfig) -> dict[str, Any]:
    is_dead = topic.endswith(DEAD)
    for_ever = is_dead or not config.retention_seconds
    retention = _FOR_EVER if for_ever else str(milliseconds(config.retention_seconds))
    return {
        "num_partitions": 1 if is_dead else config.partitions,
        "replication_factor": config.replication_factor or -1,
        "configs": {"retention.ms": retention, "retention.bytes": _FOR_EVER, "cleanup.policy": "delete"},
    }


def _make(admin: KafkaAdminClient, topics: dict[str, dict[str, Any]]) -> None:
    """Make the topics. Another process may make them at the same moment, which is as good."""
    # How many replicas a topic gets may be the brokers' choice. They are asked before it is made, so that there never
    # is one with three replicas of which a single one may acknowledge.
    for planned in _create(admin, topics, validate_only=True):
        wanted = topics[planned["name"]]  # all that is known where one may not see the settings of topics
        if max(planned["replication_factor"], wanted["replication_factor"]) >= _SAFE_REPLICAS:
            wanted["configs"]["min.insync.replicas"] = str(_SAFE_IN_SYNC)
    _create(admin, topics)
    try:
        admin.wait_for_topics(list(topics))
    except kafka_errors.KafkaTimeoutError as error:
        raise Unavailable(f"topics {', '.join(topics)} were made but have no leader yet") from error


def _create(
    admin: KafkaAdminClient, topics: dict[str, dict[str, Any]], *, validate_only: bool = False
) -> list[dict[str, Any]]:
    """What became, or would become, of each topic.

    Raises:
        KafkaError: one is refused for another reason than that it exists.
    """
    answer: list[dict[str, Any]]
    answer = admin.create_topics(topics, raise_errors=False, validate_only=validate_only)["topics"]
    for topic in answer:
        error = kafka_errors.for_code(topic["error_code"])
        if error not in (kafka_errors.NoError, kafka_errors.TopicAlreadyExistsError):
            raise error(f"topic {topic['name']}: {topic['error_message'] or error.description}")
    return answer
