"""Which pod of a group holds which partitions: the rule of gim/adapters/kafka/assignor.py for one topic, on numbers."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np

from gim.simulation.messages import Ints

NOBODY = -1


def first_partition(rng: np.random.Generator, size: int, num_partitions: int) -> Ints:
    """Where the hash of a key that differs in every item sends it: anywhere, each as likely, int64 [size]."""
    return rng.integers(0, num_partitions, size)


def turn_partitions(first: Ints, turn: Ints, num_partitions: int) -> Ints:
    """Where `TurnPartitioner` sends keys that end in a number, from where it sends the one that ends in 0."""
    turned: Ints = (first + turn) % num_partitions
    return turned


def assign(owners: Ints, members: Sequence[int], in_hand: Mapping[int, int]) -> Ints:
    """Share the partitions out evenly, with as few moves as that allows, and none of one that is in hand.

    Args:
        owners: int64 [P], who holds each partition; NOBODY, or somebody who is no member any more: it is free.
        members: of the group; without any, all partitions are nobody's.
        in_hand: the partition that a member has a message of.

    Returns:
        int64 [P], the owners once all have let go of what they lose.
    """
    owners = np.where(np.isin(owners, members), owners, NOBODY)
    while members:
        target = _round(owners, sorted(members), in_hand)
        # What changes hands is given on in the next round, when its owner has let go of it.
        held = np.where((owners == NOBODY) | (owners == target), target, NOBODY)
        if (held == owners).all():
            break
        owners = held
    return owners


def _round(owners: Ints, members: Sequence[int], in_hand: Mapping[int, int]) -> Ints:
    """Where each partition shall be in the end, as the leader sees it in one round."""
    assigned = np.full(len(owners), NOBODY, np.int64)
    owned: dict[int, list[int]] = {member: [] for member in members}
    for partition, owner in enumerate(owners.tolist()):
        if owner != NOBODY:
            owned[owner].append(partition)
    room = _rooms(owned, len(owners), in_hand)
    for member, partitions in owned.items():
        for partition in _choose_evenly(partitions, room[member], in_hand.get(member)):
            assigned[partition] = member
            room[member] -= 1
    turns = cycle(room)
    for partition in np.flatnonzero(assigned == NOBODY).tolist():
        member = next(name for name in turns if room[name])
        assigned[partition] = member
        room[member] -= 1
    return assigned


def _rooms(owned: Mapping[int, Sequence[int]], num_partitions: int, in_hand: Mapping[int, int]) -> dict[int, int]:
    """How many partitions each member gets, those first that have most of a claim to one more."""
    share, left_over = divmod(num_partitions, len(owned))
    by_claim = sorted(
        owned,
        key=lambda member: (-min(len(owned[member]), share + 1), in_hand.get(member) not in owned[member], member),
    )
    return {member: share + (place < left_over) for place, member in enumerate(by_claim)}


def _choose_evenly(partitions: Sequence[int], count: int, first: int | None) -> Sequence[int]:
    """So many of them, `first` among them if it is one, and the rest from all along the list."""
    if count >= len(partitions):
        return partitions
    kept = [partition for partition in partitions if partition == first][:count]
    others = [partition for partition in partitions if partition != first]
    missing = count - len(kept)
    return kept + [others[place * len(others) // missing] for place in range(missing)]
