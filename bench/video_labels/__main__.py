"""The experiment of docs/results.md: `python -m bench.video_labels`, or `make experiment-video-labels`.

Labels the films, trains every condition with every seed, scores what comes out and writes the result. Each part that
is done is found again, so an interrupted experiment goes on where it was.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np

from bench.machine import machine_facts
from bench.video_labels.conditions import CONDITIONS, Plan
from bench.video_labels.scores import benchmarks, score_run, table_of
from bench.video_labels.training import build_dataset, label_films, train

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Run all that is left of the experiment."""
    plan, jobs = _plan()
    label_films(plan, jobs=jobs)
    datasets = {condition.name: build_dataset(plan, condition) for condition in CONDITIONS}
    found = benchmarks(plan.data)
    errors: dict[str, dict[str, list[np.ndarray]]] = {}
    for seed in plan.seeds:
        for condition in CONDITIONS:
            train(plan, condition, seed, datasets[condition.name])
            of_run = _scored(plan, condition.name, seed, lambda c=condition, s=seed: score_run(plan, c, s, found))
            for name, values in of_run.items():
                errors.setdefault(condition.name, {}).setdefault(name, []).append(values)
        result = {
            "num_pairs": plan.num_pairs,
            "seeds": list(plan.seeds[: plan.seeds.index(seed) + 1]),
            "recipe": plan.recipe,
            "sets": list(plan.sets),
            "datasets": datasets,
            "machine": machine_facts(),
            **table_of(errors, found),
        }
        path = plan.work / "video_labels.json"
        path.write_text(json.dumps(result, indent=1) + "\n")
        print(f"{path}: {len(result['seeds'])} seeds")


def _scored(plan: Plan, condition: str, seed: int, score) -> dict[str, np.ndarray]:  # type: ignore[no-untyped-def]
    """The errors of a run, from the file of them where there is one."""
    path = plan.work / "scores" / f"{condition}-seed{seed}.npz"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        np.savez(path, **score())
    with np.load(path) as kept:
        return dict(kept)


def _plan() -> tuple[Plan, int]:
    parser = argparse.ArgumentParser(prog="python -m bench.video_labels", description=__doc__)
    parser.add_argument("--work", type=Path, default=ROOT / "gim-experiment", help="kept between runs")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the sample data")
    parser.add_argument("--pairs", type=int, default=20_000, help="that every run is trained on")
    parser.add_argument("--seeds", type=int, default=3, help="runs of every condition")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes that label")
    parser.add_argument("--set", action="append", default=[], dest="sets", help="of every run: train.x.y=value")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    plan = Plan(given.work, given.data, given.pairs, tuple(range(given.seeds)), sets=tuple(given.sets))
    return plan, given.jobs


if __name__ == "__main__":
    main()
