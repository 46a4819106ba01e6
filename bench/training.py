"""How fast the trainer is on a processor: the recipe `tiny` on real films, and where the time of a step goes.

    python -m bench.training [--quick | --full] [--store STORE]     # or: python -m bench training

`run` is `gim train` as it is: features are kept before the first step, and every step gives a point of the curves; the
first steps warm up and are left out. `step` times the phases of a step one by one (`gim.training.timing`), and inside
the forward pass the loss apart from the network. `bench.reader` sets the reader beside a plain loader.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from bench.findings import Findings, say
from bench.machine import machine_facts
from bench.processes import ROOT, hold_to_cores
from bench.workspace import Workspace
from gim.adapters.store_file import FileStore
from gim.datasets.build import build_dataset
from gim.datasets.config import DatasetConfig
from gim.datasets.manifest import read_dataset
from gim.matchers.network import ModelResources
from gim.runtime.run import run_videos
from gim.runtime.threads import network_threads, one_thread_each
from gim.runtime.training import Listener, run_training
from gim.settings import Settings
from gim.training.config import TrainingConfig
from gim.training.estimates import estimate
from gim.training.models import _assignment_lightglue
from gim.training.run import RunRequest

PARTS = ("run", "step")
_FILMS = ("videos/kitti06_5s.mp4", "videos/phone_park_6s.mp4")
_WEIGHTS = "weights/permissive/xfeat_folded.pt"  # beside the folder of the data
_LOSS = ("keypoint_truth", "dual_softmax_likelihood", "balanced")  # of `_assignment_lightglue`: all but the network
_WARM_UP = 5  # steps
_MOST_WAITING = 5.0  # % of the time, as asked for


@dataclass
class _Seen:
    """What a run says of its steps."""

    speeds: list[float] = field(default_factory=list)  # pairs a second
    waits: list[float] = field(default_factory=list)  # share
    features_seconds: float = 0.0
    num_features: int = 0

    def hear(self, _step: int, values: Mapping[str, float]) -> None:
        self.speeds.append(values["pairs_per_second"])
        self.waits.append(values["data_wait_share"])

    @property
    def steady(self) -> tuple[float, float]:
        """Pairs a second over all steps that count, and the share of their time that was waited for data."""
        speeds, waits = self.speeds[_WARM_UP:], self.waits[_WARM_UP:]
        seconds = [1 / speed for speed in speeds]  # of a pair
        waited = sum(wait * each for wait, each in zip(waits, seconds, strict=True))
        return len(speeds) / sum(seconds), waited / sum(seconds)


def measure(workspace: Workspace, parts: list[str], store: Path | None = None) -> Findings:
    """Train for a few steps, and time one.

    Args:
        workspace: where the data is, and how much to do.
        parts: of `PARTS`.
        store: a folder store with finished results, which is only read from but for the run and the dataset; else the
            films are labelled anew.
    """
    findings = Findings("training")
    weights = workspace.data.parent / _WEIGHTS
    films = [path for name in _FILMS if (path := workspace.data / name).exists()]
    if not weights.exists() or not (films or store):
        findings.notes.append("no sample data or no weights of XFeat: nothing was measured")
        return findings
    root = store or _labelled(workspace, films)
    with closing(FileStore(root)) as opened:
        config = DatasetConfig(name="bench", recipes=("standard",), held_out_share=0.0, verify="sizes")
        dataset = build_dataset(opened, config).manifest
    settings = _settings(workspace, root, weights)
    findings.tell("pairs of the dataset", f"{dataset.num_pairs}")
    if "run" in parts:
        _tell_run(findings, settings, dataset.dataset_id)
    if "step" in parts:
        _tell_step(findings, settings, root, dataset.dataset_id, workspace.chosen(5, 20, 40))
    return findings


def _labelled(workspace: Workspace, films: list[Path]) -> Path:
    say(f"label {', '.join(film.name for film in films)}")
    root = workspace.folder / "stores" / "training"
    settings = Settings.load([f"store={root}"], environ={})
    for video in run_videos([str(film) for film in films], settings).videos:
        if video.error:
            raise SystemExit(f"{video.source}: {video.error}")
    return root


def _recipe() -> TrainingConfig:
    return Settings.load([], training_recipe="tiny", environ={}).train


def _settings(workspace: Workspace, root: Path, weights: Path) -> Settings:
    """The recipe with one augmentation of each pair, for as many steps as the effort has, each of them told of."""
    num_steps = workspace.chosen(15, 40, 100)
    sets = {
        "store": root,
        "inference.device": "cpu",
        "train.model.extractor_weights": weights,
        "train.features.variants": 1,
        "train.features.cache": workspace.folder / "features",
        "train.schedule.pairs": _recipe().loop.canonical_batch * num_steps,
        "train.keep.validation_pairs": 0,
        "train.keep.log_every_pairs": 1,
    }
    return Settings.load([f"{path}={value}" for path, value in sets.items()], training_recipe="tiny", environ={})


def _tell_run(findings: Findings, settings: Settings, dataset_id: str) -> None:
    say(f"train tiny for {settings.train.num_steps} steps")
    seen, began = _Seen(), time.perf_counter()

    def progress(what: str, done: int, total: int) -> None:
        if what == "features" and done == total:
            seen.features_seconds, seen.num_features = time.perf_counter() - began, total

    run_training(settings, dataset_id, run_id="bench", listener=Listener(progress=progress, values=seen.hear))
    speed, waited = seen.steady
    minutes = _recipe().schedule.pairs / speed / 60
    findings.tell("pairs a second", f"{speed:.1f}")
    findings.at_most("waited for data", 100 * waited, _MOST_WAITING, " %")
    findings.tell("slowest step beside the median", f"{statistics.median(seen.speeds) / min(seen.speeds):.2f} x")
    findings.tell(f"the recipe's {_recipe().schedule.pairs:,} pairs", f"{minutes:.0f} min")
    if seen.num_features:
        findings.tell("features of a pair", f"{seen.features_seconds / seen.num_features:.2f} s")


def _tell_step(findings: Findings, settings: Settings, root: Path, dataset_id: str, num_steps: int) -> None:
    say(f"time {num_steps} steps")
    with ExitStack() as stack:
        store = stack.enter_context(closing(FileStore(root)))
        stack.enter_context(one_thread_each())
        stack.enter_context(network_threads(len(os.sched_getaffinity(0))))
        losses = stack.enter_context(_timed_loss())
        request = RunRequest(
            store=store,
            dataset=read_dataset(store, dataset_id),
            config=settings.train,
            resources=ModelResources(settings.inference, settings.weights),
        )
        found = estimate(request, num_steps)
    loss = sum(losses[-num_steps:]) / num_steps
    seconds = found.seconds
    total = seconds.micro_batch + seconds.optimiser
    rows = [
        ("waiting for data", seconds.data),
        ("onto the device", seconds.batch),
        ("forward: network", seconds.forward - loss),
        ("forward: loss", loss),
        ("backward", seconds.backward),
        ("optimiser", seconds.optimiser),
    ]
    findings.add(
        f"Where the time of a step of {settings.train.loop.canonical_batch} pairs goes",
        ("", "ms", "%"),
        [(name, 1000 * value, 100 * value / total) for name, value in rows],
    )
    findings.tell("memory", f"{found.memory_bytes / 2**20:.0f} MiB")
    findings.tell("checkpoint", f"{found.checkpoint_bytes / 2**20:.1f} MiB")


@contextmanager
def _timed_loss() -> Iterator[list[float]]:
    """Seconds that the loss takes in every forward pass, its share of the backward pass aside."""
    seconds: list[float] = []

    def timed(name: str) -> Callable[..., Any]:
        inner = getattr(_assignment_lightglue, name)

        def call(*arguments: Any, **options: Any) -> Any:
            if name == _LOSS[0]:  # the first of a pass
                seconds.append(0.0)
            began = time.perf_counter()
            try:
                return inner(*arguments, **options)
            finally:
                seconds[-1] += time.perf_counter() - began

        return call

    with ExitStack() as stack:
        for name in _LOSS:
            stack.enter_context(mock.patch.object(_assignment_lightglue, name, timed(name)))
        yield seconds


def main() -> None:
    """Measure and print; the result is written only with `--write`, from a machine that does nothing else."""
    parser = argparse.ArgumentParser(prog="python -m bench.training", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    effort = parser.add_mutually_exclusive_group()
    for name in ("quick", "full"):
        effort.add_argument(f"--{name}", dest="effort", action="store_const", const=name)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="folder of the sample data")
    parser.add_argument("--store", type=Path, help="with finished results, instead of labelling films")
    parser.add_argument("--cores", type=int, default=2, help="how many may be used")
    parser.add_argument("--write", action="store_true", help="bench/results/training.json")
    parser.set_defaults(effort="normal")
    options = parser.parse_args()
    cores, began = hold_to_cores(options.cores), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="gim-bench-") as folder:
        workspace = Workspace(Path(folder), options.data.resolve(), options.effort)
        say(f"training ({workspace.effort}, {cores} cores)")
        findings = measure(workspace, list(PARTS), options.store)
    findings.show()
    if options.write:
        facts = {"effort": options.effort, "elapsed_seconds": round(time.perf_counter() - began)}
        say(f"{findings.write({'machine': machine_facts(), **facts}).relative_to(ROOT)} written")


if __name__ == "__main__":
    main()
