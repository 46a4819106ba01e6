"""The one place that chooses a device, a precision and a batch size for networks. Changes no global state of torch."""

import gc
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from gim.errors import ConfigError, Unavailable
from gim.inference.config import InferenceConfig

Item = TypeVar("Item")
Result = TypeVar("Result")

_GIB = 1024**3


def prepared_device(config: InferenceConfig) -> torch.device:
    """The device of the settings, which from now on refuses this process more memory than they allow.

    Raises:
        ConfigError: as for `choose_device`.
    """
    device = choose_device(config.device)
    if config.max_memory_gib and device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(config.max_memory_gib * _GIB / total, 1.0), device)
    return device


def choose_device(name: str) -> torch.device:
    """The device a setting names; `auto` takes cuda, else mps, else cpu.

    Raises:
        ConfigError: not a device, or not one of this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"inference.device = {name!r}: {reason}; use auto, cpu, cuda, cuda:N or mps") from error
    return device


def num_gpus() -> int:
    """How many CUDA devices this machine has."""
    return torch.cuda.device_count()


@contextmanager
def running(config: InferenceConfig, device: torch.device) -> Iterator[None]:
    """Inference mode, with the configured precision where an operation may take it."""
    dtype = getattr(torch, config.precision)
    with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        yield


class Batches:
    """Applies functions to batches of items; where the device's memory runs out, halves the batch and goes on.

    What did not fit is not tried again: the size that did is remembered for each kind of work.
    """

    def __init__(self, config: InferenceConfig) -> None:
        self._largest = max(config.batch_size, 1)
        self._fits: dict[Hashable, int] = {}

    def apply(
        self, function: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item], kind: Hashable = None
    ) -> list[Result]:
        """The function's results of all items, in order.

        Args:
            function: gives as many results as it is given items.
            items: any number.
            kind: items of one kind need the same memory each: what is done with them, and their size.

        Raises:
            Unavailable: a single item does not fit; the message says what to lower.
        """
        results: list[Result] = []
        while len(results) < len(items):
            batch = items[len(results) : len(results) + self._fits.get(kind, self._largest)]
            try:
                results += function(batch)
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise Unavailable(
                        "one image pair does not fit into the device's memory: lower the matcher's image size, or "
                        "use --set inference.device=cpu or --set inference.precision=bfloat16"
                    ) from error
                self._fits[kind] = len(batch) // 2
            else:
                continue
            # Outside the handler, where the failed call's frames no longer hold its tensors.
            gc.collect()
            _empty_cache()
        return results


def compiled(network: Any, config: InferenceConfig) -> Any:
    """The network, compiled where the settings ask for it."""
    return torch.compile(network) if config.compile else network


def _is_out_of_memory(error: Exception) -> bool:
    """The CPU's allocator has no error class of its own."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(error)


def _empty_cache() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
