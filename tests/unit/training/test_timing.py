"""Where the time of a step goes."""

from itertools import count

import pytest
import torch

from gim.training.config import LoopConfig, OptimiserConfig
from gim.training.models.base import Loss
from gim.training.optimiser import build_optimiser
from gim.training.step import Stepper
from gim.training.timing import PHASES, StepClock
from tests.unit.training.toy import Rows, Toy, ToyMicroBatch, ToyStream


class Now:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def timed():
    """A stepper of which every phase takes as long as is told, and what its clock says."""
    now = Now()
    clock = StepClock(torch.device("cpu"), clock=now)

    class SlowRows(Rows):
        def to(self, device):
            now.now += 2.0
            return self

    class Slow(Toy):
        def forward(self, batch: Rows) -> Loss:
            now.now += 4.0
            loss = super().forward(batch)
            loss.total.register_hook(lambda _: setattr(now, "now", now.now + 8.0))
            return loss

    def slow_stream(is_bad):
        for item in ToyStream(bad=frozenset(range(99)) if is_bad else frozenset()):
            now.now += 1.0
            yield ToyMicroBatch(SlowRows(item.batch.values))

    model = Slow()
    optimiser = build_optimiser(model.groups(), OptimiserConfig(), architecture="toy")
    optimiser.register_step_post_hook(lambda *_: setattr(now, "now", now.now + 16.0))
    stepper = Stepper(
        clock.timed(model), optimiser, device=torch.device("cpu"), loop=LoopConfig(), config=OptimiserConfig()
    )

    def step(num, *, is_bad=False):
        source = clock.source(slow_stream(is_bad))
        with clock.step(optimiser):
            stepper.step(source, num)
        now.now += 1000.0  # between steps
        return clock.seconds

    return clock, step


def test_every_phase_has_its_own_time(timed):
    _, step = timed
    assert step(1) == {"data": 1.0, "batch": 2.0, "forward": 4.0, "backward": 8.0, "optimiser": 16.0}
    assert step(3) == {"data": 4.0, "batch": 8.0, "forward": 16.0, "backward": 32.0, "optimiser": 32.0}


def test_a_step_that_is_skipped_has_no_optimiser_time(timed):
    clock, step = timed
    assert step(1, is_bad=True)["optimiser"] == 0.0
    assert clock.seconds["backward"] == 8.0
    clock.reset()
    assert step(1)["optimiser"] == 16.0


def test_a_clock_that_is_left_watches_no_more():
    clock = StepClock(torch.device("cpu"), clock=count().__next__)
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    with clock.step(optimiser):
        pass
    seconds = dict(clock.seconds)
    optimiser.step()
    assert clock.seconds == seconds
    assert tuple(clock.seconds) == PHASES
