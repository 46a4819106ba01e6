"""What a run says of itself: points of curves, for TensorBoard, Prometheus and the run's page. Imports no torch.

Points are kept in the store in chunks, one per checkpoint. Those of steps after the checkpoint that a run goes on from
(it was killed, the newest was not stored or is damaged) are computed again, and replaced by the next chunk.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gim import codecs, keys
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry
from gim.training.window import Window


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


class Journal:
    """Collects points and gives them out; one per run, on rank 0."""

    def __init__(
        self,
        store: Store,
        run_id: str,
        *,
        first_step: int = 0,
        telemetry: Telemetry,
        curves: Curves | None = None,
        on_point: Callable[[Point], None] = lambda _: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Begin a run's curves, or go on with them.

        Args:
            store: of the run.
            run_id: of the run.
            first_step: of the checkpoint that the run goes on from.
            telemetry: told of every step and point.
            curves: that points are drawn in.
            on_point: told of every point.
            now: seconds since 1970.
        """
        self._store = store
        self._run_id = run_id
        self._telemetry = telemetry
        self._curves = curves
        self._on_point = on_point
        self._now = now
        logged = store.list(keys.training_logs_prefix(run_id))
        self._outdated = {key for key in logged if key > keys.training_log(run_id, first_step)}
        self._points: list[Point] = []

    def note_step(self, step: int, *, num_pairs: int, is_good: bool) -> None:
        """A step is done.

        Args:
            step: steps done.
            num_pairs: of this step, over all ranks.
            is_good: its gradient was a number.
        """
        self._telemetry.count("trained_pairs", num_pairs, "", run_id=self._run_id)
        self._telemetry.set_level("training_step", step, run_id=self._run_id)
        self._telemetry.count("training_bad_steps", 0 if is_good else 1, "", run_id=self._run_id)  # none is 0, too

    def add_windows(self, step: int, pairs: int, windows: Sequence[Window], *, rate: float) -> Point:
        """Take in the steps since the last point.

        Args:
            step: steps done.
            pairs: pairs seen, over all ranks.
            windows: of all ranks, the first one's first.
            rate: the learning rate.
        """
        whole = Window.merged(windows)
        for (part, reason), count in whole.skipped.items():
            where = {"run_id": self._run_id, "part": part, "reason": reason}
            self._telemetry.count("training_skipped_pairs", count, "", **where)
        speed = whole.num_pairs / max(windows[0].seconds, 1e-9)
        return self.add(step, pairs, {"lr": rate, "pairs_per_second": speed, **whole.values()})

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

    def flush(self, step: int) -> None:
        """Store the points since the last checkpoint, for the one of this step.

        Raises:
            Unavailable: the store is full or away; the points are kept.
        """
        key = keys.training_log(self._run_id, step)
        self._store.put(key, codecs.to_json(LogChunk(self._points)))
        self._points = []
        for other in sorted(self._outdated - {key}):
            self._store.delete(other)
        self._outdated.clear()


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
