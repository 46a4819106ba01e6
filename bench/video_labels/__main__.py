"""The experiment of docs/results.md: `python -m bench.video_labels`, or `make experiment-video-labels`.

Labels the films, trains every condition with every seed, scores what comes out and writes the result. Each part that
is done is found again, so an interrupted experiment goes on where it was.
"""

import argparse
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import machine_facts
from bench.video_labels.conditions import CONDITIONS, REFERENCES, SETTINGS, Condition, Plan
from bench.video_labels.scores import Benchmark, benchmarks, score_reference, score_run, table_of
from bench.video_labels.training import Dataset, build_datasets, label_films, train
from gim.records import Float64Array

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
NUM_SEEDS = 3
Errors = dict[str, dict[str, list[Float64Array]]]  # condition or reference -> benchmark -> of each run


def main() -> None:
    """Run all that is left of the experiment."""
    plan, jobs = _plan()
    label_films(plan, jobs=jobs)
    datasets = build_datasets(plan)
    found = benchmarks(plan.data)
    errors: Errors = {}
    with ThreadPoolExecutor(jobs) as executor:
        references = {
            each.name: executor.submit(_kept, plan, each.name, partial(score_reference, plan, each, found))
            for each in REFERENCES
        }
        runs = {
            (seed, condition.name): executor.submit(
                _train_and_score, plan, condition, seed, datasets[condition.name], found
            )
            for seed in plan.seeds
            for condition in CONDITIONS
        }
        try:
            for name, reference in references.items():
                _add(errors, name, reference.result())
            for seed in plan.seeds:
                for condition in CONDITIONS:
                    _add(errors, condition.name, runs[seed, condition.name].result())
                _write(plan, {**_facts(plan, seed, datasets), **table_of(errors, found)})
        finally:
            executor.shutdown(wait=False, cancel_futures=True)  # one that failed ends the others that have not begun


def _train_and_score(
    plan: Plan, condition: Condition, seed: int, dataset: Dataset, found: list[Benchmark]
) -> dict[str, Float64Array]:
    train(plan, condition, seed, dataset.id)
    return _kept(plan, plan.run_id(condition, seed), partial(score_run, plan, condition, seed, found))


def _add(errors: Errors, name: str, of_run: dict[str, Float64Array]) -> None:
    for benchmark, values in of_run.items():
        errors.setdefault(name, {}).setdefault(benchmark, []).append(values)


def _kept(plan: Plan, name: str, score: Callable[[], dict[str, Float64Array]]) -> dict[str, Float64Array]:
    """Errors of a matcher, from the file of them where there is one."""
    path = plan.work / "scores" / f"{name}.npz"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, **score())
        part.replace(path)
    with np.load(path) as kept:
        return dict(kept)


def _facts(plan: Plan, last_seed: int, datasets: dict[str, Dataset]) -> dict[str, Any]:
    return {
        "name": "video_labels",
        "machine": machine_facts(),
        "num_pairs": plan.num_pairs,
        "seeds": list(plan.seeds[: plan.seeds.index(last_seed) + 1]),
        "recipe": plan.recipe,
        "sets": [*SETTINGS, *plan.sets],
        "datasets": {name: asdict(dataset) for name, dataset in datasets.items()},
    }


def _write(plan: Plan, result: dict[str, Any]) -> None:
    """To the folder of the experiment, and to bench/results where it is what the pages show."""
    text = json.dumps(result, indent=1) + "\n"
    (plan.work / "video_labels.json").write_text(text)
    if len(result["seeds"]) == len(plan.seeds) >= NUM_SEEDS:
        (ROOT / "bench" / "results" / "video_labels.json").write_text(text)
    print(f"video_labels.json: {len(result['seeds'])} of {len(plan.seeds)} seeds")


def _plan() -> tuple[Plan, int]:
    parser = argparse.ArgumentParser(prog="python -m bench.video_labels", description=__doc__)
    parser.add_argument("--work", type=Path, default=ROOT / "gim-experiment", help="kept between runs")
    parser.add_argument("--data", type=Path, default=SHARED / "data", help="the sample data")
    parser.add_argument("--weights", type=Path, default=SHARED / "weights" / "permissive", help="permissive files")
    parser.add_argument("--pairs", type=int, default=10_000, help="that every run is trained on")
    parser.add_argument("--seeds", type=int, default=NUM_SEEDS, help="runs of every condition; fewer are only printed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes that label, and that train")
    parser.add_argument("--set", action="append", default=[], dest="sets", help="of every run: train.x.y=value")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    plan = Plan(
        given.work.resolve(), given.data, given.weights, given.pairs, tuple(range(given.seeds)), sets=tuple(given.sets)
    )
    return plan, given.jobs


if __name__ == "__main__":
    main()
