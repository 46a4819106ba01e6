"""How fast the matchers are: pair by pair, with frames' features or maps reused, in batches, in lower precision."""

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.accuracy import read_rgb
from bench.findings import Findings, say
from bench.known_matchers import device_of, has_gpu, load, matchers, runnable_matchers
from bench.workspace import Workspace
from gim.inference.config import InferenceConfig
from gim.matchers.base import Matcher, SparseMatcher, correspondences_of
from gim.matchers.network import DenseMatcher, ModelResources
from gim.records import ImagePair, Uint8Array

PARTS = ("reuse", "precision")
_SIZE = (640, 480)  # of the frames that are timed
_INTERVALS = (1, 2, 4)  # of the recipes: a frame is in up to six pairs
_BATCHES = (1, 2, 4, 8, 16)
# Pairs to match of an hour of video: samples per second times three intervals.
_PAIRS_PER_HOUR = {"standard": 5 * 3 * 3600, "paper": 1.5 * 3 * 3600}
_ORIGINAL_HOURS_PER_GPU_DAY = 12.5 / 16  # Shen et al., Sec. 4: 12.5 h of video a day on 16 A100
_SMALL_SIZE = {  # of the first and second pass: on a CPU the published ones would take hours
    "dkm": {"width_px": 224, "height_px": 160, "fine_width_px": 384, "fine_height_px": 288},
    "roma": {"width_px": 168, "height_px": 168, "fine_width_px": 336, "fine_height_px": 336},
    "dedode": {"max_side_px": 320},
}
_LONG_SECONDS = 20.0  # a run as long is not repeated


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast one matcher is, in pairs per second."""

    device: str
    is_sparse: bool
    is_small: bool  # it ran at a smaller size than users have it
    alone: float  # pair by pair
    reused: Mapping[int, float]  # by size of the batch; what depends on one image alone is computed once
    peak_mib: float  # of the device's memory, of the process on a CPU

    @property
    def ratio(self) -> float:
        """What reuse gains without batches."""
        return self.reused[1] / self.alone

    @property
    def best_batch(self) -> int:
        """The size of the batch that is fastest."""
        return max(self.reused, key=lambda size: self.reused[size])

    def hours_per_day(self, recipe: str) -> float:
        """Of video, as far as matching goes."""
        return self.reused[self.best_batch] * 86_400 / _PAIRS_PER_HOUR[recipe]


def measure(workspace: Workspace, parts: list[str]) -> Findings:
    """The speed of all matchers that can run, trained or not: it does not depend on what they learned."""
    findings = Findings("matchers")
    if "reuse" in parts:
        _measure_reuse(findings, workspace)
    if "precision" in parts:
        _measure_precision(findings, workspace)
    return findings


def _measure_reuse(findings: Findings, workspace: Workspace) -> None:
    speeds = {name: _speed_in_own_process(name, workspace) for name in runnable_matchers()}
    for name, speed in speeds.items():
        asked = 2.5 if speed.is_sparse else 1.5
        what = f"{name}: reusing what is computed of a frame, over pair by pair"
        findings.at_least(what, speed.ratio, asked, "x")
        if speed.device.startswith("cuda") and not speed.is_small:
            for recipe in _PAIRS_PER_HOUR:
                hours = speed.hours_per_day(recipe)
                what = f"{name}: video-hours a day on one {speed.device}, matching, {recipe}"
                findings.tell(
                    what, f"{hours:.2f} ({hours / _ORIGINAL_HOURS_PER_GPU_DAY:.1f}x the original's on an A100)"
                )
    small = [f"{name} {_sizes_in_words(_SMALL_SIZE[name])}" for name, speed in speeds.items() if speed.is_small]
    if small:
        findings.notes.append(f"smaller than users have them, for want of a GPU: {', '.join(small)}")
    findings.add(
        f"pairs of {_num_frames(workspace)} frames of {_SIZE[0]}x{_SIZE[1]}, matched per second",
        ("matcher", "device", "alone", "reused", "ratio", "best batch", "then",
         *(f"h/day {recipe}" for recipe in _PAIRS_PER_HOUR), "peak MiB"),
        [
            (name, speed.device, speed.alone, speed.reused[1], speed.ratio, speed.best_batch,
             speed.reused[speed.best_batch],
             *(None if speed.is_small else speed.hours_per_day(recipe) for recipe in _PAIRS_PER_HOUR), speed.peak_mib)
            for name, speed in speeds.items()
        ],
    )  # fmt: skip


def _sizes_in_words(settings: Mapping[str, int]) -> str:
    sides = [str(value) for value in settings.values()]
    return " and ".join("x".join(sides[i : i + 2]) for i in range(0, len(sides), 2)) + " px"


def _speed_in_own_process(name: str, workspace: Workspace) -> Speed:
    """In a process that no other matcher has left its memory in."""
    say(f"speed of {name}")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_speed, name, workspace).result()


def _speed(name: str, workspace: Workspace) -> Speed:
    with tempfile.TemporaryDirectory(dir=workspace.folder) as folder:
        workspace = replace(workspace, folder=Path(folder))
        smaller = {} if has_gpu() else _SMALL_SIZE.get(name, {})
        matcher = load(name, workspace, ModelResources(), smaller)
        device = device_of(matcher)
        frames, pairs = _work(workspace)
        some = pairs[:: len(pairs) // workspace.chosen(quick=8, normal=len(pairs))]
        alone = _seconds(device, partial(_one_by_one, matcher, frames, some)) / len(some)
        _reset_peak(device)
        reused = {
            size: len(pairs) / _seconds(device, partial(_reusing, matcher, frames, pairs, size))
            for size in _sizes(matcher)
        }
        is_sparse = isinstance(matcher, SparseMatcher)
        return Speed(device, is_sparse, bool(smaller), 1 / alone, reused, _peak_mib(device))


def _work(workspace: Workspace) -> tuple[list[Uint8Array], list[tuple[int, int]]]:
    """Frames, and the pairs of them that a recipe would match."""
    paths = sorted((workspace.data / "posed/kitti06/images").glob("*.png"))[: _num_frames(workspace)]
    frames = [
        np.asarray(cv2.resize(read_rgb(path)[:, 300:800], _SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)
        for path in paths
    ]
    indices = range(len(frames))
    return frames, [(i, i + interval) for i in indices for interval in _INTERVALS if i + interval < len(frames)]


def _num_frames(workspace: Workspace) -> int:
    """So many that a pair takes the features of 0.41 or 0.38 frames; in a segment, of 32 and the 4 after, 0.38."""
    return workspace.chosen(quick=12, normal=20)


def _one_by_one(matcher: Matcher, frames: Sequence[Uint8Array], pairs: Sequence[tuple[int, int]]) -> None:
    for first, second in pairs:
        matcher.match_pairs([ImagePair(frames[first], frames[second])])


def _reusing(matcher: Matcher, frames: Sequence[Uint8Array], pairs: Sequence[tuple[int, int]], size: int) -> None:
    masks = [None] * len(frames)
    chunks = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    if isinstance(matcher, DenseMatcher):
        held: dict[int, Any] = {}
        for chunk in chunks:
            needed = sorted({i for pair in chunk for i in pair} - set(held))
            held |= dict(zip(needed, matcher.encode([frames[i] for i in needed], [None] * len(needed)), strict=True))
            matcher.match_encoded([(held[first], held[second]) for first, second in chunk])
            held = {i: maps for i, maps in held.items() if i >= chunk[0][0]}
    elif isinstance(matcher, SparseMatcher):
        features = matcher.extract_batch(frames, masks)
        for chunk in chunks:
            both = [(features[first], features[second]) for first, second in chunk]
            for pair, found in zip(both, matcher.match_features_batch(both), strict=True):
                correspondences_of(*pair, *found)


def _seconds(device: str, run: Callable[[], None]) -> float:
    """Of the quicker of two runs after one that is not counted, unless that is long by itself."""
    seconds: list[float] = []
    while len(seconds) < 3 and not (seconds and seconds[0] > _LONG_SECONDS):
        started = time.perf_counter()
        run()
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:] or seconds)


def _sizes(matcher: Matcher) -> tuple[int, ...]:
    return _BATCHES if device_of(matcher).startswith("cuda") else (1, 4) if matcher.is_batched else (1,)


def _measure_precision(findings: Findings, workspace: Workspace) -> None:
    """Batches of half precision, compiled, against float32 pair by pair: on a GPU."""
    if not has_gpu():
        findings.notes.append(
            "no GPU was at hand: the gain of batches, half precision and compilation was not measured"
        )
        return
    frames, pairs = _work(workspace)
    rows = []
    for exact in matchers(workspace, trained_only=False):
        if not exact.is_batched:
            continue
        for precision in ("bfloat16", "float16"):
            say(f"{precision} of {exact.name}")
            resources = ModelResources(InferenceConfig(precision=precision, compile=True, batch_size=16))
            fast = load(exact.name, workspace, resources)
            device = device_of(exact)
            slow = len(pairs) / _seconds(device, partial(_one_by_one, exact, frames, pairs))
            quick = len(pairs) / _seconds(device, partial(_reusing, fast, frames, pairs, 16))
            gain = quick / slow
            findings.at_least(f"{exact.name}: batches of {precision}, compiled, over float32 alone", gain, 3, "x")
            rows.append((exact.name, precision, slow, quick, gain))
    findings.add("lower precision", ("matcher", "precision", "float32 alone", "batches, compiled", "gain"), rows)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


def _reset_peak(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats()


def _peak_mib(device: str) -> float:
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
