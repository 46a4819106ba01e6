"""The runs of a store: how far each has come, and which checkpoint `run:<id>` stands for. Imports no torch.

`run:<id>@<step>` is one checkpoint. `run:<id>` is the one that a finished run has come to: that of highest score, the
later of equals, or the last where none has a score. It stays the same one, so an unfinished run has none.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from gim import codecs, keys
from gim.errors import CorruptObject, InvalidInput, KeyMissing
from gim.ports.store import Store
from gim.records import CheckpointManifest
from gim.spelling import did_you_mean
from gim.training.checkpoints.listing import read_manifest, stored_scores, stored_steps
from gim.training.run_record import RunRecord

PREFIX = "run:"
_MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class RunState:
    """How far a run has come."""

    run_id: str
    record: RunRecord | None  # None: its checkpoints were put there by somebody else
    steps: tuple[int, ...]  # of its checkpoints, ascending
    scores: dict[int, float]  # of those that have one

    @property
    def num_steps(self) -> int | None:
        """Steps of the whole run; None where nobody says."""
        if self.record is None:
            return None
        settings = self.record.settings
        return int(settings["schedule.pairs"]) // int(settings["loop.canonical_batch"])

    @property
    def is_finished(self) -> bool:
        """Whether it has a checkpoint of its end, or no end that is known."""
        return bool(self.steps) and self.num_steps in (None, self.steps[-1])

    @property
    def best(self) -> int | None:
        """The step of the checkpoint of highest score, the later of equals; None where none has a score."""
        return max(self.scores, key=lambda step: (self.scores[step], step), default=None)

    @property
    def result(self) -> int | None:
        """The step of the checkpoint that `run:<id>` stands for; None as long as it is not finished."""
        if not self.is_finished:
            return None
        return self.steps[-1] if self.best is None else self.best


def run_ids(store: Store) -> list[str]:
    """Ids of all runs of a store, ascending."""
    return list(dict.fromkeys(key.split("/")[1] for key in store.list(keys.checkpoints_prefix())))


def runs_of(store: Store) -> Iterator[RunState]:
    """All runs of a store, by id; one whose record is damaged is shown without it."""
    for run_id in run_ids(store):
        try:
            run = _state(store, run_id, _record(store, run_id))
        except CorruptObject:
            run = _state(store, run_id, None)
        if run.record or run.steps:  # else nothing but leftovers
            yield run


def read_run(store: Store, run_id: str) -> RunState:
    """How far a run has come.

    Raises:
        InvalidInput: there is no such run; the message names the nearest ones.
        CorruptObject: what it is was stored, and is damaged.
        Unavailable: the store cannot be reached.
    """
    if not keys.is_key(run_id) or "/" in run_id:
        raise InvalidInput(f"run {run_id!r}: no run can be called so; see `gim ls runs`")
    run = _state(store, run_id, _record(store, run_id))
    if run.record is None and not run.steps:
        raise InvalidInput(f"no run {run_id!r} in this store{did_you_mean(run_id, run_ids(store))}; see `gim ls runs`")
    return run


def find_checkpoint(store: Store, name: str) -> CheckpointManifest:
    """The checkpoint that `run:<id>` or `run:<id>@<step>` stands for; it has weights.

    Raises:
        InvalidInput: there is no such run or no such step, the run is not finished and no step is given, or the
            checkpoint holds no weights.
        CorruptObject: what is written of it is damaged.
        Unavailable: the store cannot be reached.
    """
    run_id, at, step_text = name.removeprefix(PREFIX).partition("@")
    if not run_id or (at and not (step_text.isascii() and step_text.isdecimal())):
        raise InvalidInput(f"{name}: expected run:ID or run:ID@STEP; see `gim ls runs`")
    run = read_run(store, run_id)
    step = int(step_text) if at else run.result
    if step is None:
        raise InvalidInput(_unfinished(run))
    try:
        manifest = read_manifest(store, run_id, step)
    except KeyMissing as error:
        shown = ", ".join(map(str, run.steps[-_MOST_SHOWN:]))
        there = f"its last are of {shown}" if run.steps else "it has none yet"
        raise InvalidInput(f"run {run_id} has no checkpoint of step {step}: {there}") from error
    if not manifest.files:
        raise InvalidInput(f"checkpoint {step} of run {run_id} holds no weights")
    return manifest


def checkpoint_name(manifest: CheckpointManifest) -> str:
    """The name that stands for this checkpoint and no other."""
    return f"{PREFIX}{manifest.run_id}@{manifest.step}"


def _state(store: Store, run_id: str, record: RunRecord | None) -> RunState:
    steps = stored_steps(store, run_id)
    return RunState(run_id, record, tuple(steps), stored_scores(store, run_id, steps))


def _record(store: Store, run_id: str) -> RunRecord | None:
    key = keys.training_run(run_id)
    try:
        return codecs.from_json(RunRecord, store.get(key))
    except KeyMissing:
        return None
    except CorruptObject as error:
        raise CorruptObject(f"{key}: {error}") from error


def _unfinished(run: RunState) -> str:
    if not run.steps:
        return f"run {run.run_id} has no checkpoint yet"
    done = f"run {run.run_id} is not finished, {run.steps[-1]} of {run.num_steps} steps are done"
    return f"{done}: go on with it by --resume, or name a checkpoint, as in {PREFIX}{run.run_id}@{run.steps[-1]}"
