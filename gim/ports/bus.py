"""The Bus port: at-least-once delivery of small messages to groups of consumers. A doorbell, never the truth.

Contract (tests/contract/bus_contract.py, run by every adapter):
- at least once; order kept per key; groups are independent; within a group one consumer holds a key at a time;
- what was published is durable after `flush()`;
- a message that was not acknowledged comes back after its consumer crashed or closed;
- a subscription has one message in hand at a time: `poll` while there is one, and `ack` or `dead_letter` of any other,
  raise `ValueError`;
- a consumer that was silent for longer than the lease may lose its message to another; acknowledging it late is no
  error and changes nothing;
- `poll` returns None within its timeout when there is nothing to do;
- how often a message was handed out survives the consumer's crash, so that one that kills its workers can be told;
- `dead_letter` copies the original bytes to `<topic>.dead` with headers that say why, and acknowledges.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One delivered message."""

    topic: str
    key: str
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    offset: int = 0  # position in the topic, or in its partition, ascending
    attempt: int = 1  # how often this group has been handed it, this delivery included
    partition: int = 0  # of the topic; with the offset it names one message


class Subscription(Protocol):
    """One consumer of a group."""

    def poll(self, timeout_seconds: float, *, near: str = "") -> Message | None:
        """The next message, or None when none came within the timeout.

        Args:
            timeout_seconds: how long to wait for one.
            near: of the messages that may be handed out now, one whose key begins with this is preferred; a bus that
                cannot choose takes no notice.

        Raises:
            ValueError: a message is in hand.
            Unavailable: the bus cannot be reached.
        """

    def ack(self, message: Message) -> None:
        """Say that the message's effects are durable; it will not come back to this group.

        Raises:
            ValueError: it is not the message in hand.
        """

    def dead_letter(self, message: Message, headers: Mapping[str, str]) -> None:
        """Move the message, bytes and headers as they are plus these, durably to `<topic>.dead`, and acknowledge it."""

    def keep_alive(self) -> None:
        """Say that the work in hand goes on; called from any thread, at least every 10 seconds."""

    def lag(self) -> int:
        """Messages of the group not acknowledged yet, those in hand included."""

    def close(self) -> None:
        """Leave the group; an unacknowledged message goes to others. A second call does nothing."""


class Bus(Protocol):
    """A set of topics."""

    def publish(self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Hand a message over; durable after the next `flush`."""

    def flush(self) -> None:
        """Return once everything published is durable.

        Raises:
            Unavailable: the bus cannot take it now.
        """

    def subscribe(self, topics: Sequence[str], group: str) -> Subscription:
        """Join a group that starts at the earliest message."""

    def read(self, topic: str, group: str = "") -> Iterator[Message]:
        """Every message that the topic still holds by now, in order per key, without a part in a group or an effect.

        Args:
            topic: to read.
            group: of whose messages those are left out that it has acknowledged; empty: all are given.

        Raises:
            Unavailable: the bus cannot be reached.
        """

    def lag(self, topic: str, group: str) -> int:
        """Messages of a topic that a group has not acknowledged yet; all that it holds for a group never seen.

        Raises:
            Unavailable: the bus cannot be reached.
        """

    def close(self) -> None:
        """Close the subscriptions, flush, and release everything. A second call does nothing."""
