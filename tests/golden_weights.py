"""Weights that anybody can rebuild from the names of tensors, and what the original networks computed with them."""

import hashlib
import json
import re
import zlib
from collections.abc import Iterable
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
    """The state dict a golden set was computed with, as torch tensors by the names of its manifest, in order."""
    import torch

    stated = manifest(folder)
    return {
        name: torch.from_numpy(np.array(fill(name, shape, dtype, stated["gain"])))
        for name, shape, dtype in stated["tensors"]
    }


def digest(state: dict) -> str:
    """`weights_sha256` of a manifest: over the sorted names, each followed by its tensor's bytes."""
    total = hashlib.sha256()
    for name in sorted(state):
        total.update(name.encode())
        total.update(np.ascontiguousarray(state[name].numpy()).tobytes())
    return total.hexdigest()
