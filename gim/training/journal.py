"""What a run says of itself: points of curves, for TensorBoard, Prometheus and the run's page. Imports no torch.

Points are kept in the store in chunks, one per checkpoint, so that a run that was killed and goes on from its last
checkpoint overwrites the points of the steps that it computes again.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from gim import codecs, keys
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry

if TYPE_CHECKING:
    from gim.training.step import StepResult


@dataclass(frozen=True, slots=True)
class Point:
    """Values after so many steps."""

    step: int
    pairs: int
    values: dict[str, float]  # "loss", "video/matches", "lr", "validation/loss", "auc/<benchmark>/5", ...


@dataclass(frozen=True, slots=True)
class LogChunk:
    """The points between two checkpoints, as stored."""

    points: list[Point]


class Curves(Protocol):
    """Draws points, as TensorBoard's writer does."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> object:
        """Draw one point of one curve."""

    def close(self) -> None:
        """Write what is left."""


@dataclass
class _Window:
    """Sums since the last point."""

    num_pairs: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    happened: dict[str, float] = field(default_factory=dict)  # how often

    def add(self, name: str, value: float) -> None:
        if not math.isnan(value):  # what was no number is counted elsewhere
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1


class Journal:
    """Collects what steps say and gives it out; one per run, on rank 0."""

    def __init__(
        self,
        store: Store,
        run_id: str,
        *,
        every_pairs: int,
        telemetry: Telemetry,
        curves: Curves | None = None,
        on_point: Callable[[Point], None] = lambda _: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._run_id = run_id
        self._every_pairs = every_pairs
        self._telemetry = telemetry
        self._curves = curves
        self._on_point = on_point
        self._now = now
        self._points: list[Point] = []
        self._window = _Window()

    def add_step(
        self, step: int, pairs: int, result: "StepResult", *, num_pairs: int, seconds: float, rate: float
    ) -> Point | None:
        """Take in one step; gives the point that it completes, if it does.

        Args:
            step: steps done.
            pairs: pairs seen, over all ranks.
            result: of this rank.
            num_pairs: of this step, over all ranks.
            seconds: that it took.
            rate: the learning rate.
        """
        window = self._window
        window.seconds += seconds
        window.num_pairs += num_pairs
        window.wait_seconds += result.wait_seconds
        for name, value in {"loss": result.loss, "gradient_norm": result.gradient_norm, **result.terms}.items():
            window.add(name, value)
        self._count(result, step, num_pairs)
        if window.num_pairs < self._every_pairs:
            return None
        took = max(window.seconds, 1e-9)
        values = {name: total / window.counts[name] for name, total in window.sums.items()}
        values |= {
            "lr": rate,
            "pairs_per_second": window.num_pairs / took,
            "data_wait_share": window.wait_seconds / took,
        }
        values |= window.happened
        self._window = _Window()
        return self.add(step, pairs, values)

    def note_checkpoint(self, step: int) -> None:
        """A checkpoint of a step is stored."""
        self._telemetry.set_level("training_checkpoint_step", step, run_id=self._run_id)
        self._telemetry.set_level("training_checkpoint_time_seconds", self._now(), run_id=self._run_id)

    def add(self, step: int, pairs: int, values: Mapping[str, float]) -> Point:
        """Take in a point: of a validation, or of a window of steps."""
        point = Point(step, pairs, dict(values))
        self._points.append(point)
        self._on_point(point)
        for name, value in values.items():
            if self._curves is not None:
                self._curves.add_scalar(name, value, step)
            self._telemetry.set_level("training_value", value, run_id=self._run_id, curve=name)
        return point

    def _count(self, result: "StepResult", step: int, num_pairs: int) -> None:
        """What happened in a step, for the window's point and for counters."""
        run_id, happened = self._run_id, self._window.happened
        self._telemetry.count("trained_pairs", num_pairs, "", run_id=run_id)
        self._telemetry.set_level("training_step", step, run_id=run_id)
        for item in result.seen:
            for reason, count in item.skipped.items():
                name = f"skipped/{item.part}/{reason}"
                happened[name] = happened.get(name, 0) + count
                self._telemetry.count("training_skipped_pairs", count, "", run_id=run_id, part=item.part, reason=reason)
        happened["bad_steps"] = happened.get("bad_steps", 0) + (not result.is_good)
        if not result.is_good:
            self._telemetry.count("training_bad_steps", 1, "", run_id=run_id)

    def flush(self, step: int) -> None:
        """Store the points since the last checkpoint, for the one of this step.

        Raises:
            Unavailable: the store is full or away; the points are kept.
        """
        self._store.put(keys.training_log(self._run_id, step), codecs.to_json(LogChunk(self._points)))
        self._points = []


def read_points(store: Store, run_id: str, *, up_to: int | None = None) -> Iterator[Point]:
    """All points of a run in order of steps.

    Args:
        store: of the run.
        run_id: of the run.
        up_to: steps; later points are of a run that was interrupted, and went on from there.
    """
    for key in store.list(keys.training_logs_prefix(run_id)):
        for point in codecs.from_json(LogChunk, store.get(key)).points:
            if up_to is None or point.step <= up_to:
                yield point
