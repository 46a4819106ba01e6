"""Consumer groups against the step-by-step reference, and against queueing theory where it is exact."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.simulation.agenda import Agenda
from gim.simulation.assignment import first_partition, turn_partitions
from gim.simulation.group import Group
from gim.simulation.messages import SHARED, Messages
from tests.unit.simulation.reference import Change, Finished, ReferenceGroup

MOST_PODS = 5
END = 60.0


@st.composite
def histories(draw):
    """Messages, the pods there are at first, and what happens to pods: only what can happen to them.

    Times of changes, of sessions and of rebalances never meet: what of two things at one instant comes first is chance.
    """
    num_partitions = draw(st.integers(1, 6))
    quarters = st.integers(0, 120).map(lambda number: number / 4)
    messages = sorted(
        draw(st.lists(st.tuples(quarters, st.integers(0, num_partitions - 1), st.integers(1, 24).map(lambda n: n / 4)),
                      max_size=25)),
        key=lambda message: message[0],
    )  # fmt: skip
    num_pods = draw(st.integers(0, 3))
    here, gone, changes = set(range(num_pods)), set(), []
    time = 0.0
    for number in range(draw(st.integers(0, 6))):
        time += draw(st.integers(1, 40)) / 4 + 0.0137 * (number + 1)
        possible = [("join", pod) for pod in range(MOST_PODS) if pod not in here | gone]
        possible += [(kind, pod) for kind in ("crash", "drain") for pod in sorted(here)]
        kind, pod = draw(st.sampled_from(possible or [("", 0)]))
        if kind == "join":
            here.add(pod)
        elif kind:
            here.remove(pod)
            if kind == "drain":
                gone.add(pod)  # until when, one cannot say beforehand
        if kind:
            changes.append(Change(time, kind, pod))
    return num_partitions, messages, num_pods, changes


def simulated(num_partitions, messages, num_pods, changes, **seconds):
    """What our group does of a history: message -> Finished; and the group."""
    agenda = Agenda()
    group = Group(
        agenda,
        num_partitions=num_partitions,
        max_pods=MOST_PODS,
        rebalance_seconds=seconds["rebalance_seconds"],
        session_seconds=seconds["session_seconds"],
    )
    group.form(num_pods)
    actions = {
        "join": group.join,
        "crash": group.crash,
        "drain": lambda pod: group.drain(pod, seconds["grace_seconds"]),
        "look": lambda _: group.lag,
    }
    for change in changes:
        agenda.at(change.time, lambda change=change: actions[change.kind](change.pod))
    columns = [np.array(column) for column in zip(*messages, strict=True)] or [np.empty(0)] * 3
    group.publish(Messages.of(columns[0], columns[1].astype(np.int64), columns[2], np.arange(len(messages))))
    done = {}
    while agenda.now < END:
        until = min(agenda.next_time, END)
        taken = group.advance(until)
        for row in range(len(taken)):
            item = int(taken.messages.item[row])
            assert item not in done, "done with twice"
            done[item] = Finished(int(taken.pod[row]), float(taken.start[row]), float(taken.finish[row]))
        agenda.run_due(until)
    return done, group


@given(histories(), st.sampled_from([0.0, 0.333, 2.111]), st.sampled_from([1.777, 9.773]))
def test_a_group_does_what_the_step_by_step_reference_does(history, rebalance_seconds, session_seconds) -> None:
    seconds = {"rebalance_seconds": rebalance_seconds, "session_seconds": session_seconds, "grace_seconds": 1.519}
    num_partitions, messages, num_pods, changes = history
    reference = ReferenceGroup(messages, num_partitions, num_pods, **seconds)
    reference.run(changes, END)
    done, group = simulated(num_partitions, messages, num_pods, changes, **seconds)
    assert done == reference.finished
    assert group.lost_seconds == pytest.approx(reference.lost_seconds)
    assert group.lag == len(messages) - len(done)
    in_hand = sum(min(hand.finish, END) - hand.start for hand in reference.hands.values())
    worked = sum(each.finish - each.start for each in reference.finished.values())
    assert group.busy_seconds == pytest.approx(worked + in_hand + reference.lost_seconds)


@given(histories(), st.lists(st.floats(0, END), max_size=8))
def test_looking_at_a_group_in_between_changes_nothing(history, looks) -> None:
    seconds = {"rebalance_seconds": 0.333, "session_seconds": 1.777, "grace_seconds": 1.519}
    num_partitions, messages, num_pods, changes = history
    plain, _ = simulated(num_partitions, messages, num_pods, changes, **seconds)
    looks = [Change(time, "look", 0) for time in looks]
    looked, _ = simulated(num_partitions, messages, num_pods, [*changes, *looks], **seconds)
    assert looked == plain


def test_a_restart_before_the_session_has_run_out_keeps_the_whole_group_waiting() -> None:
    """The price of a crash: the new member's join starts a rebalance that waits for the dead one."""
    agenda = Agenda()
    group = Group(agenda, num_partitions=4, max_pods=4, rebalance_seconds=2.0, session_seconds=45.0)
    group.form(4)
    agenda.at(100.0, lambda: group.crash(0))
    agenda.at(115.0, lambda: group.join(0))
    while agenda.now < 300.0:
        until = min(agenda.next_time, 300.0)
        group.advance(until)
        agenda.run_due(until)
    assert group.rebalancing_seconds == 145.0 - 115.0


