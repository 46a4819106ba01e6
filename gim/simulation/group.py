"""A consumer group: pods that take messages from their partitions, one at a time, the oldest first.

Between two changes of a group every pod is a queue of its own, of known arrivals and known times of work. So the agenda
has the changes only, and `advance` has all pods take their next message at once, as often as time allows. What comes
out is the same, to the last bit, as message by message (tests/unit/simulation/reference.py).

A group behaves as Kafka's classic protocol and our subscription make it: while it rebalances nobody takes a message, a
rebalance waits for members that have died until their session runs out, and what is in hand goes on meanwhile.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from gim.simulation.agenda import Agenda
from gim.simulation.assignment import NOBODY, assign
from gim.simulation.messages import SHARED, Floats, Ints, Messages, Queue


@dataclass(frozen=True, slots=True)
class Taken:
    """Messages that pods took, and when they were or will be done with."""

    messages: Messages
    pod: Ints  # [n]
    start: Floats  # [n], seconds
    finish: Floats  # [n], seconds

    @classmethod
    @cache
    def none(cls) -> "Taken":
        """No messages."""
        return cls(Messages.none(), np.empty(0, np.int64), np.empty(0), np.empty(0))

    @classmethod
    def joined(cls, first: "Taken", second: "Taken") -> "Taken":
        """One after the other."""
        if not len(first) or not len(second):
            return first if len(first) else second
        return cls(
            Messages.joined([first.messages, second.messages]),
            np.concatenate([first.pod, second.pod]),
            np.concatenate([first.start, second.start]),
            np.concatenate([first.finish, second.finish]),
        )

    def __len__(self) -> int:
        return len(self.pod)

    def take(self, rows: NDArray[np.bool_]) -> "Taken":
        """Those of a mask."""
        return Taken(self.messages.take(rows), self.pod[rows], self.start[rows], self.finish[rows])


class Group:
    """The pods of one group, their partitions, what waits there, and what is in hand. Pods are numbers from 0 on."""

    def __init__(
        self,
        agenda: Agenda,
        *,
        num_partitions: int,
        max_pods: int,
        rebalance_seconds: float = 0.0,
        session_seconds: float = 45.0,
    ) -> None:
        self.num_partitions = num_partitions
        self.busy_seconds = self.device_seconds = self.lost_seconds = self.rebalancing_seconds = 0.0
        self.num_done = self.num_returned = 0
        self.units_done = np.zeros(len(SHARED))
        self._agenda = agenda
        self._rebalance_seconds, self._session_seconds = rebalance_seconds, session_seconds
        self._owners = np.full(num_partitions, NOBODY, np.int64)
        self._members: set[int] = set()
        self._free_at = np.full(max_pods, np.inf)  # from when on a pod takes messages; infinite: it does not
        self._paused_until = 0.0  # nobody takes any before
        self._delays = np.zeros(len(SHARED))  # that what is in hand was reckoned with
        self._waiting = Queue()
        self._in_hand = Taken.none()
        self._sessions: list[float] = []  # when those of dead members run out
        self._rebalance: tuple[float, float] | None = None  # from when until when
        self._time = agenda.now  # up to which the group is known

    @property
    def lag(self) -> float:
        """Messages not done with, those in hand included."""
        waiting = self._waiting
        return float(waiting.kept.weight[waiting.rows].sum() + self._in_hand.messages.weight.sum())

    @property
    def num_in_hand(self) -> int:
        """Pods that work."""
        return len(self._in_hand)

    @property
    def in_hand(self) -> Messages:
        """What they work on."""
        return self._in_hand.messages

    def fewest_waiting(self) -> int:
        """Messages that wait in the partition that has fewest."""
        partitions = self._waiting.kept.partition[self._waiting.rows]
        return int(np.bincount(partitions, minlength=self.num_partitions).min())

    def publish(self, messages: Messages) -> None:
        """Append messages to their partitions, none of which arrived before those published earlier."""
        if len(messages):
            self._waiting.append(messages.take(np.argsort(messages.arrival, kind="stable")))

    def slow_down(self, delays: Floats) -> None:
        """From now on a unit of each shared server costs so many seconds on top of the work.

        What is in hand is as far as it is; the rest of it takes longer or less long, in proportion to the whole.
        """
        if np.array_equal(delays, self._delays):
            return
        if len(self._in_hand):
            work, units, now = self._in_hand.messages.work, self._in_hand.messages.units, self._time
            share = (work + units @ delays) / np.maximum(work + units @ self._delays, 1e-9)
            finish = now + (self._in_hand.finish - now) * share
            self._in_hand = replace(self._in_hand, finish=finish)
            pods = self._in_hand.pod
            self._free_at[pods] = np.where(np.isinf(self._free_at[pods]), np.inf, finish)
        self._delays = delays

    def advance(self, until: float, *, may_begin: bool = True) -> Taken:
        """Let the pods work; nothing else of the group changes meanwhile.

        Args:
            until: seconds, the end; what would begin then is not begun.
            may_begin: whether messages are taken at all.

        Returns:
            What was done with by the end.
        """
        taken, begin = self._in_hand, self._time
        if may_begin and len(self._waiting.rows):
            taken = Taken.joined(taken, self._begin(until))
        self._time = until
        if not len(taken):
            return taken
        self.busy_seconds += float((np.minimum(taken.finish, until) - np.maximum(taken.start, begin)).sum())
        is_done = taken.finish <= until
        if not is_done.any():
            self._in_hand = taken
            return Taken.none()
        done, self._in_hand = taken.take(is_done), taken.take(~is_done)
        self.num_done += len(done)
        self.device_seconds += float(done.messages.device.sum())
        self.units_done += done.messages.units.sum(axis=0)
        return done

    def _begin(self, until: float) -> Taken:
        """Take from the partitions whatever begins before `until`."""
        waiting = self._waiting.kept
        # Sorted by pod and, as they wait in order of time and the sort is stable, by time within a pod. Of numbers of
        # 16 bits it is a radix sort, several times as fast.
        pods = self._owners[waiting.partition[self._waiting.rows]].astype(np.int16)
        order = np.argsort(pods, kind="stable")
        of_pod, order = pods[order], self._waiting.rows[order]
        numbers = np.arange(len(self._free_at), dtype=np.int16)
        heads, ends = np.searchsorted(of_pod, numbers, "left"), np.searchsorted(of_pod, numbers, "right")
        # A pod may have had nothing to take, or not been allowed to, although this waited.
        np.maximum(self._free_at, max(self._time, self._paused_until), out=self._free_at)
        is_slow = self._delays.any()
        found: list[tuple[Ints, Ints, Floats, Floats]] = []
        able = np.flatnonzero((heads < ends) & (self._free_at < until))
        while able.size:
            rows = order[heads[able]]
            start = np.maximum(self._free_at[able], waiting.arrival[rows])
            if not (in_time := start < until).all():
                able, rows, start = able[in_time], rows[in_time], start[in_time]
            finish = start + waiting.work[rows]
            if is_slow:
                finish += waiting.units[rows] @ self._delays
            found.append((rows, able, start, finish))
            self._free_at[able] = finish
            heads[able] += 1
            able = able[(finish < until) & (heads[able] < ends[able])]
        if not found:
            return Taken.none()
        rows, pod, start, finish = (np.concatenate(column) for column in zip(*found, strict=True))
        return Taken(self._waiting.take(rows), pod, start, finish)

    # --- changes, all of them now

    def form(self, pods: int) -> None:
        """The first so many pods are members from now on, and hold all partitions."""
        self._members = set(range(pods))
        self._free_at[:pods] = self._agenda.now
        self._owners = assign(self._owners, sorted(self._members), {})

    def join(self, pod: int) -> None:
        """A pod is ready, and becomes a member."""
        self._members.add(pod)
        self._free_at[pod] = self._agenda.now
        self._rebalance_now()

    def crash(self, pod: int) -> None:
        """A pod is killed: what it has in hand is begun anew by whoever has the partition next."""
        self._give_back(pod)
        self._remove(pod)
        session = self._agenda.now + self._session_seconds
        self._sessions.append(session)
        self._agenda.at(session, self._expire)  # before what is planned next for the same moment
        if self._rebalance is not None:
            self._pause_until(session)

    def drain(self, pod: int, grace_seconds: float) -> float:
        """A pod is told to stop: it takes nothing more, and leaves when it is done, or when its patience ends.

        Returns:
            When that is.
        """
        self._free_at[pod] = np.inf
        now, mine = self._agenda.now, self._in_hand.pod == pod
        leaves = min(float(self._in_hand.finish[mine].max(initial=now)), now + grace_seconds)
        self._agenda.at(leaves, lambda: self._leave(pod))
        return leaves

    def _leave(self, pod: int) -> None:
        self._give_back(pod)
        self._remove(pod)
        self._rebalance_now()

    def _give_back(self, pod: int) -> None:
        mine = self._in_hand.pod == pod
        if mine.any():
            lost = self._in_hand.take(mine)
            self._in_hand = self._in_hand.take(~mine)
            self._waiting.put_first(lost.messages)
            self.lost_seconds += float((self._agenda.now - lost.start).sum())
            self.num_returned += len(lost)

    def _remove(self, pod: int) -> None:
        self._members.discard(pod)
        self._free_at[pod] = np.inf
        self._owners[self._owners == pod] = NOBODY

    def _expire(self) -> None:
        """The session of a dead member has run out: that is a change too, unless it was waited for."""
        if self._rebalance is None:
            self._rebalance_now()

    def _rebalance_now(self) -> None:
        now = self._agenda.now
        self._sessions = [session for session in self._sessions if session > now]
        if self._rebalance is None:
            self._rebalance = now, now
        self._pause_until(max([now + self._rebalance_seconds, *self._sessions]))

    def _pause_until(self, end: float) -> None:
        """Nobody takes anything before `end`, when the partitions are shared out anew."""
        assert self._rebalance is not None
        begun, planned = self._rebalance
        end = max(end, planned)
        self._rebalance, self._paused_until = (begun, end), end
        self._agenda.at(end, lambda: self._settle(end))

    def _settle(self, end: float) -> None:
        if self._rebalance is None or self._rebalance[1] != end:
            return  # somebody died meanwhile, and is waited for
        self.rebalancing_seconds += end - self._rebalance[0]
        self._rebalance = None
        in_hand = dict(zip(self._in_hand.pod.tolist(), self._in_hand.messages.partition.tolist(), strict=True))
        self._owners = assign(self._owners, sorted(self._members), in_hand)
