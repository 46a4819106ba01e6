"""A trainable of four numbers, whose batches are rows: steps, loops and their hooks without networks."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from gim.training.batches import Tensors
from gim.training.models.base import Loss, Trainable
from gim.weights.checkpoint import StateDict


@dataclass(frozen=True, slots=True)
class Rows(Tensors):
    values: torch.Tensor  # [B, 4]


@dataclass(frozen=True)
class ToyMicroBatch:
    batch: Rows
    part: str = "video"
    names: tuple[str, ...] = ("pair",)
    wait_seconds: float = 0.25
    skipped: dict[str, int] = field(default_factory=dict)
    step: int = 0
    lane: int = 0


class Toy(Trainable):
    """Least squares: (w . x - sum x)^2."""

    architecture = "toy"
    matcher = "none"
    sees = "images"

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.arange(4.0))

    def collate(self, samples: Any) -> Any:
        raise NotImplementedError

    def forward(self, batch: Rows) -> Loss:
        error = (batch.values @ self.weights - batch.values.sum(1)) ** 2
        return Loss(error.mean(), {"square": error.mean().detach()}, len(error))

    def published(self, state: StateDict) -> StateDict:
        return dict(state)

    def load_published(self, state: StateDict, source: str) -> None:
        self.load_state_dict(state)


@dataclass
class ToyStream:
    """Micro-batches by their numbers; `bad` ones hold no numbers."""

    bad: frozenset[int] = frozenset()
    num_given: int = 0
    given: list[torch.Tensor] = field(default_factory=list)

    def __iter__(self) -> Iterator[ToyMicroBatch]:
        return self

    def __next__(self) -> ToyMicroBatch:
        values = torch.randn(3, 4, generator=torch.Generator().manual_seed(self.num_given))
        if self.num_given in self.bad:
            values[0, 0] = float("nan")
        self.num_given += 1
        self.given.append(values)
        return ToyMicroBatch(Rows(values))