def test_a_message_that_is_paid_for_by_the_unit_takes_longer_when_units_cost_more() -> None:
    group = Group(Agenda(), num_partitions=1, max_pods=1)
    group.form(1)
    units = np.zeros((1, len(SHARED)))
    units[0, 2] = 1e6
    group.publish(Messages.of(np.zeros(1), np.zeros(1, np.int64), np.ones(1), np.zeros(1, np.int64), units=units))
    delays = np.zeros(len(SHARED))
    delays[2] = 2e-6
    group.slow_down(delays)
    assert group.advance(10.0).finish.tolist() == [3.0]


def test_what_is_in_hand_keeps_its_progress_when_a_server_becomes_short_and_free_again() -> None:
    group = Group(Agenda(), num_partitions=1, max_pods=1)
    group.form(1)
    units = np.zeros((2, len(SHARED)))
    units[:, 2] = 1.0
    group.publish(Messages.of(np.zeros(2), np.zeros(2, np.int64), np.full(2, 10.0), np.arange(2), units=units))
    group.advance(4.0)  # 6 s are left
    slow = np.zeros(len(SHARED))
    slow[2] = 20.0  # all takes three times as long
    group.slow_down(slow)
    group.advance(10.0)  # 4 s are left
    group.slow_down(np.zeros(len(SHARED)))
    assert group.advance(100.0).finish.tolist() == [14.0, 24.0]


def test_nothing_is_begun_while_it_may_not_be_and_what_is_in_hand_goes_on() -> None:
    group = Group(Agenda(), num_partitions=1, max_pods=1)
    group.form(1)
    group.publish(Messages.of(np.zeros(2), np.zeros(2, np.int64), np.full(2, 5.0), np.arange(2)))
    assert len(group.advance(1.0)) == 0
    assert group.advance(20.0, may_begin=False).finish.tolist() == [5.0]
    assert group.advance(30.0).start.tolist() == [20.0]


# --- queueing theory: a pod with its partitions is a queue with one server

SEED = 20260923
RHO = 0.7


