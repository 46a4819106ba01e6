"""Errors of every run on what is held out, and what they say: AUC with intervals over pairs and seeds."""

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.video_labels.conditions import (
    CONDITIONS,
    HELD_OUT,
    HELD_OUT_PLANES,
    NUM_KEYPOINTS,
    POSED_MEAN,
    Condition,
    Plan,
    Reference,
)
from gim.adapters.store_file import FileStore
from gim.benchmarks.homography_pairs import read_homography_pairs
from gim.benchmarks.posed import read_posed_pairs
from gim.evaluation.auc import error_auc
from gim.evaluation.bootstrap import NUM_SETS, auc_of_sets, interval_of, resample
from gim.evaluation.checkpoint import Checkpoint, checkpoint_matcher
from gim.evaluation.homography_protocols import homography_protocol_named
from gim.evaluation.homography_scorer import Column as PlaneColumn
from gim.evaluation.homography_scorer import homography_scorer
from gim.evaluation.passes import Evaluation, Scorer
from gim.evaluation.pose_scorer import Column, pose_scorer
from gim.evaluation.protocols import protocol_named
from gim.evaluation.two_view_sizes import PLANE_SIZES, size_named
from gim.evaluation.views import Views, folder_views
from gim.matchers.base import Matcher
from gim.matchers.network import ModelResources
from gim.matchers.registry import load_matcher
from gim.records import Float64Array
from gim.training.checkpoints.listing import latest
from gim.training.checkpoints.reading import read_manifest

