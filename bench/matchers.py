"""How fast the matchers are: pair by pair, with frames' features or maps reused, in batches, in lower precision."""

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np

from bench.accuracy import read_rgb
from bench.findings import Findings, say
from bench.known_matchers import device_of, load, matchers
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
class Rate:
    """How fast pairs came."""

    pairs_per_second: float
    peak_mib: float


def measure(workspace: Workspace, parts: list[str]) -> Findings:
    """The speed of all matchers that can run, trained or not: it does not depend on what they learned."""
    findings = Findings("matchers")
    if "reuse" in parts:
        _measure_reuse(findings, workspace)
    if "precision" in parts:
        _measure_precision(findings, workspace)
    return findings


def _measure_reuse(findings: Findings, workspace: Workspace) -> None:
    frames, pairs = _work(workspace)
    rows = []
    for matcher in _at_bearable_size(workspace):
        say(f"speed of {matcher.name}")
        alone = _timed(matcher, partial(_one_by_one, matcher, frames, pairs), len(pairs))
        reused = {
            size: _timed(matcher, partial(_reusing, matcher, frames, pairs, size), len(pairs))
            for size in _sizes(matcher)
        }
        best = max(reused, key=lambda size: reused[size].pairs_per_second)
        ratio = reused[1].pairs_per_second / alone.pairs_per_second
        rows.append(
            (matcher.name, device_of(matcher), alone.pairs_per_second, reused[1].pairs_per_second, ratio,
             best, reused[best].pairs_per_second, reused[best].peak_mib)
        )  # fmt: skip
        asked = 2.5 if isinstance(matcher, SparseMatcher) else 1.5
        findings.at_least(f"{matcher.name}: reusing what is computed of a frame, over pair by pair", ratio, asked, "x")
        for recipe, per_hour in _PAIRS_PER_HOUR.items():
            hours = reused[best].pairs_per_second * 86_400 / per_hour
            what = f"{matcher.name}: matching, video-hours a day on one {device_of(matcher)}, {recipe}"
            findings.tell(what, f"{hours:.2f} ({hours / _ORIGINAL_HOURS_PER_GPU_DAY:.1f}x the original's per A100)")
    findings.add(
        f"{len(pairs)} pairs of {len(frames)} frames of {_SIZE[0]}x{_SIZE[1]}: pairs per second",
        ("matcher", "device", "alone", "reused", "ratio", "best batch", "then", "peak MiB"),
        rows,
    )


def _work(workspace: Workspace) -> tuple[list[Uint8Array], list[tuple[int, int]]]:
    """Frames, and the pairs of them that a recipe would match."""
    paths = sorted((workspace.data / "posed/kitti06/images").glob("*.png"))[: workspace.chosen(quick=7, normal=9)]
    frames = [
        np.asarray(cv2.resize(read_rgb(path)[:, 300:800], _SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)
        for path in paths
    ]
    indices = range(len(frames))
    return frames, [(i, i + interval) for i in indices for interval in _INTERVALS if i + interval < len(frames)]


def _at_bearable_size(workspace: Workspace) -> Iterator[Matcher]:
    for matcher in matchers(workspace, trained_only=False):
        is_slow = matcher.name in _SMALL_SIZE and not device_of(matcher).startswith("cuda")
        yield load(matcher.name, workspace, ModelResources(), _SMALL_SIZE[matcher.name]) if is_slow else matcher


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


def _timed(matcher: Matcher, run: Callable[[], None], num_pairs: int) -> Rate:
    """The quicker of two runs after one that is not counted, unless that is long by itself."""
    device = device_of(matcher)
    seconds: list[float] = []
    _reset_peak(device)
    while len(seconds) < 3 and not (seconds and seconds[0] > _LONG_SECONDS):
        started = time.perf_counter()
        run()
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return Rate(num_pairs / min(seconds[1:] or seconds), _peak_mib(device))


def _sizes(matcher: Matcher) -> tuple[int, ...]:
    return _BATCHES if device_of(matcher).startswith("cuda") else (1, 4) if matcher.is_batched else (1,)


def _measure_precision(findings: Findings, workspace: Workspace) -> None:
    """Batches of half precision, compiled, against float32 pair by pair: on a GPU."""
    frames, pairs = _work(workspace)
    rows = []
    for exact in matchers(workspace, trained_only=False):
        if not exact.is_batched or not device_of(exact).startswith("cuda"):
            continue
        for precision in ("bfloat16", "float16"):
            say(f"{precision} of {exact.name}")
            resources = ModelResources(InferenceConfig(precision=precision, compile=True, batch_size=16))
            fast = load(exact.name, workspace, resources)
            slow = _timed(exact, partial(_one_by_one, exact, frames, pairs), len(pairs))
            quick = _timed(fast, partial(_reusing, fast, frames, pairs, 16), len(pairs))
            gain = quick.pairs_per_second / slow.pairs_per_second
            findings.at_least(f"{exact.name}: batches of {precision}, compiled, over float32 alone", gain, 3, "x")
            rows.append((exact.name, precision, slow.pairs_per_second, quick.pairs_per_second, gain))
    if rows:
        findings.add("lower precision", ("matcher", "precision", "float32 alone", "batches, compiled", "gain"), rows)
    else:
        findings.notes.append(
            "no GPU was at hand: the gain of batches, half precision and compilation was not measured"
        )


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
