"""Labels, datasets and runs, each by the command that a user would give; what is there is not made again."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bench.video_labels.conditions import CONDITIONS, EXTRACTOR_FILE, FILMS, HELD_OUT, SETTINGS, Condition, Plan


def label_films(plan: Plan, *, jobs: int) -> None:
    """Base labels of all films, and pairs by both recipes."""
    films = [str(plan.data / f"{film}.mp4") for film in FILMS]
    for recipe in dict.fromkeys(condition.labels for condition in CONDITIONS):
        _gim(plan, "run", *films, "--recipe", recipe, "--jobs", str(jobs))


@dataclass(frozen=True, slots=True)
class Dataset:
    """What runs are trained on."""

    id: str
    pairs: int


def build_datasets(plan: Plan) -> dict[str, Dataset]:
    """By condition, one for each kind of labels. All films are for training: what is held out is no film."""
    made = {labels: _build(plan, labels) for labels in dict.fromkeys(condition.labels for condition in CONDITIONS)}
    return {condition.name: made[condition.labels] for condition in CONDITIONS}


def _build(plan: Plan, labels: str) -> Dataset:
    clear_of = [option for name in HELD_OUT for option in ("--keep-clear-of", str(plan.data / name))]
    options = ["--name", labels, "--recipe", labels, "--held-out-share", "0", *clear_of, "--json"]
    made = json.loads(_gim(plan, "dataset", "build", *options))
    return Dataset(made["dataset"], made["pairs"])


def train(plan: Plan, condition: Condition, seed: int, dataset_id: str) -> None:
    """One run, from where it is to its end, by one thread: its weights depend on no number of cores."""
    sets = (
        f"train.loop.seed={seed}",
        f"train.schedule.pairs={plan.num_pairs}",
        "train.keep.validation_pairs=0",
        f"train.model.extractor_weights={plan.weights / EXTRACTOR_FILE}",
        f"train.features.cache={plan.work / 'cache'}",
        "run.threads=1",
    )
    changes = [option for text in (*SETTINGS, *sets, *condition.sets, *plan.sets) for option in ("--set", text)]
    _gim(
        plan, "train", plan.recipe, "--dataset", dataset_id, "--run", plan.run_id(condition, seed), "--resume",
        *changes, "--json",
    )  # fmt: skip


def _gim(plan: Plan, *arguments: str) -> str:
    """What a command prints; a failure ends the experiment with the command's own words."""
    command: Sequence[str] = (sys.executable, "-m", "gim", *arguments, "--store", str(plan.store))
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[2:5])} ...: exit code {done.returncode}")
    return done.stdout
