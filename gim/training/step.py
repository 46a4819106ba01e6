"""One step of the optimiser from its micro-batches, on one device or many.

Every rank adds up the gradients of its own lanes; the last one's backward pass averages them over ranks. So a step is
the mean over all lanes, however many devices share them. A step whose gradient is no number changes nothing.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Protocol

import torch

from gim.training.config import LoopConfig, OptimiserConfig
from gim.training.models.base import Loss
from gim.training.window import Sum


class MicroBatch(Protocol):
    """What the reader gives, see `gim.training.data.stream`."""

    @property
    def step(self) -> int: ...

    @property
    def lane(self) -> int: ...

    @property
    def part(self) -> str: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def batch(self) -> Any: ...

    @property
    def skipped(self) -> Mapping[str, int]: ...

    @property
    def wait_seconds(self) -> float: ...


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step did, on this rank."""

    sums: dict[str, Sum]  # "loss", "<part>/<term>": over this rank's micro-batches where it is a number
    gradient_norm: float  # before clipping, over all ranks
    is_good: bool  # False: the gradient was no number, and nothing was changed
    bad: tuple[MicroBatch, ...]  # micro-batches of this rank whose loss was no number
    seen: tuple[MicroBatch, ...]  # all of this rank
    num_supervised: int
    wait_seconds: float  # for data

    @property
    def loss(self) -> float:
        """Mean over this rank's micro-batches that were numbers."""
        return self.sums["loss"].mean


@dataclass
class _Told:
    """What the micro-batches of a step say, left on the device until the step is done."""

    losses: list[torch.Tensor] = field(default_factory=list)
    terms: dict[str, list[torch.Tensor]] = field(default_factory=dict)
    num_supervised: int = 0

    def add(self, part: str, loss: Loss) -> None:
        self.losses.append(loss.total.detach())
        for name, value in loss.terms.items():
            self.terms.setdefault(f"{part}/{name}", []).append(value.detach())
        self.num_supervised += loss.num_supervised


class Stepper:
    """Computes steps; holds the module (plain, or wrapped by DDP) and the optimiser."""

    def __init__(
        self,
        module: torch.nn.Module,
        optimiser: torch.optim.Optimizer,
        *,
        device: torch.device,
        loop: LoopConfig,
        config: OptimiserConfig,
    ) -> None:
        self._module = module
        self._optimiser = optimiser
        self._device = device
        self._loop = loop
        self._clip_norm = config.clip_norm
        self._parameters = [item for group in optimiser.param_groups for item in group["params"]]

    def step(self, micro_batches: Iterator[MicroBatch], num: int) -> StepResult:
        """Take `num` micro-batches, this rank's share, and move the weights.

        Args:
            micro_batches: from which they are drawn.
            num: of this rank; the same on every rank.
        """
        self._optimiser.zero_grad(set_to_none=True)
        before = [buffer.clone() for buffer in self._module.buffers()]  # running statistics
        told, seen, wait_seconds = _Told(), [], 0.0
        for index in range(num):
            item = next(micro_batches)
            wait_seconds += item.wait_seconds
            torch.manual_seed(seed_of(self._loop.seed, item.step, item.lane))
            with self._syncing(is_last=index == num - 1):
                with self._precision():
                    loss: Loss = self._module(item.batch.to(self._device))
                (loss.total / num).backward()  # type: ignore[no-untyped-call]
            told.add(item.part, loss)
            seen.append(item)
        norm = self._clip()
        is_good = bool(norm.isfinite())
        if is_good:
            self._optimiser.step()
        else:
            for buffer, value in zip(self._module.buffers(), before, strict=True):
                buffer.copy_(value)
        return self._result(told, seen, norm=float(norm), is_good=is_good, wait_seconds=wait_seconds)

    def _syncing(self, *, is_last: bool) -> AbstractContextManager[None]:
        """Gradients are averaged over ranks once, in the last backward pass."""
        wrapped: Any = self._module
        return nullcontext() if is_last or not hasattr(wrapped, "no_sync") else wrapped.no_sync()

    def _precision(self) -> AbstractContextManager[Any]:
        is_low = self._loop.precision == "bfloat16"
        return torch.autocast(self._device.type, torch.bfloat16) if is_low else nullcontext()

    def _clip(self) -> torch.Tensor:
        """The norm of all gradients together, which are scaled down to `clip_norm` where it is larger."""
        limit = self._clip_norm or float("inf")
        return torch.nn.utils.clip_grad_norm_(self._parameters, limit)

    @staticmethod
    def _result(
        told: _Told, seen: Sequence[MicroBatch], *, norm: float, is_good: bool, wait_seconds: float
    ) -> StepResult:
        losses = torch.stack(told.losses).tolist()
        bad = tuple(item for item, loss in zip(seen, losses, strict=True) if not isfinite(loss))
        sums = {"loss": Sum.of(losses)}
        sums |= {name: Sum.of(torch.stack(values).tolist()) for name, values in told.terms.items()}
        return StepResult(sums, norm, is_good, bad, tuple(seen), told.num_supervised, wait_seconds)


def seed_of(seed: int, step: int, lane: int) -> int:
    """The seed of whatever a network draws in a micro-batch, so that neither ranks nor a resumed run change it."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{step}/{lane}".encode()).digest()[:6])
