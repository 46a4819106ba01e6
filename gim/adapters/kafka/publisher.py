"""Sends messages to Kafka so that none is lost in silence: what was not delivered is kept, or its sender is told."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from gim.adapters.kafka.client import Client, Control, client_arguments, milliseconds, translated
from gim.adapters.kafka.config import KafkaConfig
from gim.adapters.kafka.partitioner import TurnPartitioner
from gim.adapters.kafka.topics import check_topics
from gim.errors import GimError, InvalidInput

_CLOSE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Record:
    """One message on its way out."""

    topic: str  # without the prefix
    key: str
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Publisher:
    """An idempotent producer, `acks=all`. Any thread may use it; one at a time delivers."""

    def __init__(self, config: KafkaConfig, client_id: str, control: Control) -> None:
        self._config = config
        self._control = control
        self._arguments = client_arguments(config, client_id) | {
            "enable_idempotence": True,
            "acks": "all",
            "delivery_timeout_ms": milliseconds(config.delivery_timeout_seconds),
            "max_block_ms": milliseconds(config.request_timeout_seconds),
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
            "partitioner": TurnPartitioner(),
        }
        self._guard = threading.Lock()
        self._delivering = threading.Lock()
        self._client: Client | None = None
        self._known_topics: set[str] = set()
        self._unsent: list[Record] = []

    def put(self, record: Record) -> None:
        """Take a message for the next `flush`; it always succeeds."""
        with self._guard:
            self._unsent.append(record)

    def flush(self) -> None:
        """Deliver what was put. What could not be delivered is kept, and all of its key that came after it.

        Raises:
            ConfigError: a topic is missing or may not be written.
            InvalidInput: a message is too large; it is dropped.
            Unavailable: the brokers cannot take it now.
        """
        with self._delivering:
            with self._guard:
                records, self._unsent = self._unsent, []
            left = records
            try:
                left, problem = self._deliver(records)
            finally:
                with self._guard:
                    self._unsent[:0] = left
        if problem is not None:
            raise problem

    def deliver(self, record: Record) -> None:
        """Deliver one message now; it is not kept when that fails.

        Raises:
            ConfigError: the topic is missing or may not be written.
            InvalidInput: it is too large.
            Unavailable: the brokers cannot take it now.
        """
        with self._delivering:
            _, problem = self._deliver([record])
        if problem is not None:
            raise problem

    def close(self) -> None:
        """Release the connections; what was not flushed is lost."""
        with self._delivering:
            self._close()

    def _deliver(self, records: Sequence[Record]) -> tuple[list[Record], GimError | None]:
        """Returns those that have to be delivered again, and the first problem there was."""
        if not records:
            return [], None
        try:
            self._check_topics(records)
            if self._client is None:
                self._client = Client(KafkaProducer, self._config, self._arguments)
        except GimError as refusal:
            return list(records), refusal
        left: list[Record] = []
        problems: list[GimError] = []
        failed_keys: set[tuple[str, str]] = set()
        for record, outcome in self._send(self._client.use, records):
            problem = self._problem_of(outcome)
            if problem is not None:
                problems.append(problem)
            too_large = isinstance(problem, InvalidInput)
            key = (record.topic, record.key)
            if (problem is not None and not too_large) or key in failed_keys:
                failed_keys.add(key)
                left.append(record)
        if left:
            self._close()  # a new client has forgotten what the old one knew of sequences and topics
        return left, problems[0] if problems else None

    def _send(self, producer: KafkaProducer, records: Sequence[Record]) -> list[tuple[Record, Any]]:
        """Hand all of them over; of each the promise, or the error. After one that blocked no other is tried."""
        outcomes: list[tuple[Record, Any]] = []
        blocked: kafka_errors.KafkaError | None = None
        for record in records:
            outcome: Any = blocked
            if blocked is None:
                try:
                    outcome = producer.send(
                        self._config.prefix + record.topic,
                        key=record.key.encode(),
                        value=record.value,
                        headers=[(name, text.encode()) for name, text in record.headers.items()],
                    )
                except kafka_errors.MessageSizeTooLargeError as error:
                    outcome = error
                except kafka_errors.KafkaError as error:
                    outcome = blocked = error
            outcomes.append((record, outcome))
        return outcomes

    def _problem_of(self, outcome: Any) -> GimError | None:
        """Wait for a promise to be kept."""
        if not isinstance(outcome, kafka_errors.KafkaError):
            try:
                # The client gives up by itself after the first of the two.
                outcome.get(self._config.delivery_timeout_seconds + self._config.request_timeout_seconds)
            except kafka_errors.KafkaError as error:
                return translated(error, self._config)
            return None
        return translated(outcome, self._config)

    def _check_topics(self, records: Sequence[Record]) -> None:
        unknown = {record.topic for record in records} - self._known_topics
        if unknown:
            check_topics(self._control, self._config, sorted(unknown))
            self._known_topics |= unknown

    def _close(self) -> None:
        self._known_topics.clear()
        if self._client is not None:
            self._client.close(timeout=_CLOSE_SECONDS)
            self._client = None