def mean_wait(partition, work, *, pods, gap):
    """Mean seconds from arrival to being taken, of Poisson arrivals with mean gap `gap`; the first third left out."""
    rng = np.random.default_rng(SEED + 1)
    arrival = np.cumsum(rng.exponential(gap, len(work)))
    group = Group(Agenda(), num_partitions=pods, max_pods=pods)
    group.form(pods)
    group.publish(Messages.of(arrival, partition, work, np.arange(len(work))))
    taken = group.advance(math.inf)
    waits = (taken.start - taken.messages.arrival)[np.argsort(taken.messages.item)]
    return float(waits[len(waits) // 3 :].mean())


def of_random_keys(work_of, pods=200, number=600_000):
    rng = np.random.default_rng(SEED)
    return mean_wait(first_partition(rng, number, pods), work_of(rng, number), pods=pods, gap=1 / (RHO * pods))


def test_random_keys_and_exponential_work_wait_as_in_m_m_1() -> None:
    wait = of_random_keys(lambda rng, number: rng.exponential(1.0, number))
    assert wait == pytest.approx(RHO / (1 - RHO), rel=0.03)


def test_random_keys_and_constant_work_wait_as_in_m_d_1() -> None:
    wait = of_random_keys(lambda _, number: np.ones(number))
    assert wait == pytest.approx(RHO / (2 * (1 - RHO)), rel=0.03)


def test_any_work_waits_as_pollaczek_and_khinchine_have_it() -> None:
    sigma = 0.8
    wait = of_random_keys(lambda rng, number: rng.lognormal(-(sigma**2) / 2, sigma, number))
    second_moment = math.exp(sigma**2)  # of work with mean 1
    assert wait == pytest.approx(RHO * second_moment / (2 * (1 - RHO)), rel=0.04)


def turn_wait(pods, number=6_000):
    """Mean wait where keys take turns, over many groups."""
    found = []
    for seed in range(40):
        rng = np.random.default_rng([SEED, seed])
        arrival = np.cumsum(rng.exponential(1 / (RHO * pods), number))
        group = Group(Agenda(), num_partitions=pods, max_pods=pods)
        group.form(pods)
        partition = turn_partitions(np.zeros(number, np.int64), np.arange(number), pods)
        group.publish(Messages.of(arrival, partition, rng.exponential(1.0, number), np.arange(number)))
        taken = group.advance(math.inf)
        late = taken.messages.item > number // 3
        found.append(float((taken.start - taken.messages.arrival)[late].mean()))
    return float(np.mean(found))


def erlang_turns(pods):
    """Mean wait of E_c/M/1: of GI/M/1, where s solves s = A*(mu (1 - s)), it is s / (1 - s)."""
    share = 0.5
    for _ in range(10_000):
        share = (RHO * pods / (RHO * pods + 1 - share)) ** pods
    return share / (1 - share)


def erlang_c_wait(pods):
    """Mean wait of M/M/c: one queue for all pods, which Kafka's partitions are not."""
    load = RHO * pods
    terms = [load**k / math.factorial(k) for k in range(pods)]
    last = load**pods / math.factorial(pods) / (1 - RHO)
    return last / (sum(terms) + last) / (pods * (1 - RHO))


def test_keys_that_take_turns_wait_as_in_e_c_m_1() -> None:
    assert turn_wait(4) == pytest.approx(erlang_turns(4), rel=0.04)


def test_partitions_cost_waiting_over_one_common_queue_and_turns_save_a_part_of_it() -> None:
    common, turns, hashed = erlang_c_wait(4), turn_wait(4), RHO / (1 - RHO)
    assert common < turns < hashed


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3), st.integers(1, 9)), min_size=1, max_size=30),
    st.integers(1, 4),
)
def test_little_s_law_mean_lag_is_arrival_rate_times_mean_time_in_the_system(messages, pods) -> None:
    """On whole seconds, so that the lag after each second is the lag until the next."""
    messages = sorted(messages, key=lambda message: message[0])
    group = Group(Agenda(), num_partitions=4, max_pods=4)
    group.form(pods)
    lags, sojourns, second = [], [], 0
    while len(sojourns) < len(messages):
        new = [message for message in messages if message[0] == second]
        if new:
            arrival, partition, work = (np.array(column) for column in zip(*new, strict=True))
            group.publish(Messages.of(arrival * 1.0, partition, work * 1.0, np.zeros(len(new), np.int64)))
        lags.append(group.lag)
        second += 1
        done = group.advance(float(second))
        sojourns += (done.finish - done.messages.arrival).tolist()
    rate = len(messages) / second
    assert np.mean(lags) == pytest.approx(rate * np.mean(sojourns))
