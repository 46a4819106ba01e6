"""Which consumer of a group holds which partitions: balanced per topic, sticky, and never out of a hand.

Kafka lets one member, the leader, decide. A member tells it which partitions it owns and which of them it has a
message of in hand. That one stays where it is, so that consumers may come and go while work goes on. A partition that
moves is given on only once its owner has let go of it, one round later (KIP-429): two members never hold it at a time.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from kafka.coordinator.assignors.abstract import AbstractPartitionAssignor, RebalanceProtocol
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment, ConsumerProtocolSubscription
from kafka.structs import TopicPartition

_VERSION = 2  # of a member's words: with the owned partitions and the generation they were given in


@dataclass(frozen=True, slots=True)
class Member:
    """What a member of a group says of itself."""

    topics: frozenset[str]
    owned: frozenset[TopicPartition] = frozenset()
    generation: int = -1  # of the group, when it was given them
    in_hand: TopicPartition | None = None


def assign_partitions(
    num_partitions: Mapping[str, int], members: Mapping[str, Member]
) -> dict[str, set[TopicPartition]]:
    """What each member holds after this round; a partition that has to move is nobody's until the next.

    Args:
        num_partitions: of each topic; a topic that is not there has none.
        members: by member id.

    Returns:
        Partitions of each member id. Were there no further change, the next round gives out the rest, and then the
        members of a topic hold equally many of its partitions, give or take one.
    """
    owners = _owners(members)
    assigned: dict[str, set[TopicPartition]] = {member_id: set() for member_id in members}
    totals = dict.fromkeys(members, 0)
    for topic in sorted({topic for member in members.values() for topic in member.topics}):
        subscribed = [member_id for member_id in sorted(members) if topic in members[member_id].topics]
        partitions = [TopicPartition(topic, number) for number in range(num_partitions.get(topic, 0))]
        for partition, member_id in _share_out(partitions, subscribed, owners, members, totals).items():
            totals[member_id] += 1
            if owners.get(partition, member_id) == member_id:
                assigned[member_id].add(partition)
    return assigned


def _owners(members: Mapping[str, Member]) -> dict[TopicPartition, str]:
    """Who owns what. Of two that say so, the one that was given it last is right: the other was thrown out since."""
    owners: dict[TopicPartition, str] = {}
    for member_id in sorted(members, key=lambda name: (-members[name].generation, name)):
        for partition in members[member_id].owned:
            if partition.topic in members[member_id].topics:
                owners.setdefault(partition, member_id)
    return owners


def _share_out(
    partitions: list[TopicPartition],
    subscribed: list[str],
    owners: Mapping[TopicPartition, str],
    members: Mapping[str, Member],
    totals: Mapping[str, int],
) -> dict[TopicPartition, str]:
    """One topic: where each partition shall be in the end, with as few moves as equal shares allow."""
    owned: dict[str, list[TopicPartition]] = {member_id: [] for member_id in subscribed}
    for partition in partitions:
        if (owner := owners.get(partition)) is not None:
            owned[owner].append(partition)
    share, left_over = divmod(len(partitions), len(subscribed))
    # One partition more for those that own that many already. With fewer partitions than members it decides who has
    # any at all: those that are at work come first, of which there are never more than partitions.
    by_claim = sorted(
        subscribed,
        key=lambda name: (
            -min(len(owned[name]), share + 1),
            members[name].in_hand not in owned[name],
            totals[name],
            name,
        ),
    )
    room = {member_id: share + (place < left_over) for place, member_id in enumerate(by_claim)}
    target: dict[TopicPartition, str] = {}
    for member_id in subscribed:
        for partition in _choose_evenly(owned[member_id], room[member_id], members[member_id].in_hand):
            target[partition] = member_id
            room[member_id] -= 1
    turns = cycle(by_claim)
    for partition in partitions:
        if partition not in target:
            member_id = next(name for name in turns if room[name])
            target[partition] = member_id
            room[member_id] -= 1
    return target


def _choose_evenly(partitions: list[TopicPartition], count: int, first: TopicPartition | None) -> list[TopicPartition]:
    """So many of them, `first` among them if it is one, and the rest from all along the list.

    Neighbours hold consecutive segments of a video, which two members shall share rather than one do alone.
    """
    if count >= len(partitions):
        return partitions
    kept = [partition for partition in partitions if partition == first][:count]
    others = [partition for partition in partitions if partition != first]
    missing = count - len(kept)
    return kept + [others[place * len(others) // missing] for place in range(missing)]


class StickyAssignor(AbstractPartitionAssignor):  # type: ignore[misc]  # the client has no types
    """One member's part in it: says what the member owns, learns what it is given, and decides when it leads.

    The client calls it from its own thread, only while our `poll` is joining; so nothing is taken in hand meanwhile.
    """

    name = "gim-sticky"

    def __init__(self, in_hand: Callable[[], TopicPartition | None], is_member: Callable[[], bool]) -> None:
        """Args:
        in_hand: the partition of the message that is worked on.
        is_member: whether the group still knows this member; one that was thrown out owns nothing.
        """
        self._in_hand = in_hand
        self._is_member = is_member
        self._owned: frozenset[TopicPartition] = frozenset()
        self._generation = -1

    def supported_protocols(self) -> list[RebalanceProtocol]:
        return [RebalanceProtocol.COOPERATIVE]

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolSubscription:
        """What this member says of itself when it joins."""
        member = Member(frozenset(topics))
        if self._is_member():
            member = Member(frozenset(topics), self._owned, self._generation, self._in_hand())
        return encode_member(member)

    def on_assignment(self, assignment: ConsumerProtocolAssignment, generation: int) -> None:
        """Remember what this member was given."""
        self._owned, self._generation = frozenset(assignment.partitions()), generation

    def assign(self, cluster: Any, members: Iterable[Any]) -> dict[str, ConsumerProtocolAssignment]:
        """Decide for the group, as its leader."""
        said = {member.member_id: decode_member(member.metadata) for member in members}
        topics = {topic for member in said.values() for topic in member.topics}
        num_partitions = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        return {
            member_id: ConsumerProtocolAssignment(0, _by_topic(partitions), b"")
            for member_id, partitions in assign_partitions(num_partitions, said).items()
        }


def encode_member(member: Member) -> ConsumerProtocolSubscription:
    """A member's words as Kafka carries them."""
    Owned = ConsumerProtocolSubscription.TopicPartition
    return ConsumerProtocolSubscription(
        version=_VERSION,
        topics=sorted(member.topics),
        user_data=json.dumps({"in_hand": member.in_hand}).encode(),
        owned_partitions=[Owned(topic=topic, partitions=numbers) for topic, numbers in _by_topic(member.owned)],
        generation_id=member.generation,
    )


def decode_member(words: ConsumerProtocolSubscription) -> Member:
    """What a member said; what cannot be understood of its user data was not said."""
    try:
        topic, number = json.loads(words.user_data or b"")["in_hand"]
        in_hand = TopicPartition(str(topic), int(number))
    except (ValueError, TypeError, KeyError):
        in_hand = None
    owned = frozenset(
        TopicPartition(each.topic, number) for each in words.owned_partitions or () for number in each.partitions
    )
    return Member(frozenset(words.topics), owned, words.generation_id, in_hand if in_hand in owned else None)


def _by_topic(partitions: Iterable[TopicPartition]) -> list[tuple[str, list[int]]]:
    numbers: dict[str, list[int]] = defaultdict(list)
    for partition in sorted(partitions):
        numbers[partition.topic].append(partition.partition)
    return list(numbers.items())
