"""Whole runs in processes of their own, forked from one that has torch already: killed, told to stop, several ranks.

    python -m tests.unit.training.run_processes FOLDER interrupted|ranked|statistics

prints what happened as one JSON document. Not a test. The process itself never trains: what autograd starts in it
would be missing in its children.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from gim.adapters.store_file import FileStore
from gim.datasets.manifest import DatasetManifest
from gim.runtime.interrupt import Interruption
from gim.runtime.threads import one_thread_each
from gim.training import run
from gim.training.checkpoints.listing import stored_steps
from gim.training.checkpoints.reading import load
from gim.training.config import TrainingConfig
from gim.training.distributed import Ranks
from gim.training.optimiser import build_optimiser
from gim.training.step import Stepper, StepResult
from tests.unit.training.checkpoints.processes import as_two, ended, fork, make
from tests.unit.training.run_small import Pixels, changed, small_dataset, train_small, with_held_out

RUN, NUM_STEPS, INTERVAL, NUM_KILLS, NUM_RANKED = "mine", 40, 5, 10, 9
CONFIG = changed(
    schedule={"pairs": 4 * NUM_STEPS, "warmup_pairs": 20},
    loop={"ema": 0.9},
    keep={"every_pairs": 4 * INTERVAL},
)
_KEEP = {"validation_pairs": 4, "validate_every_pairs": 20, "log_every_pairs": 12}  # points at steps 3, 6, 9
RANKED = replace(
    changed(CONFIG, schedule={"pairs": 4 * NUM_RANKED}, keep=_KEEP),
    model={"runs": False},
)


def train(
    folder: Path,
    dataset: DatasetManifest,
    *,
    config: TrainingConfig = CONFIG,
    ranks: Ranks | None = None,
    until: int = 0,
) -> int:
    """Train from wherever the run has got to, noting every line on the way as it happens."""
    ranks, told = ranks or Ranks(), Interruption()
    with (folder / f"log{ranks.rank}").open("a", buffering=1) as log, ExitStack() as stack:
        log.write("start\n")
        step = 0

        class Noting(Stepper):
            """Notes the losses of its own rank."""

            def step(self, micro_batches: Any, num: int) -> StepResult:
                nonlocal step
                result = super().step(micro_batches, num)
                step = result.seen[0].step + 1
                log.write(f"loss {step} {result.loss.hex()} {','.join(item.part for item in result.seen)}\n")
                return result

        stack.enter_context(mock.patch.object(run, "Stepper", Noting))
        stack.enter_context(told.listening())
        stack.enter_context(one_thread_each())
        result, heard = train_small(
            FileStore(folder / "store"),
            dataset,
            config,
            run_id=RUN,
            is_resumed=True,
            ranks=ranks,
            on_saved=lambda saved: log.write(f"saved {saved}\n"),
            is_told_to_stop=lambda: told.requested() or step == until,
        )
        for point in heard.points:
            if "validation/loss" in point.values:
                log.write(f"validated {point.step} {point.values['validation/loss'].hex()}\n")
            else:
                log.write(f"point {point.step} {json.dumps(point.values)}\n")
        log.write(f"end {result.ended}\n")
    return 0


def in_child(folder: Path, dataset: DatasetManifest, **options: Any) -> int:
    return fork(lambda: train(folder, dataset, **options))


def lines(folder: Path, rank: int = 0) -> list[str]:
    log = folder / f"log{rank}"
    return log.read_text().splitlines() if log.exists() else []


def wait_for_losses(folder: Path, number: int) -> None:
    while sum(line.startswith("loss") for line in lines(folder)) < number:
        time.sleep(0.004)


def kill_at_random(folder: Path) -> dict[str, Any]:
    """Kill a run ten times, each time at a random moment, and let it end."""
    dataset, chance, codes = new_dataset(folder), random.Random(3), []
    for _ in range(NUM_KILLS):
        before = sum(line.startswith("loss") for line in lines(folder))
        child = in_child(folder, dataset)
        wait_for_losses(folder, before + chance.randint(1, INTERVAL + 3))
        time.sleep(chance.uniform(0.0, 0.02))
        os.kill(child, signal.SIGKILL)
        codes.append(ended(child))
    codes.append(ended(in_child(folder, dataset)))
    return {"codes": codes, "log": lines(folder)}


def stop_by_signal(folder: Path) -> dict[str, Any]:
    """Tell a run to stop in the middle, and let it go on."""
    dataset = new_dataset(folder)
    child = in_child(folder, dataset)
    wait_for_losses(folder, 7)
    os.kill(child, signal.SIGTERM)
    codes = [ended(child)]
    steps = stored_steps(FileStore(folder / "store"), RUN)
    codes.append(ended(in_child(folder, dataset)))
    return {"codes": codes, "steps": steps, "log": lines(folder)}


def reference(folder: Path) -> dict[str, Any]:
    """A run that nothing interrupts."""
    code = ended(in_child(folder, new_dataset(folder)))
    return {"codes": [code], "log": lines(folder)}


def ranked(folder: Path, plan: list[tuple[int, int]], config: TrainingConfig = RANKED) -> dict[str, Any]:
    """A run by so many processes up to each of some steps."""
    dataset, codes = new_dataset(folder), []
    for num, until in plan:
        if num == 1:
            codes.append(ended(in_child(folder, dataset, config=config, until=until)))
        else:
            codes += as_two(lambda ranks, until=until: train(folder, dataset, config=config, ranks=ranks, until=until))
    logs = [lines(folder, rank) for rank in (0, 1)]
    return {"codes": codes, "logs": logs, "weights": last_weights(folder)}


def last_weights(folder: Path) -> dict[str, list[float]]:
    """Weights, and their average."""
    state = load(FileStore(folder / "store"), RUN, NUM_RANKED).state
    both: dict[str, Mapping[str, Any]] = {"own": state["model"], "average": state["average"]["averages"]}
    return {f"{of}.{name}": value.flatten().tolist() for of, named in both.items() for name, value in named.items()}


def new_dataset(folder: Path) -> DatasetManifest:
    return with_held_out(small_dataset(FileStore(folder / "store")))


def interrupted(folder: Path) -> dict[str, Any]:
    return {
        "reference": reference(make(folder, "reference")),
        "killed": kill_at_random(make(folder, "killed")),
        "stopped": stop_by_signal(make(folder, "stopped")),
    }


def by_ranks(folder: Path) -> dict[str, Any]:
    return {
        "one": ranked(make(folder, "one"), [(1, 0)]),
        "two": ranked(make(folder, "two"), [(2, 0)]),
        "two, one, two": ranked(make(folder, "mixed"), [(2, 3), (1, 6), (2, 0)]),
    }


def with_statistics(folder: Path) -> dict[str, Any]:
    config = replace(RANKED, model={})
    plans = {"whole": [(2, 0)], "stopped": [(2, 2), (2, 7), (2, 0)]}
    return {name: ranked(make(folder, name), plan, config) for name, plan in plans.items()}


if __name__ == "__main__":
    build_optimiser(Pixels().groups(), CONFIG.optimiser, architecture="pixels")  # imports much, once for all children
    happened = {"interrupted": interrupted, "ranked": by_ranks, "statistics": with_statistics}[sys.argv[2]](
        Path(sys.argv[1])
    )
    sys.stdout.write(json.dumps(happened) + "\n")
