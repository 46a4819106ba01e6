"""Micro-batches whose loss or gradient was no number, as `gim.training.hooks` has dumped them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gim.errors import CorruptObject, InvalidInput
from gim.ports.store import Store
from gim.records import Uint8Array
from gim.training.looking.runs import stored_dumps

_MOST_NAMED = 12


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """One tensor of a batch, in words that a table holds."""

    name: str  # "truth.points"
    shape: str
    dtype: str
    low: str
    high: str
    num_not_finite: int


@dataclass(frozen=True, slots=True)
class BadBatch:
    """One dumped micro-batch."""

    part: str
    names: tuple[str, ...]
    tensors: list[TensorFacts]
    images: list[tuple[Uint8Array, Uint8Array]]  # of each pair; none, where the run saw features

    @property
    def num_not_finite(self) -> int:
        """Entries of its tensors that are no numbers, or infinite."""
        return sum(item.num_not_finite for item in self.tensors)


def bad_batches(store: Store, run_id: str, step: int) -> list[BadBatch]:
    """The dumped micro-batches of a step, of all ranks.

    Raises:
        InvalidInput: there are none; the message names the steps that have some.
        CorruptObject: a dump is damaged.
    """
    dumps = stored_dumps(store, run_id)
    if step not in dumps:
        steps = ", ".join(map(str, list(dumps)[:_MOST_NAMED])) + (", ..." if len(dumps) > _MOST_NAMED else "")
        others = f"steps {steps} have some" if dumps else "no step of it has one"
        raise InvalidInput(f"run {run_id} has no dump of step {step}: {others}")
    return [batch for key in dumps[step] for batch in _read(store, key)]


def _read(store: Store, key: str) -> list[BadBatch]:
    with store.fetch(key) as path:
        try:
            items: Sequence[Mapping[str, Any]] = torch.load(path, map_location="cpu", weights_only=True)
            return [_batch(item) for item in items]
        except Exception as error:  # torch and its reader of pickles raise many kinds on damaged bytes
            raise CorruptObject(f"{key}: not a readable dump ({type(error).__name__})") from error


def _batch(item: Mapping[str, Any]) -> BadBatch:
    flat = dict(_flattened(item["batch"]))
    facts = [_facts(name, tensor) for name, tensor in flat.items()]
    return BadBatch(item["part"], tuple(item["names"]), facts, _images(flat))


def _flattened(tensors: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in tensors.items():
        if isinstance(value, torch.Tensor):
            yield prefix + name, value
        else:
            yield from _flattened(value, f"{prefix}{name}.")


def _facts(name: str, tensor: torch.Tensor) -> TensorFacts:
    shape, dtype = " × ".join(map(str, tensor.shape)) or "one", str(tensor.dtype).removeprefix("torch.")
    numbers = tensor.double().flatten()
    finite = numbers[numbers.isfinite()]
    low, high = (f"{float(value):.4g}" for value in finite.aminmax()) if len(finite) else ("–", "–")
    return TensorFacts(name, shape, dtype, low, high, len(numbers) - len(finite))


def _images(tensors: Mapping[str, torch.Tensor]) -> list[tuple[Uint8Array, Uint8Array]]:
    sides = [tensors.get(name) for name in ("images0", "images1")]
    if any(side is None for side in sides):
        return []
    images0, images1 = ([_as_picture(image) for image in side] for side in sides if side is not None)
    return list(zip(images0, images1, strict=True))


def _as_picture(image: torch.Tensor) -> Uint8Array:
    """uint8 RGB [H, W, 3] of float [3, H, W] in [0, 1]; what is no number is black."""
    pixels = image.float().nan_to_num(0.0, 0.0, 0.0).clamp(0, 1).mul(255).round().byte()
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())
