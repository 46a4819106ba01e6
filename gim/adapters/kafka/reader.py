"""Reads what a topic holds, outside of any group: nobody is disturbed, nothing is acknowledged."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from kafka import KafkaConsumer
from kafka.structs import TopicPartition

from gim.adapters.kafka.client import Client, client_arguments, milliseconds, translated_errors
from gim.adapters.kafka.config import KafkaConfig
from gim.errors import Unavailable
from gim.ports.bus import Message

_POLL_SECONDS = 0.5


def read_between(
    config: KafkaConfig, client_id: str, bounds: Mapping[TopicPartition, tuple[int, int]]
) -> Iterator[Message]:
    """Every message that these partitions hold, from an offset of each and below another, in order per partition.

    Raises:
        ConfigError: they may not be read.
        Unavailable: the brokers are away.
    """
    left = {partition: end for partition, (_, end) in bounds.items()}
    if not left:
        return
    arguments = client_arguments(config, client_id) | {
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    }
    client = Client(KafkaConsumer, config, arguments)
    try:
        with translated_errors(config):
            consumer = client.use
            consumer.assign(sorted(left))
            for partition, (first, _) in bounds.items():
                consumer.seek(partition, first)
            heard = time.monotonic()
            while left:
                for partition, records in consumer.poll(timeout_ms=milliseconds(_POLL_SECONDS)).items():
                    for record in records:
                        if record.offset < bounds[partition][1]:
                            yield as_message(record, config.prefix)
                    heard = time.monotonic()
                # The position, and not the last record: what follows it may be no message, or be gone.
                left = {at: end for at, end in left.items() if (consumer.position(at) or 0) < end}
                if time.monotonic() - heard > config.request_timeout_seconds:
                    raise Unavailable(f"Kafka at {','.join(config.bootstrap_servers)}: no answer while reading")
    finally:
        client.close()


def as_message(record: Any, prefix: str, attempt: int = 1) -> Message:
    """One of our messages for one of Kafka's records, whoever wrote it.

    Args:
        record: as the client hands it out.
        prefix: of the topic's name.
        attempt: how often it was handed out.
    """
    return Message(
        topic=record.topic.removeprefix(prefix),
        key=_text(record.key),
        value=record.value or b"",
        headers={name: _text(value) for name, value in record.headers},  # of two of a name the last
        offset=record.offset,
        partition=record.partition,
        attempt=attempt,
    )


def _text(raw: bytes | None) -> str:
    """What is no UTF-8 is shown as such rather than refused: the message can still be told to be bad."""
    return (raw or b"").decode("utf-8", errors="backslashreplace")
