"""Where the time of a step goes, on a processor or a GPU: measured around the stepper, which knows nothing of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from gim.training.models.base import Loss
from gim.training.step import MicroBatch

PHASES = ("data", "batch", "forward", "backward", "optimiser")


class StepClock:
    """Adds up the seconds of each phase of steps. On a GPU every phase is waited for, which costs it some overlap."""

    def __init__(self, device: torch.device, *, clock: Callable[[], float] = time.perf_counter) -> None:
        """Begin with no seconds; `device` is the one that computes."""
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self._device, self._clock = device, clock
        self._phase, self._since = "", 0.0

    def reset(self) -> None:
        """Forget what was measured, as of steps that warm up."""
        self.seconds = dict.fromkeys(PHASES, 0.0)

    def timed(self, module: torch.nn.Module) -> torch.nn.Module:
        """The module as the stepper is to call it."""
        return _Timed(module, self)

    def source(self, micro_batches: Iterator[MicroBatch]) -> Iterator[MicroBatch]:
        """The micro-batches as the stepper is to draw them."""
        while True:
            self.enter("data")
            item = next(micro_batches)
            self.enter("batch")
            yield item

    @contextmanager
    def step(self, optimiser: torch.optim.Optimizer) -> Iterator[None]:
        """One step of the stepper, in the block."""
        self.enter("optimiser")
        hook = optimiser.register_step_pre_hook(lambda *_: self.enter("optimiser"))
        try:
            yield
        finally:
            self.enter("")
            hook.remove()

    def enter(self, phase: str) -> None:
        """What was going on is over, and `phase` begins; empty: nothing."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = self._clock()
        if self._phase:
            self.seconds[self._phase] += now - self._since
        self._phase, self._since = phase, now


class _Timed(torch.nn.Module):
    """Tells the clock when the forward pass begins and ends."""

    def __init__(self, module: torch.nn.Module, clock: StepClock) -> None:
        super().__init__()
        self._module, self._clock = module, clock

    def forward(self, batch: Any) -> Loss:
        """The loss of the module that is timed."""
        self._clock.enter("forward")
        loss: Loss = self._module(batch)
        self._clock.enter("backward")
        return loss
