"""The order of pairs: all of them once in an epoch, found at once from any number, beside a slow and obvious one."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gim.errors import InvalidInput
from gim.training.data.hashing import Permutation, key_of, uniform
from gim.training.data.order import Order, Ticket

PERMUTATION = [6, 7, 3, 2, 5, 8, 0, 1, 9, 4]
UNIFORM = [0.883311, 0.566562, 0.59119]
TICKETS = [(1, 0, 0), (2, 0, 1), (2, 1, 0)]
SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=24).filter(any)
LANES = st.integers(1, 6)


def order_of(sizes: list[int], num_lanes: int, *, window: int = 7, resample: bool = False) -> Order:
    return Order(sizes, part="video", seed=5, num_lanes=num_lanes, window=window, resample=resample)


def shuffled(size: int, *key: int | str) -> list[int]:
    return Permutation(size, key_of(*key)).__call__(range(size)).tolist()


def obvious_tickets(sizes: list[int], num_lanes: int, window: int, *, epochs: int) -> list[list[Ticket]]:
    """Each lane's tickets of the first epochs, made as the module's docstring says it."""
    key = key_of("video", 5)
    groups = [group for group, size in enumerate(sizes) if size]
    lanes: list[list[Ticket]] = [[] for _ in range(num_lanes)]
    turn = 0
    for epoch in range(epochs):
        line = [
            Ticket(epoch, groups[place], index)
            for place in shuffled(len(groups), key, "groups", epoch)
            for index in range(sizes[groups[place]])
        ]
        if len(groups) < 4 * num_lanes:
            for place in shuffled(len(line), key, "pairs", epoch):
                lanes[turn % num_lanes].append(line[place])
                turn += 1
            continue
        for lane in range(num_lanes):
            stretch = line[lane * len(line) // num_lanes : (lane + 1) * len(line) // num_lanes]
            for number in range(0, len(stretch), window):
                part = stretch[number : number + window]
                lanes[lane] += [part[i] for i in shuffled(len(part), key, "window", epoch, lane, number // window)]
    return lanes


@given(sizes=SIZES, num_lanes=LANES, window=st.integers(1, 12), start=st.integers(0, 200), count=st.integers(0, 20))
@settings(max_examples=15)
def test_any_stretch_of_tickets_is_that_of_the_obvious_order(
    sizes: list[int], num_lanes: int, window: int, start: int, count: int
) -> None:
    lanes = obvious_tickets(sizes, num_lanes, window, epochs=3)
    order = order_of(sizes, num_lanes, window=window)
    for lane, expected in enumerate(lanes):
        start = min(start, len(expected))
        count = min(count, len(expected) - start)
        assert order.tickets(lane, start, count) == expected[start : start + count]


@given(sizes=SIZES, num_lanes=LANES)
@settings(max_examples=15)
def test_every_epoch_has_each_pair_once_over_all_lanes(sizes: list[int], num_lanes: int) -> None:
    order = order_of(sizes, num_lanes)
    seen: Counter[Ticket] = Counter()
    for lane in range(num_lanes):
        seen.update(order.tickets(lane, 0, 3 * sum(sizes)))
    every = [Ticket(epoch, group, i) for epoch in range(2) for group, size in enumerate(sizes) for i in range(size)]
    assert [seen[ticket] for ticket in every] == [1] * len(every)
    assert order.num_pairs == sum(sizes)


@given(sizes=SIZES, num_lanes=LANES)
@settings(max_examples=12)
def test_no_lane_has_more_of_an_epoch_than_another_by_more_than_a_pair(sizes: list[int], num_lanes: int) -> None:
    order = order_of(sizes, num_lanes)
    counts = [
        sum(ticket.epoch == 1 for ticket in order.tickets(lane, 0, 2 * sum(sizes) + 2)) for lane in range(num_lanes)
    ]
    assert max(counts) - min(counts) <= 1


def test_a_lane_has_groups_of_its_own_and_few_at_a_time() -> None:
    order = order_of([8] * 40, 4, window=16)
    assert order.deals_groups
    lanes = [order.tickets(lane, 0, 80) for lane in range(4)]
    owners = Counter(group for tickets in lanes for group in {ticket.group for ticket in tickets})
    assert owners == Counter(range(40))
    for tickets in lanes:
        assert all(len({ticket.group for ticket in tickets[at : at + 16]}) == 2 for at in range(0, 80, 16))
        assert tickets != sorted(tickets, key=lambda ticket: (ticket.group, ticket.index))


def test_cuts_go_through_one_group_each() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 30, 50).tolist()
    order = order_of(sizes, 6)
    stretches = [(lane + 1) * sum(sizes) // 6 - lane * sum(sizes) // 6 for lane in range(6)]
    owned = [{ticket.group for ticket in order.tickets(lane, 0, stretches[lane])} for lane in range(6)]
    assert sum(map(len, owned)) <= 50 + 5
    assert all(len(one & other) <= 1 for one, other in pairwise(owned))


def test_epochs_seeds_and_parts_have_orders_of_their_own() -> None:
    sizes = [8] * 40
    orders = [
        Order(sizes, part=part, seed=seed, num_lanes=2, window=16) for part, seed in (("a", 0), ("a", 1), ("b", 0))
    ]
    first = [[(ticket.group, ticket.index) for ticket in order.tickets(0, 0, 320)] for order in orders]
    assert len({tuple(places) for places in first}) == 3
    assert first[0][:160] != first[0][160:]
    assert len({order.name for order in orders}) == 3


@pytest.mark.parametrize("change", [{"sizes": [3, 5]}, {"num_lanes": 3}, {"window": 8}, {"resample": True}])
def test_another_order_has_another_name(change: dict[str, object]) -> None:
    settings_of = {"sizes": [3, 4], "num_lanes": 2}
    assert order_of(**settings_of).name == order_of(**settings_of).name
    assert order_of(**{**settings_of, **change}).name != order_of(**settings_of).name


@given(sizes=SIZES, num_lanes=LANES)
@settings(max_examples=12)
def test_resampling_draws_as_many_of_each_group(sizes: list[int], num_lanes: int) -> None:
    order = order_of(sizes, num_lanes, resample=True)
    filled = [group for group, size in enumerate(sizes) if size]
    share = max(round(sum(sizes) / len(filled)), 1)
    assert order.num_pairs == share * len(filled)
    epochs = 4
    if order.deals_groups:
        cuts = [lane * order.num_pairs // num_lanes for lane in range(num_lanes + 1)]
        counts = [epochs * (end - begin) for begin, end in pairwise(cuts)]
    else:
        counts = [len(range(lane, epochs * order.num_pairs, num_lanes)) for lane in range(num_lanes)]
    tickets = [ticket for lane, count in enumerate(counts) for ticket in order.tickets(lane, 0, count)]
    assert Counter(ticket.group for ticket in tickets) == dict.fromkeys(filled, epochs * share)
    # No pair a second time before all of its group had their turn, and its ticket says how often it was given.
    assert set(Counter(tickets).values()) == {1}
    for group in filled:
        passes = Counter(ticket.epoch for ticket in tickets if ticket.group == group)
        full, rest = divmod(epochs * share, sizes[group])
        assert passes == {**dict.fromkeys(range(full), sizes[group]), **({full: rest} if rest else {})}


@given(size=st.integers(1, 3000), key=st.integers(0, 2**64 - 1))
@settings(max_examples=12)
def test_a_permutation_has_every_place_once(size: int, key: int) -> None:
    assert sorted(Permutation(size, key)(range(size)).tolist()) == list(range(size))


def test_permutations_mix() -> None:
    # Where an element goes is uniform over keys: chi-square of 2000 draws in 16 places, 15 degrees of freedom.
    counts = np.bincount([int(Permutation(16, key)([3])[0]) for key in range(2000)], minlength=16)
    assert ((counts - 125) ** 2 / 125).sum() < 45
    assert abs(np.corrcoef(np.arange(5000), Permutation(5000, 1)(range(5000)))[0, 1]) < 0.05


def test_the_order_is_the_same_in_every_version() -> None:
    assert Permutation(10, 1)(range(10)).tolist() == PERMUTATION
    assert uniform(np.arange(3, dtype=np.uint64)).round(6).tolist() == UNIFORM
    tickets = order_of([2, 3], 2).tickets(1, 4, 3)
    assert [(ticket.epoch, ticket.group, ticket.index) for ticket in tickets] == TICKETS


def test_a_far_ticket_is_found_at_once() -> None:
    order = order_of([64] * 1000, 16)
    (ticket,) = order.tickets(3, 10**12, 1)
    assert ticket.epoch == 10**12 // 4000


@pytest.mark.parametrize("sizes", [[], [0, 0]])
def test_nothing_to_order_is_refused(sizes: list[int]) -> None:
    with pytest.raises(InvalidInput, match="part video: there is no pair"):
        order_of(sizes, 2)
