"""One checkpoint into a store: what the run goes on from, the weights that matchers load, the manifest last."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from gim import codecs, keys
from gim.errors import InvalidInput
from gim.ports.store import Store
from gim.records import CheckpointFile, CheckpointManifest
from gim.training.checkpoints.state import FlatState
from gim.training.checkpoints.storage import write_tensors
from gim.weights.checkpoint import StateDict
from gim.weights.formats import SUFFIXES

DOCUMENT = "state.json"
_CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Weights:
    """One file of a checkpoint as matchers load it."""

    name: str  # of the file, with the suffix of a weight file
    data: bytes | Path | StateDict  # tensors are written as torch.save does
    setting: str = ""  # of the matcher, that names these weights; empty: it has one only

    def __post_init__(self) -> None:
        if Path(self.name).suffix not in SUFFIXES:
            raise InvalidInput(f"weights {self.name}: a file of weights ends in {', '.join(sorted(SUFFIXES))}")


def write_checkpoint(
    store: Store, template: CheckpointManifest, step: int, *, state: FlatState, weights: Sequence[Weights] = ()
) -> CheckpointManifest:
    """Store a checkpoint under its step; there is none before its manifest is written, and that is written last.

    Args:
        store: where to; the step has no manifest yet.
        template: what is known of the run; its `step`, `files` and `state` are filled in.
        step: of the optimiser.
        state: what the run goes on from.
        weights: as matchers load them.

    Raises:
        InvalidInput: a file of weights is not there.
        Unavailable: the store cannot take it.
    """
    files: list[CheckpointFile] = []
    run_id = template.run_id

    def put_state(name: str, data: bytes) -> None:
        files.append(_put(store, keys.checkpoint_state(run_id, step, name), data))

    write_tensors(state.tensors, put_state)
    put_state(DOCUMENT, state.document)
    published = [
        replace(_put(store, keys.checkpoint_weights(run_id, step, item.name), _bytes(item)), setting=item.setting)
        for item in weights
    ]
    manifest = replace(template, step=step, files=published, state=files)
    store.put(keys.checkpoint_manifest(run_id, step), codecs.to_json(manifest))
    return manifest


def sha256_of(path: Path) -> str:
    """Hex digits of the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _bytes(weights: Weights) -> bytes | Path:
    if isinstance(weights.data, (bytes, Path)):
        return weights.data
    buffer = io.BytesIO()
    torch.save(dict(weights.data), buffer)
    return buffer.getvalue()


def _put(store: Store, key: str, data: bytes | Path) -> CheckpointFile:
    if isinstance(data, Path):
        store.put_file(key, data)
        return CheckpointFile(key, sha256_of(data), data.stat().st_size)
    store.put(key, data)
    return CheckpointFile(key, hashlib.sha256(data).hexdigest(), len(data))
