"""What the page of a run says, as plain values. Imports no torch."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gim.datasets.manifest import DatasetManifest, read_dataset
from gim.errors import CorruptObject, GimError, KeyMissing
from gim.ports.store import Store
from gim.training.checkpoints.listing import read_manifest
from gim.training.config import TrainingConfig
from gim.training.journal import Point
from gim.training.looking.curves import COUNTED
from gim.training.looking.runs import changed_settings, config_of, recipe_settings, stored_dumps
from gim.training.run_record import RunRecord
from gim.training.runs import RunState, read_run

_SHOWN_ROWS = 24  # of the table of numbers
_SHOWN_CURVES = ("loss", "validation/loss", "lr", "gradient_norm", "pairs_per_second", "data_wait_share")


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """One checkpoint that is there."""

    step: int
    pairs: int
    score: float | None
    is_best: bool
    is_latest: bool
    weights: str  # name of the file
    num_bytes: int
    licence: str


@dataclass(frozen=True, slots=True)
class RunContents:
    """All that the page says, besides curves and pictures."""

    record: RunRecord
    config: TrainingConfig
    points: Sequence[Point]
    checkpoints: Sequence[CheckpointRow]
    changed: Sequence[tuple[str, Any, Any]]  # settings otherwise than in the recipe: path, there, here
    has_recipe: bool  # whether the recipe's file is here
    dataset: DatasetManifest | None  # None: not in this store
    skipped: Sequence[tuple[str, str, int]]  # part, reason, pairs of the first process; most first
    dumped: dict[int, list[str]]  # step -> keys
    num_bad_steps: int | None  # None: the run has not counted them

    @property
    def last_step(self) -> int:
        """The last step that anything is known of."""
        return max([point.step for point in self.points] + [row.step for row in self.checkpoints], default=0)

    @property
    def is_finished(self) -> bool:
        """Whether the last checkpoint is that of the last step."""
        return bool(self.checkpoints) and self.checkpoints[-1].step >= self.config.num_steps

    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """Curve -> (step, value) of its points."""
        found: dict[str, list[tuple[int, float]]] = {}
        for point in self.points:
            for name, value in point.values.items():
                found.setdefault(name, []).append((point.step, value))
        return found

    def best(self, curve: str) -> tuple[int, float] | None:
        """Step and value of the least of a curve."""
        values = [(point.values[curve], point.step) for point in self.points if curve in point.values]
        finite = [(value, step) for value, step in values if abs(value) < float("inf")]
        return (min(finite)[1], min(finite)[0]) if finite else None


def gather(store: Store, record: RunRecord, points: Iterable[Point]) -> RunContents:
    """Collect what a store knows of a run.

    Raises:
        ConfigError: the run has a setting that this version does not know.
        Unavailable: the store cannot be reached.
    """
    config, found = config_of(record), list(points)
    counts = _counts(found)
    dumped = stored_dumps(store, record.run_id)
    return RunContents(
        record=record,
        config=config,
        points=found,
        checkpoints=_checkpoints(store, read_run(store, record.run_id), config),
        changed=changed_settings(record),
        has_recipe=recipe_settings(record.recipe) is not None,
        dataset=_dataset(store, record.dataset_id),
        skipped=_skipped(counts),
        dumped=dumped,
        num_bad_steps=int(counts["bad_steps"]) if "bad_steps" in counts else None,
    )


def number_rows(contents: RunContents) -> tuple[list[str], list[tuple[int, list[float | None]]]]:
    """The curves as a table of few rows: their names, and of some steps evenly over the run what they are there."""
    curves = contents.curves()
    names = [name for name in _SHOWN_CURVES if name in curves]
    names += sorted(name for name in curves if name.startswith("auc/"))
    by_step: dict[int, dict[str, float]] = {}
    for point in contents.points:
        by_step.setdefault(point.step, {}).update(point.values)
    steps = [step for step, values in sorted(by_step.items()) if any(name in values for name in names)]
    validated = [step for step in steps if "validation/loss" in by_step[step]]
    chosen = evenly(validated or steps, _SHOWN_ROWS)
    return names, [(step, [by_step[step].get(name) for name in names]) for step in chosen]


def evenly(items: Sequence[int], most: int) -> list[int]:
    """At most so many of the items, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def _counts(points: Iterable[Point]) -> Counter[str]:
    """Sums of the curves that count."""
    sums: Counter[str] = Counter()
    for point in points:
        for name, value in point.values.items():
            if name.partition("/")[0] in COUNTED:
                sums[name] += round(value)
    return sums


def _skipped(counts: Counter[str]) -> list[tuple[str, str, int]]:
    found = []
    for name, count in counts.most_common():
        kind, _, what = name.partition("/")
        if kind == "skipped" and count:
            part, _, reason = what.rpartition("/")
            found.append((part, reason.replace("_", " "), count))
    return found


def _checkpoints(store: Store, run: RunState, config: TrainingConfig) -> list[CheckpointRow]:
    rows = []
    for step in run.steps:
        try:
            manifest = read_manifest(store, run.run_id, step)
        except (KeyMissing, CorruptObject):  # deleted since, or damaged: `gim train --resume` says it
            continue
        files = [*manifest.files, *manifest.state]
        rows.append(
            CheckpointRow(
                step=step,
                pairs=step * config.loop.canonical_batch,
                score=run.scores.get(step),
                is_best=step == run.best,
                is_latest=step == run.steps[-1],
                weights=", ".join(file.key.rpartition("/")[2] for file in manifest.files),
                num_bytes=sum(file.num_bytes for file in files),
                licence=manifest.licence,
            )
        )
    return rows


def _dataset(store: Store, dataset_id: str) -> DatasetManifest | None:
    try:
        return read_dataset(store, dataset_id)
    except GimError:  # the page tells that it is not here
        return None
