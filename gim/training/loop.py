"""The loop: steps, and what is due between them. Knows nothing of networks, files or servers.

Everything that has to be the same on all ranks (when to save, to stop, to give up) is decided from the step's number or
agreed on by all.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from gim.errors import InvalidInput
from gim.training.config import TrainingConfig
from gim.training.optimiser import set_learning_rate
from gim.training.schedule import learning_rate
from gim.training.step import MicroBatch, Stepper, StepResult

Ended = Literal["finished", "stopped"]


class Hooks(Protocol):
    """What a run does beside its steps; called on every rank."""

    def after_step(self, step: int, result: StepResult, *, seconds: float, rate: float) -> None:
        """A step is done: averages, curves, what was no number."""

    def validate(self, step: int) -> None:
        """A validation is due."""

    def draw(self, step: int) -> None:
        """Pictures of the fixed pairs are due."""

    def save(self, step: int, *, is_last: bool) -> None:
        """A checkpoint is due, or the run ends here."""

    def is_stop_wanted(self) -> bool:
        """Whether any rank was told to stop; the same answer on all."""


@dataclass
class Loop:
    """One rank's run from a step on."""

    config: TrainingConfig
    stepper: Stepper
    optimiser: torch.optim.Optimizer
    micro_batches: Iterator[MicroBatch]
    lanes_per_rank: int
    hooks: Hooks
    clock: Callable[[], float] = time.monotonic

    def run(self, first_step: int) -> Ended:
        """Take the steps that are left.

        Args:
            first_step: steps done before.

        Returns:
            "stopped": the run was told to, has saved, and can be gone on with.

        Raises:
            InvalidInput: more steps in a row than `loop.max_bad_batches` were no numbers.
        """
        config, keep = self.config, self.config.keep
        num_bad = 0
        for step in range(first_step + 1, config.num_steps + 1):
            result = self._step(step)
            num_bad = 0 if result.is_good else num_bad + 1
            if num_bad > config.loop.max_bad_batches:
                raise InvalidInput(
                    f"step {step}: the gradients of {num_bad} steps in a row are no numbers; the dumps name the pairs. "
                    "A lower optimiser.lr or loop.precision=float32 may help"
                )
            is_last, is_stopped = step == config.num_steps, self.hooks.is_stop_wanted()
            if is_stopped and not is_last:
                self.hooks.save(step, is_last=True)
                return "stopped"
            if self._is_due(step, keep.validate_every_pairs) or is_last:
                self.hooks.validate(step)
            if self._is_due(step, keep.pictures_every_pairs) or is_last:
                self.hooks.draw(step)
            if self._is_due(step, keep.every_pairs) or is_last:
                self.hooks.save(step, is_last=is_last)
        return "finished"

    def _step(self, step: int) -> StepResult:
        rate = learning_rate((step - 1) * self.config.loop.canonical_batch, self.config.optimiser, self.config.schedule)
        set_learning_rate(self.optimiser, rate)
        began = self.clock()
        result = self.stepper.step(self.micro_batches, self.lanes_per_rank)
        self.hooks.after_step(step, result, seconds=self.clock() - began, rate=rate)
        return result

    def _is_due(self, step: int, every_pairs: int) -> bool:
        """Whether this step's pairs pass a multiple of so many; 0: never."""
        batch = self.config.loop.canonical_batch
        return every_pairs > 0 and step * batch // every_pairs > (step - 1) * batch // every_pairs
