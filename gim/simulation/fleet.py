"""The pods of one stage: asked for, started, killed by chance, started again, and taken away."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from gim.simulation.agenda import Agenda
from gim.simulation.autoscaler import Autoscaler
from gim.simulation.group import Group
from gim.simulation.plan import AutoscalerPlan, PodsPlan


class _State(Enum):
    OFF = auto()
    STARTING = auto()
    UP = auto()
    LEAVING = auto()


@dataclass(slots=True)
class _Pod:
    state: _State = _State.OFF
    life: int = 0  # which of its lives: what was planned for an earlier one has no effect
    since: float = 0.0  # it is in this state


class Fleet:
    """Keeps as many pods as the plan or the autoscaler wants, as a Deployment does."""

    def __init__(
        self, agenda: Agenda, plan: PodsPlan, group: Group, autoscaler: AutoscalerPlan, rng: np.random.Generator
    ) -> None:
        self._agenda, self._plan, self._group, self._rng = agenda, plan, group, rng
        self._pods = [_Pod() for _ in range(plan.most_pods)]
        self._numbers = Counter({_State.OFF: len(self._pods)})  # of pods by state
        self._held_seconds, self._known_until = 0.0, agenda.now
        self.num_failures = 0
        self._autoscaler = None
        if plan.max_pods:
            most = min(plan.most_pods, group.num_partitions)
            self._autoscaler = Autoscaler(autoscaler, least=plan.pods, most=most, lag_per_pod=plan.lag_per_pod)
        group.form(plan.pods)
        for number in range(plan.pods):
            self._set(number, _State.UP)
            self._fear_failure(number)

    @property
    def wanted(self) -> int:
        """Pods that are there or about to be, and not told to go."""
        return self._numbers[_State.UP] + self._numbers[_State.STARTING]

    @property
    def held(self) -> int:
        """Pods that are paid for."""
        return len(self._pods) - self._numbers[_State.OFF]

    def held_seconds(self) -> float:
        """Pod seconds that are paid for, up to now."""
        return self._held_seconds + self.held * (self._agenda.now - self._known_until)

    def poll(self) -> None:
        """Ask the autoscaler, if there is one."""
        if self._autoscaler is not None:
            self.scale(self._autoscaler.wanted(self._agenda.now, self._group.lag, self.wanted))

    def scale(self, pods: int) -> None:
        """Have so many pods; those that started last go first, as a ReplicaSet does it."""
        missing = pods - self.wanted
        if missing > 0:
            off = [number for number, pod in enumerate(self._pods) if pod.state is _State.OFF]
            for number in off[:missing]:
                self._start(number, self._plan.start_seconds)
        elif missing < 0:
            here = [number for number, pod in enumerate(self._pods) if pod.state in (_State.STARTING, _State.UP)]
            here.sort(key=lambda number: (self._pods[number].state is _State.UP, -self._pods[number].since, -number))
            for number in here[:-missing]:
                self._stop(number)

    def _start(self, number: int, seconds: float) -> None:
        self._set(number, _State.STARTING)
        self._later(number, seconds, self._ready)

    def _ready(self, number: int) -> None:
        self._set(number, _State.UP)
        self._group.join(number)
        self._fear_failure(number)

    def _fear_failure(self, number: int) -> None:
        if self._plan.mtbf_hours:
            self._later(number, self._rng.exponential(self._plan.mtbf_hours * 3600.0), self._fail)

    def _fail(self, number: int) -> None:
        self.num_failures += 1
        self._group.crash(number)
        self._start(number, self._plan.restart_seconds)

    def _stop(self, number: int) -> None:
        if self._pods[number].state is _State.STARTING:
            self._set(number, _State.OFF)
            return
        leaves = self._group.drain(number, self._plan.grace_seconds)
        self._set(number, _State.LEAVING)
        self._later(number, leaves - self._agenda.now, lambda number: self._set(number, _State.OFF))

    def _set(self, number: int, state: _State) -> None:
        self._held_seconds, self._known_until = self.held_seconds(), self._agenda.now
        pod = self._pods[number]
        self._numbers[pod.state] -= 1
        self._numbers[state] += 1
        pod.state, pod.since, pod.life = state, self._agenda.now, pod.life + 1

    def _later(self, number: int, seconds: float, action: Callable[[int], None]) -> None:
        life = self._pods[number].life

        def act() -> None:
            if self._pods[number].life == life:
                action(number)

        self._agenda.at(self._agenda.now + seconds, act)
