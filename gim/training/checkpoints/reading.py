"""A checkpoint out of a store: every byte against its manifest, and the one before where the newest is damaged."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gim import keys
from gim.errors import CorruptObject, InvalidInput, KeyMissing
from gim.ports.store import Store
from gim.records import CheckpointFile, CheckpointManifest
from gim.training.checkpoints.listing import read_manifest, stored_steps
from gim.training.checkpoints.state import FlatState, rebuild_state
from gim.training.checkpoints.storage import read_tensors
from gim.training.checkpoints.writing import DOCUMENT, sha256_of
from gim.training.distributed import Ranks


@dataclass(frozen=True, slots=True)
class Damaged:
    """A checkpoint that was passed over."""

    step: int
    reason: str  # one line, which names the file


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a run goes on from."""

    manifest: CheckpointManifest
    state: dict[str, Any]  # as it was given to be saved; tensors on the CPU
    passed_over: tuple[Damaged, ...] = ()  # newer ones, newest first

    @property
    def step(self) -> int:
        """Of the optimiser, when the state was copied."""
        return self.manifest.step


@contextmanager
def checked_file(store: Store, file: CheckpointFile) -> Iterator[Path]:
    """A local file, valid inside the `with` block, whose bytes are those that the manifest speaks of.

    Raises:
        CorruptObject: the file is missing or has changed; the message names its key.
        Unavailable: the store cannot be reached.
    """
    with ExitStack() as held:
        try:
            path = held.enter_context(store.fetch(file.key))
        except KeyMissing as error:
            raise CorruptObject(f"{file.key}: is missing, though the checkpoint's manifest names it") from error
        if sha256_of(path) != file.sha256:
            size = path.stat().st_size
            cut = f": {size} bytes of {file.num_bytes}" if size != file.num_bytes else ""
            raise CorruptObject(f"{file.key}: has changed since it was written, by its SHA-256{cut}")
        yield path


def load(store: Store, run_id: str, step: int) -> Loaded:
    """The state of one checkpoint, every file of which is what its manifest says.

    Raises:
        KeyMissing: there is no such checkpoint.
        CorruptObject: a file is missing or has changed; the message names it.
        InvalidInput: the checkpoint has weights but no state to go on from.
        Unavailable: the store cannot be reached.
    """
    manifest = read_manifest(store, run_id, step)
    if not manifest.state:
        raise InvalidInput(f"checkpoint {step} of run {run_id} holds weights alone: a run cannot go on from it")
    for file in manifest.files:
        with checked_file(store, file):
            pass
    with ExitStack() as held:
        paths = [held.enter_context(checked_file(store, file)) for file in manifest.state]
        named = {file.key.rpartition("/")[2]: path for file, path in zip(manifest.state, paths, strict=True)}
        document = named.pop(DOCUMENT, None)
        if document is None:
            raise CorruptObject(f"{keys.checkpoint_manifest(run_id, step)}: names no {DOCUMENT}")
        flat = FlatState(read_tensors(list(named.values())), document.read_bytes())
        return Loaded(manifest, rebuild_state(flat))


def resume(store: Store, run_id: str, ranks: Ranks | None = None) -> Loaded | None:
    """The newest checkpoint that is whole, the same one on every rank; None where the run has none.

    Args:
        store: seen by every rank.
        run_id: of the run.
        ranks: all of them have to call this; None for a process by itself.

    Raises:
        CorruptObject: there are checkpoints, and all are damaged.
        Unavailable: the store cannot be reached.
    """
    ranks = ranks or Ranks()
    found = _newest_whole(store, run_id) if ranks.is_first else None
    chosen = ranks.from_first((found.step, found.passed_over) if found else None)
    if chosen is None or found is not None:
        return found
    step, passed_over = chosen
    return replace(load(store, run_id, step), passed_over=passed_over)


def _newest_whole(store: Store, run_id: str) -> Loaded | None:
    damaged: list[Damaged] = []
    for step in reversed(stored_steps(store, run_id)):
        try:
            return replace(load(store, run_id, step), passed_over=tuple(damaged))
        except (CorruptObject, KeyMissing) as error:
            damaged.append(Damaged(step, str(error)))
    if damaged:
        raise CorruptObject(_all_damaged(run_id, damaged))
    return None


def _all_damaged(run_id: str, damaged: Sequence[Damaged]) -> str:
    return (
        f"run {run_id}: every checkpoint is damaged (step {damaged[0].step}: {damaged[0].reason}); "
        f"delete {keys.checkpoints_prefix(run_id)} to begin anew"
    )
