"""The Subscription port on Kafka: one consumer of a group, one message in hand at a time.

Kafka throws a consumer out of its group that does not poll. So a thread polls for it whenever its owner does not:
while a message is in hand, for as long as the owner says within every lease that the work goes on. An owner that hangs
is no member any more, and its message goes to others. The consumer is used by one thread at a time, whichever holds
the lock: the owner's own calls need no hand-over between threads.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from kafka import errors as kafka_errors

from gim.adapters.kafka.client import translated, translated_errors
from gim.adapters.kafka.config import KafkaConfig
from gim.adapters.kafka.membership import Membership, Taken
from gim.adapters.kafka.publisher import Publisher, Record
from gim.adapters.kafka.reader import as_message
from gim.adapters.kafka.topics import DEAD
from gim.ports.bus import Message

_log = logging.getLogger(__name__)
_SLICE_SECONDS = 0.1  # of a longer poll, so that others get their turn at the consumer
_STAY_SECONDS = 0.2  # between two polls on the owner's behalf: how soon a change of the group goes on
_JOIN_SECONDS = 1.0  # at a time, and again: how soon a close is heard
_RETRY_SECONDS = 0.02
_DOUBT_SECONDS = 10.0  # of silence, then we ask whether the brokers are still there: the client does not tell


class KafkaSubscription:
    """A consumer of a group. One thread polls and acknowledges; any may call the rest."""

    def __init__(
        self,
        config: KafkaConfig,
        join: Callable[[], Membership],
        publisher: Publisher,
        count_lag: Callable[[], int],
        check: Callable[[], None],
    ) -> None:
        """Args:
        config: with the lease.
        join: opens a stay in the group.
        publisher: of dead letters.
        count_lag: of the group.
        check: raises what keeps the brokers from serving us.
        """
        self._config = config
        self._join = join
        self._publisher = publisher
        self._count_lag = count_lag
        self._check = check
        self._lock = threading.Lock()  # of what follows
        self._membership: Membership | None = None
        self._taken: Taken | None = None
        self._message: Message | None = None
        self._spoke = self._heard = time.monotonic()
        self._problem: kafka_errors.KafkaError | None = None  # that the stayer met
        self._wanted = threading.Event()  # the stayer: the group has to be joined
        self._closing = threading.Event()
        self._stayer = threading.Thread(target=self._stay, name="gim-kafka-stay", daemon=True)
        self._stayer.start()

    def poll(self, timeout_seconds: float, *, near: str = "") -> Message | None:  # noqa: ARG002 - Kafka cannot choose
        """The next message, or None when none came within the timeout.

        Raises:
            ValueError: a message is in hand, or the subscription was closed.
            ConfigError: the brokers refuse, or a topic is no longer there.
            Unavailable: they are away.
        """
        deadline = time.monotonic() + timeout_seconds
        message = None
        while True:
            left = max(deadline - time.monotonic(), 0.0)
            if self._lock.acquire(timeout=left):  # unless the group is being joined
                try:
                    message = self._take(min(left, _SLICE_SECONDS))
                finally:
                    self._lock.release()
            if message is not None or left <= 0:
                break
            if self._wanted.is_set():
                time.sleep(min(left, _RETRY_SECONDS))
        if message is not None:
            self._heard = time.monotonic()
        elif time.monotonic() - self._heard > _DOUBT_SECONDS:
            self._check()
            self._heard = time.monotonic()
        return message

    def ack(self, message: Message) -> None:
        """Say that the message's effects are durable.

        Raises:
            ValueError: it is not the message in hand.
            Unavailable: the brokers do not take it now; it is still in hand.
        """
        with self._lock:
            membership, taken = self._in_hand(message)
            if membership is not None:
                with translated_errors(self._config):
                    membership.finish(taken)
            self._put_down()

    def dead_letter(self, message: Message, headers: Mapping[str, str]) -> None:
        """Copy the message to `<topic>.dead`, then acknowledge it; nothing of both if it is others' by now.

        Raises:
            ValueError: it is not the message in hand.
            ConfigError: there is no such topic, or it may not be written.
            Unavailable: the brokers do not take it now; it is still in hand.
        """
        with self._lock:
            membership, taken = self._in_hand(message)
            if membership is not None:
                with translated_errors(self._config):
                    if membership.keep(taken):
                        together = {**message.headers, **headers}
                        self._publisher.deliver(Record(message.topic + DEAD, message.key, message.value, together))
                        membership.finish(taken)
            self._put_down()

    def keep_alive(self) -> None:
        """Say that the work in hand goes on."""
        self._spoke = time.monotonic()

    def lag(self) -> int:
        """Messages of the group not acknowledged yet, those in hand included.

        Raises:
            Unavailable: the brokers are away.
        """
        return self._count_lag()

    def close(self) -> None:
        """Leave the group; a message in hand goes to others. A second call does nothing."""
        self._closing.set()
        self._wanted.set()
        self._stayer.join()
        with self._lock:
            self._leave()
            self._message = self._taken = None

    def _take(self, timeout_seconds: float) -> Message | None:
        if self._message is not None:
            raise ValueError(f"{_name(self._message)} is in hand: acknowledge it first")
        if self._closing.is_set():
            raise ValueError("the subscription is closed")
        self._spoke = time.monotonic()
        if self._problem is not None:
            problem, self._problem = self._problem, None
            raise translated(problem, self._config) from problem
        if self._membership is None:
            self._membership = self._join()
        if self._membership.must_join:
            self._wanted.set()
            return None
        try:
            with translated_errors(self._config):
                self._taken = self._membership.take(timeout_seconds)
        finally:
            if self._membership.has_ended:
                self._leave()
        if self._taken is not None:
            self._message = as_message(self._taken.record, self._config.prefix, self._taken.attempt)
        return self._message

    def _in_hand(self, message: Message) -> tuple[Membership | None, Taken]:
        """The message in hand, and the stay in the group that it is of: None if that has ended."""
        if self._message is None or _name(message) != _name(self._message) or self._taken is None:
            raise ValueError(f"{_name(message)} is not in hand")
        self._spoke = time.monotonic()
        return self._membership, self._taken

    def _put_down(self) -> None:
        self._message = self._taken = None
        if self._membership is not None and self._membership.has_ended:
            self._leave()

    def _leave(self) -> None:
        if self._membership is not None:
            self._membership.close()
            self._membership = None

    def _stay(self) -> None:
        """Poll on the owner's behalf, until the subscription closes."""
        while not self._closing.is_set():
            self._wanted.wait(_STAY_SECONDS)
            with self._lock:
                self._wanted.clear()
                try:
                    self._stay_or_leave()
                    self._problem = None
                except kafka_errors.KafkaError as error:
                    self._problem = error  # whoever polls next is told
                except Exception:
                    _log.exception("the stay in a Kafka group has broken off")
                    self._leave()

    def _stay_or_leave(self) -> None:
        if self._membership is None:
            return
        silent_seconds = time.monotonic() - self._spoke
        if silent_seconds > self._config.lease_seconds:
            loses = "its message goes to others" if self._message is not None else "it polls no more"
            _log.warning("nothing was heard of a worker for %.0f s (%s): it leaves its group", silent_seconds, loses)
            self._leave()
            return
        self._membership.stay(_JOIN_SECONDS)
        while self._membership.must_join and not self._closing.is_set():
            self._membership.stay(_JOIN_SECONDS)
        if self._membership.has_ended:
            self._leave()


def _name(message: Message) -> str:
    return f"{message.topic} partition {message.partition} offset {message.offset}"
