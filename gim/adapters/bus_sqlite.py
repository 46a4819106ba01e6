"""The Bus as one SQLite file, shared by the threads and processes of one machine.

Each group has its own list of pending messages. A consumer claims the first pending message of a key that nobody in
its group holds, so order per key is kept and keys run in parallel. A claim says which process holds it and when it was
last heard of: the work of a process that is dead comes back at once, that of one that cannot be asked, or hangs, comes
back when its lease is over.

SQLite's WAL needs shared memory, so the file lies on a local disk, not on a network share.
"""

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gim.adapters.bus_sqlite_file import BUSY_SECONDS, BusFile
from gim.adapters.liveness import ProcessIdentity, is_dead, this_process
from gim.ports.bus import Message

DEAD = ".dead"
LEASE_SECONDS = 60.0
_LOOK_FOR_LOST_SECONDS = 0.2
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.001, 0.05
_READ_AT_ONCE = 1000

_NEXT = """
SELECT offset, key FROM pending AS p WHERE name = ? AND topic = ? AND substr(key, 1, length(?)) = ? AND NOT EXISTS
    (SELECT 1 FROM claims AS c WHERE c.name = p.name AND c.topic = p.topic AND c.key = p.key)
ORDER BY offset LIMIT 1
"""
# A consumer whose lease was over may finish late: then the message belongs to whoever claimed it since.
_FORGET = """
DELETE FROM pending AS p WHERE name = ? AND topic = ? AND offset = ? AND NOT EXISTS
    (SELECT 1 FROM claims AS c WHERE c.name = p.name AND c.topic = p.topic AND c.key = p.key AND c.offset = p.offset)
"""


class SqliteBus:
    """The Bus port over one file. Any thread may use it; another process opens its own."""

    def __init__(
        self,
        path: Path,
        *,
        lease_seconds: float = LEASE_SECONDS,
        busy_seconds: float = BUSY_SECONDS,
        survive_power_cut: bool = True,
    ) -> None:
        """Open the bus at `path`, or make it.

        Args:
            path: the file; its folder is made. SQLite keeps `-wal` and `-shm` files beside it.
            lease_seconds: how long a consumer may be silent before its work is given to others.
            busy_seconds: how long to wait for another process's write.
            survive_power_cut: whether `flush` waits for the disk; without, a message survives any crash of a process.

        Raises:
            ConfigError: the file is something else, or a bus of another schema.
            Unavailable: the disk is full, read-only or forbidden, or the file stays locked.
        """
        self._file = BusFile(Path(path), busy_seconds=busy_seconds, survive_power_cut=survive_power_cut)
        self._lease_seconds = lease_seconds
        self._unsent: list[tuple[str, str, bytes, str]] = []
        self._subscriptions: list[SqliteSubscription] = []

    def publish(self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None) -> None:
        row = (topic, key, value, _encode(headers or {}))
        with self._file.reading():
            self._unsent.append(row)

    def flush(self) -> None:
        """Write what was published in one transaction; what could not be written stays for the next call."""
        with self._file.reading():
            if not self._unsent:
                return
            with self._file.writing(durably=True):
                for row in self._unsent:
                    _insert(self._file, *row)
            self._unsent.clear()

    def subscribe(self, topics: Sequence[str], group: str) -> "SqliteSubscription":
        with self._file.writing(durably=True):
            for topic in topics:
                if self._file.execute("INSERT OR IGNORE INTO groups VALUES (?, ?)", topic, group).rowcount:
                    self._file.execute(
                        "INSERT INTO pending (name, topic, offset, key) "
                        "SELECT ?, topic, offset, key FROM messages WHERE topic = ?",
                        group,
                        topic,
                    )
            subscription = SqliteSubscription(self._file, tuple(topics), group, self._lease_seconds)
            self._subscriptions.append(subscription)
            return subscription

    def read(self, topic: str, group: str = "") -> Iterator[Message]:
        """Every message that the topic still holds by now, in order; of a group's, those that are not acknowledged."""
        with self._file.reading():
            newest = self._file.execute("SELECT MAX(offset) FROM messages WHERE topic = ?", topic).fetchone()[0]
            of_group = group if self._is_known(topic, group) else ""  # one never seen has acknowledged nothing
        return self._read(topic, newest or 0, of_group)

    def lag(self, topic: str, group: str) -> int:
        """Messages of a topic that a group has not acknowledged yet; all that it holds for a group never seen."""
        with self._file.reading():
            if self._is_known(topic, group):
                return _count_pending(self._file, topic, group)
            return int(self._file.execute("SELECT COUNT(*) FROM messages WHERE topic = ?", topic).fetchone()[0])

    def close(self) -> None:
        """Close the subscriptions, flush, and release the file; a second call does nothing."""
        try:
            while self._subscriptions:
                self._subscriptions.pop().close()
            self.flush()
        finally:
            self._file.close()

    def _is_known(self, topic: str, group: str) -> bool:
        found = self._file.execute("SELECT 1 FROM groups WHERE topic = ? AND name = ?", topic, group).fetchone()
        return found is not None

    def _read(self, topic: str, newest: int, group: str) -> Iterator[Message]:
        """In portions, so that others may write while somebody reads a long topic."""
        all_of_it = "FROM messages AS held WHERE held.topic = ?"
        of_group = "FROM pending AS held JOIN messages USING (offset) WHERE held.name = ? AND held.topic = ?"
        which, names = (of_group, (group, topic)) if group else (all_of_it, (topic,))
        offset = 0
        while True:
            with self._file.reading():
                rows = self._file.execute(
                    f"SELECT offset, held.key, value, headers {which} AND held.offset > ? AND held.offset <= ? "
                    "ORDER BY held.offset LIMIT ?",
                    *(*names, offset, newest, _READ_AT_ONCE),
                ).fetchall()
            if not rows:
                return
            for offset, key, value, headers in rows:
                yield Message(topic, key, value, json.loads(headers), offset)

    # --- for tools and the embedded runtime, beyond the port ----------------------------------------------------------

    def topics(self) -> dict[str, int]:
        """Every topic with the number of messages it holds."""
        with self._file.reading():
            rows = self._file.execute("SELECT topic, COUNT(*) FROM messages GROUP BY topic ORDER BY topic").fetchall()
        return dict(rows)

    def bury(self, topic: str, offset: int, group: str, headers: Mapping[str, str]) -> bool:
        """Make a message dead for a group from outside, even while a consumer has it in hand.

        Returns:
            Whether the group had not acknowledged it yet.
        """
        with self._file.writing(durably=True):
            self._file.execute("DELETE FROM claims WHERE name = ? AND topic = ? AND offset = ?", group, topic, offset)
            return _kill(self._file, group, topic, offset, headers)

    def compact(self) -> int:
        """Drop the messages that every group of their topic has acknowledged, and give their space back.

        Topics without a group, dead letters among them, are left alone. A group that joins later starts at the
        earliest message that is left. Returns how many messages were dropped.
        """
        with self._file.writing():
            dropped = self._file.execute(
                "DELETE FROM messages WHERE topic IN (SELECT topic FROM groups) "
                "AND offset NOT IN (SELECT offset FROM pending)"
            ).rowcount
        self._file.shrink()
        return dropped


