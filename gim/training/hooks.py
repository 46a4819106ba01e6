"""What a run does beside its steps: averages weights, writes curves, validates, draws, stores checkpoints.

One object per rank; what is written once is written by the first.
"""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from gim import keys
from gim.errors import Unavailable
from gim.ports.store import Store
from gim.training.checkpoints.saver import CheckpointSaver, NotSaved, Outcome
from gim.training.checkpoints.writing import Weights
from gim.training.config import TrainingConfig
from gim.training.data.position import merge_states
from gim.training.distributed import Ranks
from gim.training.ema import WeightAverage
from gim.training.journal import Journal
from gim.training.models.base import Trainable
from gim.training.statistics import average_statistics
from gim.training.step import StepResult
from gim.training.validation import MicroBatchesOpener, held_out_losses
from gim.training.window import Window
from gim.weights.checkpoint import StateDict

_MAX_DUMPS = 10  # of a process: a run that diverges would fill the store


class Reader(Protocol):
    """What is asked of the stream of micro-batches."""

    def state(self) -> dict[str, Any]: ...


@dataclass
class RunHooks:
    """See `gim.training.loop.Hooks`."""

    run_id: str
    config: TrainingConfig
    store: Store
    ranks: Ranks
    model: Trainable
    optimiser: torch.optim.Optimizer
    reader: Reader
    journal: Journal | None  # of the first rank
    saver: CheckpointSaver | None  # of the first rank
    average: WeightAverage | None
    held_out: MicroBatchesOpener | None  # None: there are none
    num_held_out: int  # micro-batches of a validation, of this rank
    judge: Callable[[StateDict], Mapping[str, float]] | None  # of published weights: "auc/<benchmark>/5", ...
    draw_pairs: Callable[[StateDict, int], None] | None  # pictures of the fixed pairs with published weights, at a step
    is_told_to_stop: Callable[[], bool]
    say: Callable[[str], None]
    on_saved: Callable[[int], None] = lambda _: None  # of a step whose checkpoint is stored
    last_step: int = field(default=0, init=False)
    num_bad: int = field(default=0, init=False)
    _num_dumps: int = field(default=0, init=False)
    _window: Window = field(default_factory=Window, init=False)  # of this rank
    _last_score: float | None = field(default=None, init=False)

    @property
    def _step_pairs(self) -> int:
        return self.config.loop.canonical_batch

    def after_step(self, step: int, result: StepResult, *, seconds: float, rate: float) -> None:
        self.last_step = step
        if result.is_good and self.average is not None:
            self.average.update(self.model)
        if not result.is_good:
            self._note_bad(step, result)
        if self.journal is not None:
            self.journal.note_step(step, num_pairs=self._step_pairs, is_good=result.is_good)
        self._window.add_step(result, num_pairs=self._step_pairs, seconds=seconds)
        if self._window.num_pairs >= self.config.keep.log_every_pairs:
            self._log(step, rate)
        if self.saver is not None and (outcome := self.saver.outcome()):
            self._tell(outcome)

    def validate(self, step: int) -> None:
        self._share_statistics()
        values: dict[str, float] = {}
        if self.held_out is not None and self.num_held_out:
            with self._published_weights_in_place():
                losses = held_out_losses(self.model, self.held_out, self.num_held_out, self.ranks, self.say)
            values |= {f"validation/{name}": value for name, value in losses.items()}
        if self.judge is not None and self.ranks.is_first:
            values |= self.judge(self.published())
        self.ranks.barrier()
        if self.journal is not None and values:
            self.journal.add(step, step * self._step_pairs, values)
        self._last_score = _score_of(values)

    def draw(self, step: int) -> None:
        if self.draw_pairs is not None and self.ranks.is_first:
            self.draw_pairs(self.published(), step)

    def save(self, step: int, *, is_last: bool) -> None:
        self._share_statistics()
        states = self.ranks.gather(self.reader.state())
        if self.saver is None or states is None:
            return
        if self.journal is not None:
            self._put_journal(step)
        state = {
            "step": step,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "reader": merge_states(states),
        }
        name = f"{self.config.architecture}-{self.run_id}.ckpt"
        self._tell(self.saver.save(step, state, [Weights(name, self.published(), self.model.weights_setting)]))
        if self._last_score is not None:
            self.saver.score(step, self._last_score)
            self._last_score = None
        if is_last:
            self._tell(self.saver.wait())

    def is_stop_wanted(self) -> bool:
        return self.ranks.any(self.is_told_to_stop())

    def published(self) -> StateDict:
        """The weights as matchers load them: the average, where there is one."""
        return self.model.published(self.average.averaged() if self.average else self.model.state_dict())

    def _share_statistics(self) -> None:
        """What is judged and stored holds the running statistics of all ranks."""
        average_statistics(self.model, self.ranks)
        if self.average is not None:
            self.average.update_buffers(self.model)

    @contextmanager
    def _published_weights_in_place(self) -> Iterator[None]:
        if self.average is None:
            yield
            return
        own = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.average.averaged())
        try:
            yield
        finally:
            self.model.load_state_dict(own)

    def _note_bad(self, step: int, result: StepResult) -> None:
        self.num_bad += 1
        if self.ranks.is_first:
            self.say(f"step {step}: the gradient is no number, nothing was changed ({self.num_bad} such steps so far)")
        bad = result.bad or result.seen
        if self._num_dumps < _MAX_DUMPS:
            self._num_dumps += 1
            buffer = io.BytesIO()
            torch.save(
                [{"part": item.part, "names": item.names, "batch": item.batch.tensors()} for item in bad], buffer
            )
            try:
                self.store.put(keys.training_dump(self.run_id, step, self.ranks.rank), buffer.getvalue())
            except Unavailable as error:
                self.say(f"step {step}: its pairs could not be dumped ({error})")

    def _log(self, step: int, rate: float) -> None:
        """A point of the curves: all ranks come here after the same step."""
        windows = self.ranks.gather(self._window)
        self._window = Window()
        if self.journal is not None and windows is not None:
            self.journal.add_windows(step, step * self._step_pairs, windows, rate=rate)

    def _put_journal(self, step: int) -> None:
        assert self.journal is not None
        try:
            self.journal.flush(step)
        except Unavailable as error:  # kept for the next checkpoint
            self.say(f"step {step}: the curves are not stored ({error})")

    def _tell(self, outcome: Outcome | None) -> None:
        if isinstance(outcome, NotSaved):
            self.say(f"checkpoint {outcome.step} is not stored, training goes on: {outcome.reason}")
        elif outcome is not None:
            if outcome.trouble:
                self.say(outcome.trouble)
            if self.journal is not None:
                self.journal.note_checkpoint(outcome.step)
            self.on_saved(outcome.step)


def _score_of(values: Mapping[str, float]) -> float | None:
    """What the best checkpoint has the most of: mean AUC@5, or, without benchmarks, the held-out loss's opposite."""
    areas = [value for name, value in values.items() if name.startswith("auc/") and name.endswith("/5")]
    if areas:
        return sum(areas) / len(areas)
    return -values["validation/loss"] if "validation/loss" in values else None
