"""Weights that anybody can rebuild from the names of tensors, and what the original networks computed with them."""

import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

Gain = float | list[list]


def fill(name: str, shape: Iterable[int], dtype: str = "float32", gain: Gain = 1.0) -> np.ndarray:
    """One tensor by the rule of the golden vectors' README; `gain` is a number or a list of [regex, number]."""
    shape, leaf = tuple(shape), name.rpartition(".")[2]
    if "int" in dtype:
        return np.zeros(shape, np.int64)
    z = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if leaf == "running_mean" or ("bias" in leaf and leaf != "running_var"):
        return np.asarray(0.1 * z, np.float32)
    if leaf == "running_var":
        return np.asarray(1 + 0.2 * np.abs(z), np.float32)
    if len(shape) <= 1:
        return np.asarray(1 + 0.1 * z, np.float32)
    factor = gain if isinstance(gain, (int, float)) else next(g for regex, g in gain if re.search(regex, name))
    return np.asarray(factor * z / np.sqrt(np.prod(shape[1:])), np.float32)


def filled_like(network, gain: Gain = 1.0) -> dict:
    """A state dict for a torch network, filled by the rule."""
    import torch

    return {
        name: torch.from_numpy(np.array(fill(name, tensor.shape, str(tensor.dtype), gain)))
        for name, tensor in network.state_dict().items()
    }


def manifest(folder: Path) -> dict:
    """`manifest.json` of a golden set."""
    return json.loads((folder / "manifest.json").read_text())


def filled_manifest(folder: Path) -> dict:
    """The state dict a golden set was computed with, as torch tensors by the names of its manifest, in order.

    It is held to the one digest that the manifest states; where it states several, that is left to the caller.
    """
    import torch

    stated = manifest(folder)
    state = {
        name: torch.from_numpy(np.array(fill(name, shape, dtype, stated["gain"])))
        for name, shape, dtype in stated["tensors"]
    }
    assert "weights_sha256" not in stated or digest(state) == stated["weights_sha256"]
    return state


def save_checkpoint(state: dict, path: Path, *, prefix: str = "") -> Path:
    """Write tensors as a training run does: below `state_dict`, each name with the prefix of its wrapper."""
    import torch

    torch.save({"state_dict": {prefix + name: tensor for name, tensor in state.items()}}, path)
    return path


def save_parts(state: dict, paths: Mapping[str, Path]) -> None:
    """Write the tensors of each prefix, named without it, into a file of their own."""
    import torch

    for prefix, path in paths.items():
        own = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        torch.save(own, path)


def digest(state: dict) -> str:
    """`weights_sha256` of a manifest: over the sorted names, each followed by its tensor's bytes."""
    total = hashlib.sha256()
    for name in sorted(state):
        total.update(name.encode())
        total.update(np.ascontiguousarray(state[name].numpy()).tobytes())
    return total.hexdigest()
