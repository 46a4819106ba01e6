"""The loop: what is due when, and how a run ends."""

from dataclasses import dataclass, field, replace

import pytest
import torch

from gim.errors import InvalidInput
from gim.training.config import KeepConfig, LoopConfig, OptimiserConfig, ScheduleConfig, TrainingConfig
from gim.training.loop import Loop
from gim.training.optimiser import build_optimiser
from gim.training.step import Stepper, StepResult
from tests.unit.training.toy import Toy, ToyStream

_CONFIG = TrainingConfig(
    optimiser=OptimiserConfig(lr=0.01),
    schedule=ScheduleConfig(pairs=100),
    loop=LoopConfig(batch_size=5, canonical_batch=10, max_bad_batches=3),
    keep=KeepConfig(every_pairs=30, validate_every_pairs=40, pictures_every_pairs=0),
)


@dataclass
class Recorder:
    """Hooks that write down when they are called."""

    stop_after: int = 1000
    calls: list[tuple[str, int]] = field(default_factory=list)
    results: list[StepResult] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def after_step(self, step: int, result: StepResult, *, seconds: float, rate: float) -> None:
        self.results.append(result)
        self.rates.append(rate)

    def validate(self, step: int) -> None:
        self.calls.append(("validate", step))

    def draw(self, step: int) -> None:
        self.calls.append(("draw", step))

    def save(self, step: int, *, is_last: bool) -> None:
        self.calls.append(("last save" if is_last else "save", step))

    def is_stop_wanted(self) -> bool:
        return len(self.results) >= self.stop_after


def _loop(hooks: Recorder, stream: ToyStream | None = None, config: TrainingConfig = _CONFIG) -> Loop:
    model = Toy()
    optimiser = build_optimiser(model.groups(), config.optimiser, architecture="toy")
    stepper = Stepper(model, optimiser, device=torch.device("cpu"), loop=config.loop, config=config.optimiser)
    return Loop(config, stepper, optimiser, stream or ToyStream(), config.num_lanes, hooks)


def test_what_is_due_is_counted_in_pairs_and_the_end_has_everything() -> None:
    hooks = Recorder()
    assert _loop(hooks).run(0) == "finished"
    assert len(hooks.results) == 10
    assert hooks.calls == [
        ("save", 3),
        ("validate", 4),
        ("save", 6),
        ("validate", 8),
        ("save", 9),
        ("validate", 10),
        ("draw", 10),
        ("last save", 10),
    ]


def test_rates_go_by_the_steps_that_are_done() -> None:
    whole, rest = Recorder(), Recorder()
    _loop(whole).run(0)
    _loop(rest).run(4)
    assert rest.rates == whole.rates[4:]


def test_told_to_stop_it_saves_after_the_step_and_ends() -> None:
    hooks = Recorder(stop_after=5)
    assert _loop(hooks).run(0) == "stopped"
    assert hooks.calls[-1] == ("last save", 5)


def test_told_to_stop_after_the_last_step_it_has_finished() -> None:
    hooks = Recorder(stop_after=10)
    assert _loop(hooks).run(0) == "finished"


def test_bad_steps_in_a_row_end_the_run_and_single_ones_do_not() -> None:
    hooks = Recorder()
    assert _loop(hooks, ToyStream(bad=frozenset({0, 2, 4, 8, 10, 12}))).run(0) == "finished"
    assert [result.is_good for result in hooks.results].count(False) == 6
    with pytest.raises(InvalidInput, match=r"step 4: the gradients of 4 steps in a row are no numbers"):
        _loop(Recorder(), ToyStream(bad=frozenset(range(100)))).run(0)


def test_a_run_that_is_done_has_nothing_to_do() -> None:
    hooks = Recorder()
    assert _loop(hooks, config=replace(_CONFIG)).run(10) == "finished"
    assert hooks.calls == []
