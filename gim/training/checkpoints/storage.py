"""Where torch.distributed.checkpoint (DCP) puts tensors: files of safetensors, which run nothing when they are read.

DCP's own files hold pickles, its metadata among them; a checkpoint comes from a store that others may write to. What
is stored here is whole tensors: every rank of data-parallel training holds the same ones, so one process writes them
all. What the files are called, hashed and kept in is the caller's business.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_safetensors
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, SavePlan, SavePlanner, WriteItemType
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from gim.errors import CorruptObject
from gim.weights.checkpoint import StateDict

_MAX_FILE_BYTES = 32 * 2**20  # serialised at one go, with no other thread running; a larger tensor has its own file

PutFile = Callable[[str, bytes], None]  # a file's name, and what is in it


def write_tensors(tensors: Mapping[str, torch.Tensor], put: PutFile) -> None:
    """Write tensors by way of DCP, in this process alone.

    Args:
        tensors: on any device.
        put: called with each file in turn; what it raises ends the writing, and is raised here.
    """
    with _in_one_process():
        save(dict(tensors), storage_writer=SafetensorsWriter(put), no_dist=True)


def read_tensors(files: Sequence[Path]) -> StateDict:
    """All tensors of files that `write_tensors` wrote, on the CPU.

    Raises:
        CorruptObject: a file is no safetensors; the message names it.
    """
    reader = SafetensorsReader(files)
    tensors = {name: torch.empty_like(tensor) for name, tensor in reader.tensors.items()}
    with _in_one_process():
        load(cast("dict[str, Any]", tensors), storage_reader=reader, no_dist=True)
    return tensors


class SafetensorsWriter(StorageWriter):
    """Writes each tensor of a plan into one of several files, in the order of their names."""

    def __init__(self, put: PutFile, *, max_file_bytes: int = _MAX_FILE_BYTES) -> None:
        self._put = put
        self._max_file_bytes = max_file_bytes

    def reset(self, checkpoint_id: str | PathLike[str] | None = None) -> None:
        """Nothing is held between two checkpoints."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Nothing to set up."""

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """The plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """The plans as they are."""
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Hand every file to `put`.

        Raises:
            ValueError: the plan has something else than whole tensors.
        """
        results = []
        for number, items in enumerate(self._files(plan)):
            tensors = {item.index.fqn: _on_cpu(planner.resolve_data(item)) for item in items}
            self._put(f"{number:05d}.safetensors", to_safetensors(tensors))
            results += [WriteResult(item.index, item.tensor_storage_size() or 0, None) for item in items]
        done: Future[list[WriteResult]] = Future()
        done.set_result(results)
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Nothing more: the files say themselves what is in them."""

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | PathLike[str]) -> bool:  # noqa: ARG003 - DCP's interface
        """Never chosen by the form of an id."""
        return False

    def _files(self, plan: SavePlan) -> Iterator[list[Any]]:
        file: list[Any] = []
        size = 0
        for item in sorted(plan.items, key=lambda item: item.index.fqn):
            if item.type != WriteItemType.TENSOR:
                raise ValueError(f"{item.index.fqn}: {item.type}, not a whole tensor")
            added = item.tensor_storage_size() or 0
            if file and size + added > self._max_file_bytes:
                yield file
                file, size = [], 0
            file.append(item)
            size += added
        if file:
            yield file


class SafetensorsReader(StorageReader):
    """Reads what `SafetensorsWriter` wrote, from local files."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Map the files.

        Raises:
            CorruptObject: one is no safetensors.
        """
        self.tensors: StateDict = {}
        for path in files:
            try:
                self.tensors.update(load_file(path))
            except (SafetensorError, ValueError, KeyError) as error:
                raise CorruptObject(f"{path.name}: not a file of tensors ({error})") from error

    def reset(self, checkpoint_id: str | PathLike[str] | None = None) -> None:
        """Nothing is held between two checkpoints."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:  # noqa: ARG002 - DCP's interface
        """What the files hold."""
        return Metadata({name: _described(tensor) for name, tensor in self.tensors.items()})

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Nothing to set up."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """The plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """The plans as they are."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Copy what the plan asks for into its tensors."""
        for item in plan.items:
            stored = self.tensors[item.storage_index.fqn]
            for axis, (start, length) in enumerate(zip(item.storage_offsets, item.lengths, strict=True)):
                stored = stored.narrow(axis, start, length)
            wanted = planner.resolve_tensor(item).detach()
            wanted.copy_(stored)
            planner.commit_tensor(item, wanted)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | PathLike[str]) -> bool:  # noqa: ARG003 - DCP's interface
        """Never chosen by the form of an id."""
        return False


def _on_cpu(item: Any) -> torch.Tensor:
    assert isinstance(item, torch.Tensor)
    return item.detach().cpu().contiguous()


def _described(tensor: torch.Tensor) -> TensorStorageMetadata:
    whole = ChunkStorageMetadata(torch.Size([0] * tensor.dim()), tensor.size())
    return TensorStorageMetadata(TensorProperties.create_from_tensor(tensor), tensor.size(), [whole])


@contextmanager
def _in_one_process() -> Iterator[None]:
    """What DCP says and raises, when it is used on purpose without other ranks, as it would be said here."""
    # Not `catch_warnings`: it is not safe between threads, and checkpoints are written in one of their own.
    warnings.filterwarnings("ignore", "torch.distributed is disabled, unavailable or uninitialized", UserWarning)
    try:
        yield
    except CheckpointException as error:  # no Exception, but a BaseException
        cause = next(iter(error.failures.values()))[0]
        raise cause from None
