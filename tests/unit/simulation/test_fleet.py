"""Pods are started, killed, started again, taken away, and paid for meanwhile."""

import numpy as np
import pytest

from gim.simulation.agenda import Agenda
from gim.simulation.fleet import Fleet
from gim.simulation.group import Group
from gim.simulation.messages import Messages
from gim.simulation.plan import AutoscalerPlan, PodsPlan


class World:
    """A fleet with its group and clock."""

    def __init__(self, **plan) -> None:
        self.agenda = Agenda()
        self.plan = PodsPlan(**plan)
        self.group = Group(self.agenda, num_partitions=8, max_pods=max(self.plan.pods, self.plan.max_pods))
        self.fleet = Fleet(self.agenda, self.plan, self.group, AutoscalerPlan(), np.random.default_rng(7))

    def run(self, until: float) -> int:
        """Let time pass; how many messages were done with."""
        done = 0
        while self.agenda.now < until:
            now = min(self.agenda.next_time, until)
            done += len(self.group.advance(now))
            self.agenda.run_due(now)
        return done

    def publish(self, number: int, seconds: float) -> None:
        now = self.agenda.now
        self.group.publish(
            Messages.of(np.full(number, now), np.arange(number) % 8, np.full(number, seconds), np.arange(number))
        )


def test_pods_are_paid_for_from_being_asked_for_to_being_gone() -> None:
    world = World(pods=2, max_pods=4, start_seconds=50.0)
    world.run(100.0)
    world.fleet.scale(4)
    assert (world.fleet.wanted, world.fleet.held) == (4, 4)
    world.run(200.0)
    world.fleet.scale(1)
    world.run(300.0)
    assert (world.fleet.wanted, world.fleet.held) == (1, 1)
    assert world.fleet.held_seconds() == 2 * 100 + 4 * 100 + 1 * 100


def test_what_starts_takes_nothing_until_it_is_ready() -> None:
    world = World(pods=0, max_pods=1, start_seconds=50.0)
    world.publish(1, 5.0)
    world.fleet.scale(1)
    assert world.run(54.9) == 0
    assert world.run(55.1) == 1


def test_scaled_in_a_pod_ends_its_message_within_its_patience_or_gives_it_back() -> None:
    world = World(pods=2, max_pods=2, grace_seconds=30.0)
    world.publish(2, 40.0)
    world.run(20.0)
    world.fleet.scale(1)
    assert world.run(41.0) == 2
    assert world.group.num_returned == 0
    world = World(pods=2, max_pods=2, grace_seconds=10.0)
    world.publish(2, 40.0)
    world.run(20.0)
    world.fleet.scale(1)
    assert world.run(41.0) == 1
    assert (world.group.num_returned, world.group.lost_seconds) == (1, 30.0)
    assert world.run(81.0) == 1


def test_what_started_last_goes_first_and_what_is_not_ready_before_it() -> None:
    world = World(pods=1, max_pods=3, start_seconds=10.0, grace_seconds=0.0)
    world.fleet.scale(2)
    world.run(20.0)
    world.fleet.scale(3)
    world.run(25.0)
    world.fleet.scale(2)
    assert world.group._members == {0, 1}
    world.fleet.scale(1)
    world.run(26.0)
    assert world.group._members == {0}


def test_a_pod_that_goes_before_it_is_ready_never_joins() -> None:
    world = World(pods=1, max_pods=2, start_seconds=10.0)
    world.fleet.scale(2)
    world.run(5.0)
    world.fleet.scale(1)
    world.run(30.0)
    assert world.group._members == {0}


def test_failures_come_as_often_as_the_plan_says_and_all_work_is_done_all_the_same() -> None:
    world = World(pods=4, mtbf_hours=0.25, restart_seconds=10.0)
    world.publish(400, 60.0)
    done = world.run(8 * 3600.0)
    assert done == 400
    assert world.fleet.num_failures == pytest.approx(4 * 8 / 0.25, rel=0.3)
    assert world.group.num_returned > 0
    assert world.group.busy_seconds == pytest.approx(400 * 60.0 + world.group.lost_seconds)


def test_an_autoscaler_is_asked_with_the_lag_of_the_group() -> None:
    world = World(pods=1, max_pods=8, lag_per_pod=5.0, start_seconds=1.0)
    world.publish(20, 1000.0)
    world.fleet.poll()
    assert world.fleet.wanted == 4
    world = World(pods=3)
    world.publish(500, 1.0)
    world.fleet.poll()
    assert world.fleet.wanted == 3