class SqliteSubscription:
    """The Subscription port: one consumer, one message in hand at a time."""

    def __init__(self, file: BusFile, topics: tuple[str, ...], group: str, lease_seconds: float) -> None:
        self._file = file
        self._topics = topics
        self._group = group
        self._lease_seconds = lease_seconds
        self._consumer = uuid.uuid4().hex
        self._process = this_process()
        self._in_hand: Message | None = None
        self._nothing_at: tuple[int, int] | None = None  # the bus's stamp when there was last nothing to do
        self._looked_for_lost = 0.0

    def poll(self, timeout_seconds: float, *, near: str = "") -> Message | None:
        """The next message, or None when none came within the timeout; waiting costs next to no processor time.

        Of free keys those that begin with `near` come first, then the oldest.

        Raises:
            ValueError: a message is in hand.
        """
        if self._in_hand is not None:
            raise ValueError(f"{self._in_hand.topic} offset {self._in_hand.offset} is in hand: acknowledge it first")
        deadline = time.monotonic() + timeout_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            self._in_hand = self._take(near)
            left = deadline - time.monotonic()
            if self._in_hand is not None or left <= 0:
                return self._in_hand
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def ack(self, message: Message) -> None:
        """Say that the message's effects are durable.

        Raises:
            ValueError: it is not the message in hand.
        """
        self._check_in_hand(message)
        with self._file.writing():
            self._unclaim()
            self._file.execute(_FORGET, self._group, message.topic, message.offset)
        self._in_hand = None

    def dead_letter(self, message: Message, headers: Mapping[str, str]) -> None:
        """Move the message to `<topic>.dead` and acknowledge it, in one transaction.

        Raises:
            ValueError: it is not the message in hand.
        """
        self._check_in_hand(message)
        with self._file.writing(durably=True):
            self._unclaim()
            _kill(self._file, self._group, message.topic, message.offset, headers)
        self._in_hand = None

    def keep_alive(self) -> None:
        with self._file.writing():
            self._file.execute("UPDATE claims SET renewed = ? WHERE consumer = ?", time.time(), self._consumer)

    def lag(self) -> int:
        with self._file.reading():
            return sum(_count_pending(self._file, topic, self._group) for topic in self._topics)

    def close(self) -> None:
        """Give the message in hand back; a second call does nothing."""
        if self._in_hand is not None:
            with self._file.writing():
                self._unclaim()
            self._in_hand = None

    def _check_in_hand(self, message: Message) -> None:
        if self._in_hand is None or message.offset != self._in_hand.offset:
            raise ValueError(f"{message.topic} offset {message.offset} is not in hand")

    def _take(self, near: str) -> Message | None:
        with self._file.reading():
            self._release_lost()
            stamp = self._file.stamp()
            if stamp == self._nothing_at:
                return None
            if self._next("") is None:  # looked for without the write lock first: the idle must not hinder the busy
                self._nothing_at = stamp
                return None
            with self._file.writing():
                found = self._next(near)
                return self._claim(*found) if found else None

    def _next(self, near: str) -> tuple[int, str, str] | None:
        """Offset, topic and key of the oldest message whose key is free, if possible with a key that begins so."""
        found = [
            (row[0], topic, row[1])
            for topic in self._topics
            if (row := self._file.execute(_NEXT, self._group, topic, near, near).fetchone())
        ]
        if near and not found:
            return self._next("")
        return min(found, default=None)

    def _claim(self, offset: int, topic: str, key: str) -> Message:
        process = self._process
        self._file.execute(
            "INSERT INTO claims VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(self._group, topic, key, offset, self._consumer),
            *(process.host, process.pid, process.started, time.time()),
        )
        attempts = self._file.execute(
            "UPDATE pending SET attempts = attempts + 1 WHERE name = ? AND topic = ? AND offset = ? RETURNING attempts",
            *(self._group, topic, offset),
        ).fetchone()[0]
        value, headers = self._file.execute("SELECT value, headers FROM messages WHERE offset = ?", offset).fetchone()
        return Message(topic, key, value, json.loads(headers), offset, attempt=attempts)

    def _unclaim(self) -> None:
        self._file.execute("DELETE FROM claims WHERE consumer = ?", self._consumer)

    def _release_lost(self) -> None:
        """Every now and then, give back what dead or silent consumers hold."""
        if time.monotonic() - self._looked_for_lost < _LOOK_FOR_LOST_SECONDS:
            return
        self._looked_for_lost = time.monotonic()
        silent_since = time.time() - self._lease_seconds
        claims = self._file.execute("SELECT consumer, renewed, host, pid, started FROM claims").fetchall()
        lost = [
            (consumer, renewed)
            for consumer, renewed, *process in claims
            if renewed < silent_since or is_dead(ProcessIdentity(*process))
        ]
        if lost:
            with self._file.writing():
                for claim in lost:
                    self._file.execute("DELETE FROM claims WHERE consumer = ? AND renewed = ?", *claim)


