"""The processes of one run: who each of them is, and the few things they tell each other besides gradients.

Started by torchrun, which says in the environment who a process is. One process by itself has nobody to talk to, and
starts nothing of torch.distributed.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from gim.errors import ConfigError, Unavailable

Value = TypeVar("Value")

_TIMEOUT_SECONDS = 600.0
_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
# What gloo says when another process is gone or silent, as plain RuntimeErrors.
_LOST = ("gloo", "closed by peer", "reset by peer", "timed out")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those of the run. Every method but `is_first` has to be called by all of them."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0  # among the processes of its machine
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """Whether this process stores checkpoints and writes what is written once."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until all are here."""
        self.all_sum([0.0])

    def all_sum(self, values: Sequence[float]) -> list[float]:
        """Sums over all processes in float64, the same on each."""
        return self._reduced(values, dist.ReduceOp.SUM)

    def any(self, flag: bool) -> bool:
        """Whether one of them says so: with it all stop after the same step, when one is told to."""
        return self._reduced([float(flag)], dist.ReduceOp.MAX)[0] > 0

    def from_first(self, value: Value) -> Value:
        """What the first process gives; what the others give does not count."""
        if self.world_size == 1:
            return value
        box = [value if self.is_first else None]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]  # type: ignore[return-value]

    def gather(self, value: Value) -> list[Value] | None:
        """Every process's value by rank, on the first one; None on the others."""
        if self.world_size == 1:
            return [value]
        values: list[Any] | None = [None] * self.world_size if self.is_first else None
        dist.gather_object(value, values, dst=0)
        return values

    def _reduced(self, values: Sequence[float], operation: Any) -> list[float]:
        if self.world_size == 1:
            return [float(value) for value in values]
        tensor = torch.tensor(values, dtype=torch.float64)  # on the CPU, by gloo: no wait for the GPU's queue
        dist.all_reduce(tensor, op=operation)
        return [float(value) for value in tensor]


@contextmanager
def connected(
    environment: Mapping[str, str], *, device: str = "cpu", timeout_seconds: float = _TIMEOUT_SECONDS
) -> Iterator[Ranks]:
    """This process's place among those that torchrun has started, connected for as long as the block runs.

    Gradients on GPUs go by NCCL; everything on the CPU, and what `Ranks` says, by gloo. Without torchrun's variables,
    or where it has started one process, nothing is connected.

    Args:
        environment: of the process; what torch needs besides (the address) it reads there by itself.
        device: "cpu" or "cuda"; of several GPUs each process of a machine takes its own.
        timeout_seconds: how long another process may keep this one waiting before it is lost: longer than anything
            that one rank does while others wait, as storing the last checkpoint.

    Raises:
        ConfigError: the environment is half of torchrun's, or there are fewer GPUs than processes.
        Unavailable: another process is lost, or never came. All end with it, and torchrun starts them again.
    """
    ranks = _ranks(environment, device)
    if ranks.world_size == 1:
        yield ranks
        return
    is_lost = False
    try:
        backend = "cpu:gloo,cuda:nccl" if ranks.device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout_seconds))
        yield ranks
    except RuntimeError as error:
        if is_lost := _is_loss(error):
            raise Unavailable(_lost(ranks, error)) from error
        raise
    finally:
        if dist.is_initialized() and not is_lost:  # else it could mean to wait for the lost one
            dist.destroy_process_group()


def _ranks(environment: Mapping[str, str], device: str) -> Ranks:
    found = {name: environment[name] for name in _NAMES if environment.get(name)}
    if not {"RANK", "WORLD_SIZE"} & found.keys():
        return Ranks(device=_device(device, 0))
    if missing := [name for name in _NAMES if name not in found]:
        raise ConfigError(f"the environment has {min(found)} but no {missing[0]}: start several processes by torchrun")
    try:
        rank, world_size, local_rank = (int(found[name]) for name in _NAMES[:3])
    except ValueError as error:
        raise ConfigError(f"RANK, WORLD_SIZE and LOCAL_RANK are not all numbers ({error})") from error
    if not 0 <= rank < world_size:
        raise ConfigError(f"RANK {rank} is not below WORLD_SIZE {world_size}")
    return Ranks(rank, world_size, local_rank, _device(device, local_rank))


def _device(kind: str, local_rank: int) -> torch.device:
    if kind != "cuda":
        return torch.device(kind)
    if local_rank >= (num_gpus := torch.cuda.device_count()):
        raise ConfigError(f"process {local_rank} of this machine has no GPU, there are {num_gpus}: start fewer")
    chosen = torch.device("cuda", local_rank)
    torch.cuda.set_device(chosen)  # NCCL, and what DistributedDataParallel allocates, go by the current device
    return chosen


def _is_loss(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or any(words in str(error).lower() for words in _LOST)


def _lost(ranks: Ranks, error: RuntimeError) -> str:
    said = str(error).splitlines()[0].partition("] ")[2] or str(error).splitlines()[0]  # without the source's path
    return (
        f"rank {ranks.rank} of {ranks.world_size} has lost another one ({said.partition('. This is')[0]}): "
        "its own log says why; a restart goes on from the last checkpoint"
    )
