"""How partitions are shared out, against what must hold whoever comes and goes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from kafka.protocol.consumer.metadata import ConsumerProtocolSubscription
from kafka.structs import TopicPartition

from gim.adapters.kafka.assignor import Member, StickyAssignor, assign_partitions, decode_member, encode_member

TOPICS = ("a", "b")


@st.composite
def groups(draw: st.DrawFn) -> tuple[dict[str, int], dict[str, Member]]:
    """A group as it may have become: owners of earlier rounds, newcomers, work in hand, one that was thrown out."""
    num_partitions = {topic: draw(st.integers(0, 7)) for topic in TOPICS}
    names = draw(st.lists(st.sampled_from("klmnopqr"), min_size=1, max_size=5, unique=True))
    topics = {name: draw(st.sets(st.sampled_from(TOPICS), min_size=1)) for name in names}
    owned: dict[str, set[TopicPartition]] = {name: set() for name in names}
    for topic, count in num_partitions.items():
        for number in range(count):
            owner = draw(st.sampled_from([None, *names]))
            if owner is not None and topic in topics[owner]:
                owned[owner].add(TopicPartition(topic, number))
    members = {}
    for name in names:
        in_hand = draw(st.sampled_from([None, *sorted(owned[name])]))
        members[name] = Member(frozenset(topics[name]), frozenset(owned[name]), 7, in_hand)
    return num_partitions, members


def settle(num_partitions: dict[str, int], members: dict[str, Member]) -> tuple[dict[str, set[TopicPartition]], int]:
    """Round after round, as the members let go, until nothing changes; with the number of rounds."""
    rounds = 0
    while True:
        assigned = assign_partitions(num_partitions, members)
        rounds += 1
        if all(assigned[name] == member.owned for name, member in members.items()):
            return assigned, rounds
        members = {
            name: Member(member.topics, frozenset(assigned[name]), 7 + rounds, member.in_hand)
            for name, member in members.items()
        }


def wanted(num_partitions: dict[str, int], members: dict[str, Member]) -> set[TopicPartition]:
    topics = {topic for member in members.values() for topic in member.topics}
    return {TopicPartition(topic, number) for topic in topics for number in range(num_partitions[topic])}


@given(groups())
def test_no_partition_is_ever_given_to_two_or_taken_over_before_its_owner_let_go(group) -> None:
    num_partitions, members = group
    assigned = assign_partitions(num_partitions, members)
    given_out = [partition for partitions in assigned.values() for partition in partitions]
    assert len(given_out) == len(set(given_out))
    assert set(given_out) <= wanted(num_partitions, members)
    for name, partitions in assigned.items():
        for other in set(members) - {name}:
            assert not partitions & members[other].owned


@given(groups())
def test_after_at_most_two_rounds_every_partition_has_one_owner_and_the_shares_are_even(group) -> None:
    num_partitions, members = group
    assigned, rounds = settle(num_partitions, members)
    assert rounds <= 3  # the third finds nothing to change
    assert set().union(*assigned.values()) == wanted(num_partitions, members)
    for topic in TOPICS:
        shares = [
            sum(partition.topic == topic for partition in assigned[name])
            for name, member in members.items()
            if topic in member.topics
        ]
        assert not shares or max(shares) - min(shares) <= 1


@given(groups())
def test_what_is_in_hand_never_moves(group) -> None:
    num_partitions, members = group
    assigned = assign_partitions(num_partitions, members)
    for name, member in members.items():
        if member.in_hand is not None:
            assert member.in_hand in assigned[name]


@given(groups())
def test_no_more_moves_than_even_shares_ask_for(group) -> None:
    num_partitions, members = group
    assigned, _ = settle(num_partitions, members)
    for topic in TOPICS:
        subscribed = [name for name, member in members.items() if topic in member.topics]
        if not subscribed:
            continue
        share, left_over = divmod(num_partitions[topic], len(subscribed))
        owned = sorted(
            (sum(partition.topic == topic for partition in members[name].owned) for name in subscribed), reverse=True
        )
        could_stay = sum(min(count, share + (place < left_over)) for place, count in enumerate(owned))
        stayed = sum(
            partition.topic == topic for name in subscribed for partition in assigned[name] & members[name].owned
        )
        assert stayed == could_stay


@given(groups(), st.randoms())
def test_the_order_in_which_members_are_named_does_not_matter(group, random) -> None:
    num_partitions, members = group
    names = list(members)
    random.shuffle(names)
    assert assign_partitions(num_partitions, {name: members[name] for name in names}) == assign_partitions(
        num_partitions, members
    )


@given(groups())
def test_even_shares_of_several_topics_add_up_evenly_for_newcomers(group) -> None:
    num_partitions, members = group
    newcomers = {name: Member(frozenset(TOPICS)) for name in members}
    assigned, rounds = settle(num_partitions, newcomers)
    assert rounds <= 2
    totals = [len(partitions) for partitions in assigned.values()]
    assert max(totals) - min(totals) <= 1


@given(st.integers(1, 12), st.integers(0, 24))
def test_neighbours_are_shared_by_those_who_join(share, start) -> None:
    """Of twice as many partitions as a newcomer takes over, and of as many new ones."""
    num_partitions = {"a": 2 * share}
    everything = wanted(num_partitions, {"first": Member(frozenset("a"))})
    in_hand = TopicPartition("a", start) if start < 2 * share else None
    alone = Member(frozenset("a"), frozenset(everything), 7, in_hand)
    for members in ({"first": alone, "second": Member(frozenset("a"))}, dict.fromkeys("xy", Member(frozenset("a")))):
        assigned, _ = settle(num_partitions, members)
        for partitions in assigned.values():
            numbers = sorted(partition.partition for partition in partitions)
            assert max(np.diff([-1, *numbers, 2 * share])) <= 3


def test_who_was_thrown_out_and_still_claims_a_partition_loses_it_to_its_later_owner() -> None:
    partition = TopicPartition("a", 0)
    members = {
        "early": Member(frozenset("a"), frozenset([partition]), generation=5, in_hand=partition),
        "late": Member(frozenset("a"), frozenset([partition]), generation=8),
    }
    assert assign_partitions({"a": 1}, members) == {"early": set(), "late": {partition}}


def test_a_topic_that_is_not_there_has_no_partitions() -> None:
    assert assign_partitions({}, {"m": Member(frozenset("a"))}) == {"m": set()}


@given(groups())
def test_what_a_member_says_survives_the_way(group) -> None:
    for member in group[1].values():
        assert decode_member(ConsumerProtocolSubscription.decode(encode_member(member).encode())) == member


def test_user_data_of_others_is_not_understood_and_does_no_harm() -> None:
    for user_data in (None, b"", b"\xff", b"[]", b'{"in_hand": ["a"]}', b'{"in_hand": ["a", 3]}'):
        words = ConsumerProtocolSubscription(version=2, topics=["a"], user_data=user_data, owned_partitions=[])
        assert decode_member(ConsumerProtocolSubscription.decode(words.encode())) == Member(frozenset("a"))


def test_a_member_that_the_group_does_not_know_claims_nothing() -> None:
    known = [True]
    partition = TopicPartition("a", 1)
    assignor = StickyAssignor(lambda: partition, lambda: known[0])
    members = {"m": Member(frozenset("a"))}
    cluster = _Cluster()
    said = assignor.metadata({"a"})
    assert decode_member(said) == Member(frozenset("a"))
    (assignment,) = assignor.assign(cluster, [_Joined("m", said)]).values()
    assignor.on_assignment(assignment, 3)
    everything = frozenset(TopicPartition("a", number) for number in range(4))
    assert decode_member(assignor.metadata({"a"})) == Member(frozenset("a"), everything, 3, partition)
    known[0] = False
    assert decode_member(assignor.metadata({"a"})) == members["m"]


class _Cluster:
    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(4))


class _Joined:
    def __init__(self, member_id: str, metadata: ConsumerProtocolSubscription) -> None:
        self.member_id, self.metadata = member_id, metadata
