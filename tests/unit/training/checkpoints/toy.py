"""A run of training small enough for tests: all that a checkpoint has to hold moves in every step. Not a test."""

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from gim.records import CheckpointManifest
from gim.training.checkpoints.writing import Weights
from gim.training.data.position import merge_states
from gim.training.distributed import Ranks
from gim.training.ema import WeightAverage

NUM_LANES = 4
TEMPLATE = CheckpointManifest("run-1", 0, "xfeat", [], "films-01234567", "Apache-2.0")


class ToyRun:
    """Four lanes of pairs, a network, AdamW, an average, and noise from torch's own random numbers."""

    def __init__(self, ranks: Ranks | None = None) -> None:
        self.ranks = ranks or Ranks()
        torch.manual_seed(7)
        self.network = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
        self.network.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=0.01, betas=(0.9, 0.99))
        self.average = WeightAverage(self.network, 0.9)
        self.step = 0
        own = range(self.ranks.rank, NUM_LANES, self.ranks.world_size)
        self.positions = {f"lane {lane}": 10 * lane for lane in own}

    def train_step(self) -> float:
        """The loss of the step, over all lanes."""
        self.optimiser.zero_grad()
        noise = torch.randn(6)  # the same on every rank
        losses = [self._lane_loss(name, noise) for name in self.positions]
        for loss in losses:
            (loss / NUM_LANES).backward()
        if self.ranks.world_size > 1:
            for parameter in self.network.parameters():
                dist.all_reduce(parameter.grad)
        self.optimiser.step()
        self.network.seen += 1
        self.average.update(self.network)
        self.step += 1
        return self.ranks.all_sum([sum(float(loss.detach()) for loss in losses) / NUM_LANES])[0]

    def _lane_loss(self, name: str, noise: torch.Tensor) -> torch.Tensor:
        self.positions[name] += 1
        pairs = torch.randn(8, 6, generator=torch.Generator().manual_seed(self.positions[name] * 31 + int(name[-1])))
        return ((self.network(pairs + 0.1 * noise) - pairs.sum(1, keepdim=True)) ** 2).mean()

    def state(self) -> dict[str, Any] | None:
        """What a checkpoint holds, on the first rank."""
        readers = self.ranks.gather({"orders": {}, "lanes": self.positions})
        if readers is None:
            return None
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict(),
            "random": torch.get_rng_state(),
            "reader": merge_states(readers),
            "step": self.step,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average.load_state_dict(state["average"])
        torch.set_rng_state(state["random"])
        self.positions = {name: state["reader"]["lanes"][name] for name in self.positions}
        self.step = state["step"]

    def weights(self) -> list[Weights]:
        return [Weights("toy.ckpt", self.average.averaged())]


def reference_losses(num_steps: int) -> list[float]:
    """Of a run that nothing interrupts; the caller's random numbers are left alone."""
    with torch.random.fork_rng(devices=[]):
        run = ToyRun()
        return [run.train_step() for _ in range(num_steps)]


def same(first: Any, second: Any) -> bool:
    """Whether two nested states are equal in every bit and type."""
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and first.shape == second.shape and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return type(first) is type(second) and len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and first == second


def weight_file(path: Path) -> Weights:
    """Weights that the caller has written already."""
    return Weights("toy.ckpt", path)
