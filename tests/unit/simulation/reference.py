"""A consumer group message by message and event by event: slow, obvious, and apart from gim/simulation/group.py.

Partitions are shared out by the assignor that the services use.
"""

import math
from dataclasses import dataclass

from kafka.structs import TopicPartition

from gim.adapters.kafka.assignor import Member, assign_partitions

TOPIC = "t"


@dataclass(frozen=True)
class Change:
    """What happens to a pod, and when."""

    time: float
    kind: str  # join, crash, drain
    pod: int


@dataclass(frozen=True)
class Finished:
    """A message that was done with."""

    pod: int
    start: float
    finish: float


@dataclass
class _Hand:
    message: int
    start: float
    finish: float


class ReferenceGroup:
    """Pods are numbers; messages are rows of (arrival, partition, work), sorted by arrival."""

    def __init__(self, messages, num_partitions, num_pods, *, rebalance_seconds, session_seconds, grace_seconds):
        self.messages = messages
        self.num_partitions = num_partitions
        self.rebalance_seconds, self.session_seconds = rebalance_seconds, session_seconds
        self.grace_seconds = grace_seconds
        self.queue = list(range(len(messages)))  # in the order in which they are taken
        self.owners: dict[int, int] = {}
        self.members = set(range(num_pods))
        self.leaving: dict[int, float] = {}  # pod -> when it goes
        self.hands: dict[int, _Hand] = {}
        self.sessions: list[float] = []  # of dead members
        self.rebalance_until: float | None = None
        self.finished: dict[int, Finished] = {}
        self.lost_seconds = 0.0
        self.share_out()

    def run(self, changes, end):
        changes = sorted(changes, key=lambda change: change.time)
        now = 0.0
        while now < end:
            self.begin_work(now)
            now = min([end, *self.moments(now), *(change.time for change in changes[:1])])
            self.end_work(now)
            for session in [session for session in self.sessions if session == now]:
                if self.rebalance_until is None:
                    self.begin_rebalance(session)
            if self.rebalance_until == now:
                self.rebalance_until = None
                self.share_out()
            for pod in [pod for pod, leaves in self.leaving.items() if leaves == now]:
                self.go(pod, now)
            while changes and changes[0].time == now:
                self.apply(changes.pop(0), now)

    def moments(self, now):
        """Whatever may happen next of itself."""
        yield from (hand.finish for hand in self.hands.values())
        yield from (self.messages[number][0] for number in self.queue if self.messages[number][0] > now)
        yield from (session for session in self.sessions if session > now)
        yield from self.leaving.values()
        if self.rebalance_until is not None:
            yield self.rebalance_until

    def begin_work(self, now):
        if self.rebalance_until is not None:
            return
        for pod in sorted(self.members - set(self.leaving) - set(self.hands)):
            for number in self.queue:
                arrival, partition, work = self.messages[number]
                if arrival <= now and self.owners.get(partition) == pod:
                    self.hands[pod] = _Hand(number, now, now + work)
                    self.queue.remove(number)
                    break

    def end_work(self, now):
        for pod, hand in list(self.hands.items()):
            if hand.finish <= now:
                self.finished[hand.message] = Finished(pod, hand.start, hand.finish)
                del self.hands[pod]

    def apply(self, change, now):
        if change.kind == "join":
            self.members.add(change.pod)
            self.begin_rebalance(now)
        elif change.kind == "crash":
            self.give_back(change.pod, now)
            self.remove(change.pod)
            self.sessions.append(now + self.session_seconds)
            if self.rebalance_until is not None:
                self.rebalance_until = max(self.rebalance_until, self.sessions[-1])
        else:
            finish = self.hands[change.pod].finish if change.pod in self.hands else now
            self.leaving[change.pod] = min(finish, now + self.grace_seconds)
            if self.leaving[change.pod] == now:
                self.go(change.pod, now)

    def go(self, pod, now):
        self.give_back(pod, now)
        del self.leaving[pod]
        self.remove(pod)
        self.begin_rebalance(now)

    def remove(self, pod):
        """Should it come again, it is a new member and owns nothing."""
        self.members.remove(pod)
        self.owners = {partition: owner for partition, owner in self.owners.items() if owner != pod}

    def give_back(self, pod, now):
        if pod in self.hands:
            hand = self.hands.pop(pod)
            self.queue.insert(0, hand.message)
            self.lost_seconds += now - hand.start

    def begin_rebalance(self, now):
        waited_for = [session for session in self.sessions if session > now]
        end = max([now + self.rebalance_seconds, *waited_for])
        self.rebalance_until = max(end, self.rebalance_until or -math.inf)

    def share_out(self):
        """By the real assignor, round after round until nothing moves."""
        if not self.members:
            self.owners = {}
            return
        while True:
            owned = {pod: {p for p, owner in self.owners.items() if owner == pod} for pod in self.members}
            members = {
                f"{pod:03d}": Member(
                    frozenset({TOPIC}),
                    frozenset(TopicPartition(TOPIC, number) for number in owned[pod]),
                    1,
                    TopicPartition(TOPIC, self.messages[self.hands[pod].message][1]) if pod in self.hands else None,
                )
                for pod in self.members
            }
            assigned = assign_partitions({TOPIC: self.num_partitions}, members)
            owners = {p.partition: int(name) for name, partitions in assigned.items() for p in partitions}
            if owners == self.owners and len(owners) == self.num_partitions:
                return
            self.owners = owners
