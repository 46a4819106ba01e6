"""Partitions are shared out as the services share them out, and keys find them as the services' keys do."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from kafka.structs import TopicPartition

from gim import keys
from gim.adapters.kafka.assignor import Member, assign_partitions
from gim.adapters.kafka.partitioner import choose_partition
from gim.simulation.assignment import NOBODY, assign, first_partition, turn_partitions


@st.composite
def groups(draw):
    """Owners as they may have become, members, and what is in hand."""
    num_partitions = draw(st.integers(1, 12))
    pods = draw(st.lists(st.integers(0, 7), min_size=1, max_size=6, unique=True))
    owners = draw(
        st.lists(st.sampled_from([NOBODY, *range(8)]), min_size=num_partitions, max_size=num_partitions)
    )  # of dead ones too
    in_hand = {}
    for pod in pods:
        mine = [partition for partition, owner in enumerate(owners) if owner == pod]
        if mine and draw(st.booleans()):
            in_hand[pod] = draw(st.sampled_from(mine))
    return np.array(owners), pods, in_hand


def settled(owners, pods, in_hand):
    """By the real assignor, until nothing changes."""
    owned = {pod: {p for p, owner in enumerate(owners.tolist()) if owner == pod} for pod in pods}
    while True:
        members = {
            f"{pod}": Member(
                frozenset({"t"}),
                frozenset(TopicPartition("t", number) for number in owned[pod]),
                1,
                TopicPartition("t", in_hand[pod]) if pod in in_hand else None,
            )
            for pod in pods
        }
        assigned = assign_partitions({"t": len(owners)}, members)
        after = {int(name): {p.partition for p in partitions} for name, partitions in assigned.items()}
        if after == owned:
            return owned
        owned = after


@given(groups())
def test_the_partitions_end_where_the_real_assignor_puts_them(group) -> None:
    owners, pods, in_hand = group
    ours = assign(owners, sorted(pods), in_hand)
    assert {pod: set(np.flatnonzero(ours == pod).tolist()) for pod in pods} == settled(owners, pods, in_hand)


def test_without_members_the_partitions_are_nobody_s() -> None:
    assert assign(np.array([0, 1]), [], {}).tolist() == [NOBODY, NOBODY]


@given(st.text("abc_-"), st.integers(0, 300), st.integers(1, 48))
def test_segments_take_turns_as_their_keys_do(video, number, num_partitions) -> None:
    first, this = (
        choose_partition(keys.segment_id(f"v{video}", "5a5a", each).encode(), num_partitions) for each in (0, number)
    )
    assert turn_partitions(np.array([first]), np.array([number]), num_partitions).tolist() == [this]


def test_other_keys_are_spread_as_random_ones_are() -> None:
    number, num_partitions = 24_000, 24
    real = np.bincount([choose_partition(f"yt-{n:011d}".encode(), num_partitions) for n in range(number)])
    drawn = np.bincount(first_partition(np.random.default_rng(1), number, num_partitions))
    expected = number / num_partitions
    for counts in (real, drawn):  # chi-squared of 23 degrees of freedom: above 60 once in 30,000 times
        assert len(counts) == num_partitions
        assert ((counts - expected) ** 2 / expected).sum() < 60
