"""One stay of a consumer in its group: from joining until it leaves or is thrown out.

A stay that has ended is thrown away with its client, and a new one begins: nothing that was true in one is believed in
the next. Not thread-safe but for what the client's own thread calls while one of ours waits for it.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer
from kafka import errors as kafka_errors
from kafka.structs import OffsetAndMetadata, TopicPartition

from gim.adapters.kafka.assignor import StickyAssignor
from gim.adapters.kafka.client import Client, milliseconds
from gim.adapters.kafka.config import KafkaConfig
from gim.errors import Unavailable

_CLOSE_SECONDS = 5.0
_HEARTBEAT_SECONDS = 1.0  # how soon a member hears that the group changes; Kafka's own 3 s make every change slow
_RETRY_SECONDS = 0.02
_JOIN_SECONDS = 1.0
_ATTEMPT = "gim-attempt={}"
_ATTEMPT_OF = re.compile(r"gim-attempt=(\d{1,6})")
_NOT_A_MEMBER = (
    kafka_errors.CommitFailedError,
    kafka_errors.UnknownMemberIdError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.FencedInstanceIdError,
)


@dataclass(frozen=True, slots=True)
class Taken:
    """A record that was taken in hand, and how often the group has been handed it."""

    record: Any  # kafka's ConsumerRecord
    partition: TopicPartition
    attempt: int


class Membership:
    """A consumer of a group, as the group sees it."""

    def __init__(self, config: KafkaConfig, arguments: dict[str, Any], topics: Sequence[str], group: str) -> None:
        """Connect; the group is joined by the first `stay`.

        Args:
            config: with the timeouts.
            arguments: as of `client_arguments`.
            topics: as Kafka names them.
            group: as Kafka names it.

        Raises:
            ConfigError: the brokers refuse who we are.
            Unavailable: no broker answers.
        """
        self._config = config
        self._topics = tuple(topics)
        self._group = group
        self._in_hand: TopicPartition | None = None
        self._known: set[TopicPartition] = set()  # no other member has had a message of it since we have
        self._has_joined = self._has_owned = False
        self._ended = False
        assignor = StickyAssignor(lambda: self._in_hand, self._is_known_to_group)
        session = config.session_timeout_seconds
        settings = arguments | {
            "group_id": group,
            "session_timeout_ms": milliseconds(session),
            "heartbeat_interval_ms": milliseconds(min(_HEARTBEAT_SECONDS, session / 4)),
            "max_poll_interval_ms": milliseconds(config.max_poll_interval_seconds),
            "partition_assignment_strategy": [assignor],
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }
        self._client = Client(KafkaConsumer, config, settings)
        self._consumer = self._client.use
        self._coordinator = self._consumer._coordinator  # noqa: SLF001 - to take part in the group without fetching
        self._consumer.subscribe(topics=list(topics), listener=_Listener(self))

    @property
    def has_ended(self) -> bool:
        """Whether the group gave what was ours to others; a message in hand is then theirs."""
        return self._ended

    @property
    def must_join(self) -> bool:
        """Whether the group changes, or has not been joined yet; meanwhile nothing is taken or finished."""
        return not self._ended and (self._coordinator.need_rejoin() or self._coordinator.rebalance_in_progress())

    def take(self, timeout_seconds: float) -> Taken | None:
        """Take the next record in hand; None when there is none in time, or when the stay has ended.

        Raises:
            KafkaError: of the client.
        """
        found = self._consumer.poll(timeout_ms=milliseconds(timeout_seconds), max_records=1)
        for partition, records in found.items():
            if not self._ended:
                return self._take_in_hand(partition, records[0])
        return None

    def stay(self, timeout_seconds: float) -> None:
        """Show the group that we live, and take part in its change if there is one.

        Joining is not for a `take` with its short times: when the client (kafka-python 3.0.12) gives up for want of
        time and the group has settled before it is asked again, it forgets that and has everybody join once more, or
        even believes that it need not join.

        Raises:
            KafkaError: of the client.
        """
        deadline = time.monotonic() + timeout_seconds
        # A leader that has not heard of the partitions would give out none, and all would have to join again.
        cluster = self._client.cluster
        while not self._has_joined and not all(cluster.partitions_for_topic(topic) for topic in self._topics):
            if time.monotonic() >= deadline:
                return
            time.sleep(_RETRY_SECONDS)
        if self._coordinator.rebalance_in_progress():
            self._coordinator.request_rejoin()
        self._coordinator.poll(timeout_ms=milliseconds(max(deadline - time.monotonic(), 0.0)))
        self._has_joined = self._has_joined or not self.must_join

    def keep(self, taken: Taken) -> bool:
        """Write down that the record is in hand, this often. Returns whether it still is ours.

        Raises:
            Unavailable: it cannot be written.
        """
        return self._commit(taken.partition, taken.record.offset, _ATTEMPT.format(taken.attempt))

    def finish(self, taken: Taken) -> bool:
        """Write down that the record is done with. Returns whether it still was ours.

        Raises:
            Unavailable: it cannot be written; the record is still in hand.
        """
        is_ours = self._commit(taken.partition, taken.record.offset + 1, "")
        self._in_hand = None
        return is_ours

    def close(self) -> None:
        """Leave the group. A second call does nothing."""
        self._ended = True
        self._client.close(timeout_ms=milliseconds(_CLOSE_SECONDS))

    def _take_in_hand(self, partition: TopicPartition, record: Any) -> Taken | None:
        self._in_hand = partition  # from here on the group lets us have it
        try:
            attempt = 1
            if partition not in self._known:
                done, attempt = self._history(partition, record.offset)
                self._known.add(partition)
                if done > record.offset:  # by whoever had the partition before us
                    self._release(partition, done)
                    return None
            taken = Taken(record, partition, attempt)
            if self.keep(taken):
                return taken
        except BaseException:
            self._release(partition, record.offset)
            raise
        self._release(partition, record.offset)
        return None

    def _history(self, partition: TopicPartition, offset: int) -> tuple[int, int]:
        """Up to where the group is done with a partition, and which attempt at the record at `offset` comes now."""
        timeout_ms = milliseconds(self._config.request_timeout_seconds)
        committed = self._consumer.committed(partition, metadata=True, timeout_ms=timeout_ms)
        if committed is None:
            return 0, 1
        before = _ATTEMPT_OF.fullmatch(committed.metadata or "")
        return committed.offset, int(before[1]) + 1 if before and committed.offset == offset else 1

    def _commit(self, partition: TopicPartition, offset: int, metadata: str) -> bool:
        """Returns whether the partition still is ours; waits for a change of the group to be over.

        Raises:
            Unavailable: the brokers do not take it in time.
        """
        deadline = time.monotonic() + self._config.request_timeout_seconds
        position = {partition: OffsetAndMetadata(offset, metadata, -1)}
        while not self._ended:
            try:
                left = max(deadline - time.monotonic(), 0.001)
                self._consumer.commit(position, timeout_ms=milliseconds(left))
            except (kafka_errors.RebalanceInProgressError, *_NOT_A_MEMBER) as error:
                self._is_known_to_group()
                if time.monotonic() > deadline:
                    raise Unavailable(f"Kafka group {self._group} is in change: {error}") from error
                self.stay(min(left, _JOIN_SECONDS))
                time.sleep(_RETRY_SECONDS)
            else:
                return True
        return False

    def _release(self, partition: TopicPartition, offset: int) -> None:
        self._in_hand = None
        if partition in self._consumer.assignment():
            self._consumer.seek(partition, offset)

    # --- called by the client's thread while one of ours waits in it ---

    def _is_known_to_group(self) -> bool:
        is_known = self._consumer.group_metadata().generation_id >= 0
        if self._has_owned and not is_known:  # thrown out, and the client is about to join as somebody new
            self._ended = True
        return is_known and not self._ended

    def has_been_given(self) -> None:
        """Partitions, so that there is something to lose."""
        self._has_owned = True

    def has_lost(self, partitions: set[TopicPartition], *, thrown_out: bool) -> None:
        """These partitions; a message in hand of one of them is lost."""
        self._known -= partitions
        if thrown_out or self._in_hand in partitions:
            self._ended = True


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the client has no types
    def __init__(self, membership: Membership) -> None:
        self._membership = membership

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._membership.has_lost(revoked, thrown_out=False)

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:  # noqa: ARG002 - found out when taken from
        self._membership.has_been_given()

    def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        self._membership.has_lost(lost, thrown_out=True)
