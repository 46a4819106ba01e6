"""Stores a run's checkpoints while it trains on: state is copied in the step, and written by a thread of its own.

At most one checkpoint is on its way. One that cannot be stored (a full disk, a server that is away) is told, and
training goes on: the last good one stays, and the next is another try. Only the end of a run is an error then.
"""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gim.errors import InvalidInput, Unavailable
from gim.ports.store import Store
from gim.records import CheckpointManifest, CheckpointScore
from gim.training.checkpoints.listing import (
    check_new,
    clear_leftovers,
    delete_checkpoint,
    put_score,
    steps_to_keep,
    stored_scores,
    stored_steps,
)
from gim.training.checkpoints.state import FlatState, copy_tensors, flatten_state
from gim.training.checkpoints.writing import Weights, write_checkpoint


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint is stored."""

    manifest: CheckpointManifest
    removed: tuple[int, ...] = ()  # steps of those that went for it
    trouble: str = ""  # why older ones could not be removed, in one line; the next checkpoint is another try

    @property
    def step(self) -> int:
        """Of the checkpoint."""
        return self.manifest.step


@dataclass(frozen=True, slots=True)
class NotSaved:
    """A checkpoint could not be stored; those before it are as they were."""

    step: int
    reason: str  # one line


Outcome = Saved | NotSaved


class CheckpointSaver:
    """The checkpoints of one run of training, written by one process of it (the first rank)."""

    def __init__(
        self,
        store: Store,
        template: CheckpointManifest,
        *,
        keep_last: int = 2,
        keep_best: int = 0,
        resumed_from: int | None = None,
    ) -> None:
        """Begin a run, or go on with one.

        Args:
            store: where checkpoints go.
            template: what all manifests of the run say; `step`, `files` and `state` are filled in.
            keep_last: newest checkpoints that stay; the newest stays in any case.
            keep_best: checkpoints of highest score that stay besides.
            resumed_from: step of the checkpoint that this process has loaded. Later ones are damaged, since it would
                have loaded them: they are replaced.

        Raises:
            InvalidInput: the run has checkpoints, and is not resumed.
        """
        self._store, self._template = store, template
        self._keep_last, self._keep_best = keep_last, keep_best
        self._good = set() if resumed_from is None else {resumed_from}
        self._scores: dict[int, CheckpointScore] = {}  # not stored yet
        self._running: Future[Outcome] | None = None
        self._last_failure: NotSaved | None = None
        self._is_closed = False
        if resumed_from is None:
            check_new(store, template.run_id)
        self._thread = ThreadPoolExecutor(1, "gim-checkpoint")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:  # what ended the block is what the user has to see
            self._thread.shutdown()

    def save(self, step: int, state: Mapping[str, Any], weights: Sequence[Weights] = ()) -> Outcome | None:
        """Copy a checkpoint and begin to store it; waits for the one before, if that is still on its way.

        Args:
            step: of the optimiser. A step that this process has stored or loaded is not stored again.
            state: as `flatten_state` takes it; may change as soon as this returns.
            weights: as matchers load them; files given by their path have to stay until the next call.

        Returns:
            What became of the one before, unless that has been told already.

        Raises:
            InvalidInput: the state holds what a checkpoint cannot hold.
        """
        before = self.wait()
        if step not in self._good:
            copied, published = flatten_state(state).copied(), [_copied(item) for item in weights]
            self._running = self._thread.submit(self._store_checkpoint, step, copied, published)
        return before

    def score(self, step: int, value: float) -> None:
        """Say how good a stored checkpoint is (higher is better); it counts from the next one on.

        Raises:
            InvalidInput: the value is no finite number.
        """
        if not math.isfinite(value):
            raise InvalidInput(f"checkpoint {step}: its score is {value}, not a finite number")
        self._scores[step] = CheckpointScore(step, value)

    def outcome(self) -> Outcome | None:
        """What became of the checkpoint on its way, once; None while that is not known. Never waits."""
        return self.wait() if self._running is not None and self._running.done() else None

    def wait(self) -> Outcome | None:
        """What became of the checkpoint on its way, once; None where there is none."""
        running, self._running = self._running, None
        if running is None:
            return None
        outcome = running.result()
        self._last_failure = outcome if isinstance(outcome, NotSaved) else None
        return outcome

    def close(self) -> Outcome | None:
        """Wait for what is on its way, and end the thread; a second time does nothing.

        Returns:
            What became of the last checkpoint, unless that has been told already.

        Raises:
            Unavailable: it could not be stored; the message says which one a resumed run goes on from.
        """
        if self._is_closed:
            return None
        self._is_closed = True
        try:
            outcome = self.wait()
            self._thread.submit(self._store_scores).result()
        finally:
            self._thread.shutdown()
        if self._last_failure:
            raise Unavailable(self._not_stored(self._last_failure))
        return outcome

    def _not_stored(self, failure: NotSaved) -> str:
        stays = max(self._good, default=None)
        rest = "there is none before it" if stays is None else f"the last good one is of step {stays}"
        return f"run {self._template.run_id}: checkpoint {failure.step} is not stored, {rest} ({failure.reason})"

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _store_checkpoint(self, step: int, state: FlatState, weights: Sequence[Weights]) -> Outcome:
        run_id = self._template.run_id
        try:
            clear_leftovers(self._store, run_id)
            delete_checkpoint(self._store, run_id, step)  # a damaged one of this step
            manifest = write_checkpoint(self._store, self._template, step, state=state, weights=weights)
        except Unavailable as error:
            with suppress(Unavailable):  # what could be written takes room from others
                clear_leftovers(self._store, run_id)
            return NotSaved(step, str(error))
        self._good.add(step)
        try:
            return Saved(manifest, self._make_room(step))
        except Unavailable as error:
            return Saved(manifest, trouble=str(error))

    def _make_room(self, newest: int) -> tuple[int, ...]:
        run_id = self._template.run_id
        self._store_scores()
        stored = stored_steps(self._store, run_id)
        ours = [step for step in stored if step <= newest or step in self._good]
        scores = stored_scores(self._store, run_id, ours)
        keep = steps_to_keep(ours, scores, last=self._keep_last, best=self._keep_best)
        gone = [step for step in stored if step not in keep]
        for step in gone:
            delete_checkpoint(self._store, run_id, step)
        return tuple(gone)

    def _store_scores(self) -> None:
        for step, score in list(self._scores.items()):
            put_score(self._store, self._template.run_id, score)
            del self._scores[step]


def _copied(weights: Weights) -> Weights:
    return weights if isinstance(weights.data, (bytes, Path)) else replace(weights, data=copy_tensors(weights.data))