POSE_DEG = (5.0, 10.0, 20.0)
PLANE_PX = (3.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One held-out set."""

    name: str
    thresholds: tuple[float, ...]
    views: Views
    scorer: Scorer
    column: int | None  # of the errors; None: the larger of rotation and translation


def benchmarks(data: Path) -> list[Benchmark]:
    """The held-out sets, none of whose images a run has seen."""
    protocol = protocol_named("strict")
    found = []
    for folder in HELD_OUT:
        pairs = read_posed_pairs(data / folder / "pairs.txt")
        name = folder.rpartition("/")[2]
        views = folder_views(name, data / folder, [(pair.image0, pair.image1) for pair in pairs], protocol.size_rule)
        found.append(Benchmark(name, POSE_DEG, views, pose_scorer(pairs, protocol, views), None))
    return [*found, _planes(data / HELD_OUT_PLANES)]


def _planes(folder: Path) -> Benchmark:
    protocol = homography_protocol_named("strict")
    pairs = read_homography_pairs(folder / "pairs_h.txt")
    names = [(pair.image0, pair.image1) for pair in pairs]
    views = folder_views(HELD_OUT_PLANES, folder, names, size_named("short-480", PLANE_SIZES).rule)
    return Benchmark(HELD_OUT_PLANES, PLANE_PX, views, homography_scorer(pairs, protocol), PlaneColumn.CORNER_ERROR_PX)


def score_run(plan: Plan, condition: Condition, seed: int, found: Sequence[Benchmark]) -> dict[str, Float64Array]:
    """Errors [num_protocol_seeds, num_pairs] of a run's last checkpoint on every benchmark."""
    run_id = plan.run_id(condition, seed)
    with closing(FileStore(plan.store, create=False)) as store:
        step = latest(store, run_id)
        if step is None:
            raise SystemExit(f"run {run_id} has no checkpoint")
        manifest = read_manifest(store, run_id, step)
        checkpoint = Checkpoint(run_id, step, manifest.matcher, manifest.files[0].key)
        with checkpoint_matcher(store, checkpoint, {}, ModelResources()) as matcher:
            return score_matcher(matcher, found)


def score_reference(plan: Plan, reference: Reference, found: Sequence[Benchmark]) -> dict[str, Float64Array]:
    """Errors [num_protocol_seeds, num_pairs] of a matcher that is not trained here, on every benchmark."""
    files = {setting: str(plan.weights / name) for setting, name in reference.files}
    settings = {**files, "max_keypoints": str(NUM_KEYPOINTS)}
    return score_matcher(load_matcher(reference.matcher, settings, ModelResources()), found)


def score_matcher(matcher: Matcher, found: Sequence[Benchmark]) -> dict[str, Float64Array]:
    """Errors [num_protocol_seeds, num_pairs] of a matcher on every benchmark."""
    errors = {}
    with TemporaryDirectory() as folder, ThreadPoolExecutor() as executor:
        with closing(FileStore(Path(folder), create=True)) as kept:
            for benchmark in found:
                evaluation = Evaluation(kept, benchmark.views, benchmark.scorer, matcher)
                evaluation.run(executor)
                rows = evaluation.rows()
                assert rows is not None
                errors[benchmark.name] = _errors(rows, benchmark)
    return errors


def _errors(rows: Float64Array, benchmark: Benchmark) -> Float64Array:
    if benchmark.column is not None:
        return rows[..., benchmark.column].T
    return np.maximum(rows[..., Column.ROTATION_DEG], rows[..., Column.TRANSLATION_DEG]).T


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with the interval that 95 % of resampled sets of pairs and seeds lie in, percent."""

    mean: float
    low: float
    high: float


def auc_sets(errors: Sequence[Float64Array], name: str, threshold: float) -> tuple[float, Float64Array]:
    """The mean AUC of several training runs in percent, and that of resampled sets [num_sets].

    Of every set pairs are drawn with replacement, and so are runs, both the same ones for all conditions: another
    training differs by its seed as another benchmark by its pairs, and runs of one seed begin with the same weights.

    Args:
        errors: of each run, [num_protocol_seeds, num_pairs].
        name: of the benchmark.
        threshold: in the unit of the errors.
    """
    counts = resample(name, errors[0].shape[1])
    by_run = np.stack([np.mean([auc_of_sets(row, counts, threshold) for row in run], axis=0) for run in errors])
    drawn = np.random.default_rng(len(errors)).integers(0, len(errors), (NUM_SETS, len(errors)))
    sets = np.take_along_axis(by_run.T, drawn, axis=1).mean(axis=1)
    means = [error_auc(row, [threshold])[0] for run in errors for row in run]
    return 100 * float(np.mean(means)), 100 * sets


def estimate_of(mean: float, sets: Float64Array) -> Estimate:
    """A mean with its interval."""
    interval = interval_of(sets)
    return Estimate(mean, interval.low, interval.high)


def table_of(errors: dict[str, dict[str, list[Float64Array]]], found: Sequence[Benchmark]) -> dict[str, object]:
    """Every condition's AUC on every benchmark, on the two posed ones together, and what one adds to another.

    Args:
        errors: condition -> benchmark -> of each run.
        found: the benchmarks.
    """
    table: dict[str, dict[str, dict[str, Estimate]]] = {}
    together: dict[str, dict[float, tuple[float, Float64Array]]] = {}
    for condition, by_benchmark in errors.items():
        rows: dict[str, dict[str, Estimate]] = {}
        posed: dict[float, list[tuple[float, Float64Array]]] = {bound: [] for bound in POSE_DEG}
        for benchmark in found:
            scored = {
                bound: auc_sets(by_benchmark[benchmark.name], benchmark.name, bound) for bound in benchmark.thresholds
            }
            rows[benchmark.name] = {f"{bound:g}": estimate_of(*each) for bound, each in scored.items()}
            if benchmark.thresholds == POSE_DEG:
                for bound, each in scored.items():
                    posed[bound].append(each)
        together[condition] = {
            bound: (float(np.mean([mean for mean, _ in each])), np.mean([sets for _, sets in each], axis=0))
            for bound, each in posed.items()
        }
        rows[POSED_MEAN] = {f"{bound:g}": estimate_of(*each) for bound, each in together[condition].items()}
        table[condition] = rows
    names = [condition.name for condition in CONDITIONS if condition.name in together]
    steps = {
        f"{after} - {before}": {
            f"{bound:g}": estimate_of(
                together[after][bound][0] - together[before][bound][0],
                together[after][bound][1] - together[before][bound][1],
            )
            for bound in POSE_DEG
        }
        for before, after in itertools.combinations(names, 2)
    }
    return {
        "auc": {c: {b: {t: asdict(e) for t, e in row.items()} for b, row in rows.items()} for c, rows in table.items()},
        "steps": {name: {bound: asdict(each) for bound, each in row.items()} for name, row in steps.items()},
        "seeds_alone": {name: _of_each_run(errors[name], found) for name in names},
    }


def _of_each_run(errors: dict[str, list[Float64Array]], found: Sequence[Benchmark]) -> dict[str, list[float]]:
    """Bound -> AUC of every training run on the posed benchmarks together, in percent."""
    posed = [errors[benchmark.name] for benchmark in found if benchmark.thresholds == POSE_DEG]
    return {
        f"{bound:g}": [
            100 * float(np.mean([np.mean([error_auc(row, [bound])[0] for row in run]) for run in runs]))
            for runs in zip(*posed, strict=True)
        ]
        for bound in POSE_DEG
    }