def _count_pending(file: BusFile, topic: str, group: str) -> int:
    row = file.execute("SELECT COUNT(*) FROM pending WHERE name = ? AND topic = ?", group, topic).fetchone()
    return int(row[0])


def _insert(file: BusFile, topic: str, key: str, value: bytes, headers: str) -> None:
    """Within a transaction: a message, and its place in the list of every group of its topic."""
    offset = file.execute(
        "INSERT INTO messages (topic, key, value, headers) VALUES (?, ?, ?, ?)", topic, key, value, headers
    ).lastrowid
    file.execute(
        "INSERT INTO pending (name, topic, offset, key) SELECT name, topic, ?, ? FROM groups WHERE topic = ?",
        *(offset, key, topic),
    )


def _kill(file: BusFile, group: str, topic: str, offset: int, headers: Mapping[str, str]) -> bool:
    """Within a transaction: a copy of the message to its dead topic, unless the group is done with it."""
    if not file.execute(_FORGET, group, topic, offset).rowcount:
        return False
    key, value, original = file.execute("SELECT key, value, headers FROM messages WHERE offset = ?", offset).fetchone()
    _insert(file, topic + DEAD, key, value, _encode({**json.loads(original), **headers}))
    return True


def _encode(headers: Mapping[str, str]) -> str:
    return json.dumps(dict(headers), sort_keys=True, ensure_ascii=False)
