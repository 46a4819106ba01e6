"""How fast the whole run is: `gim run` beside the plain script on the same video, and where its time goes."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.decode import MAX_RATIO, time_steps
from bench.findings import Findings, say
from bench.labelled import Frames, Labelled, read_labelled, score_together
from bench.processes import Cost, run_measured
from bench.workspace import Workspace
from gim.evaluation.cameras import KnownCameras
from gim.matchers.rootsift import RootSiftConfig
from gim.records import Float32Array, Float64Array
from gim.settings import Settings

PARTS = ("synthetic", "kitti06", "city_dashcam_60s", "decode")
_LONG = "city_dashcam_60s"
# "Equal quality" in numbers. Frames kept as JPEG cost about 5 % of the inliers on clean rendered pictures.
_EQUAL_INLIERS = 0.9
_EQUAL_SHARE = 0.005
_BLOCK_SAMPLES = 7  # 6 + 5 + 3 base pairs, and chains of 4 samples


@dataclass(frozen=True, slots=True)
class Compared:
    """One video labelled by both."""

    name: str
    ours: Cost
    summary: dict[str, Any]  # of `gim run --json`
    labelled: Labelled
    plain: dict[str, float]  # pairs, and seconds, of the script
    plain_labels: dict[Frames, Float32Array]

    @property
    def num_base_pairs(self) -> int:
        """All base pairs of the video."""
        return sum(self.labelled.result.funnel.pairs_attempted.values())

    def plain_seconds(self, kind: str) -> float:
        """What the script would take for all base pairs, from those it was run on."""
        return self.plain[kind] * self.num_base_pairs / self.plain["pairs"]


def measure(workspace: Workspace, parts: list[str]) -> Findings:
    """Time both on every video, and the decoder."""
    findings = Findings("run")
    videos: list[tuple[str, Path, KnownCameras | None]] = [
        (scene.name, scene.video, scene.cameras) for scene in workspace.scenes(("synthetic", "kitti06"))
    ]
    videos += [(_LONG, path, None) for path in workspace.videos((_LONG,))]
    compared = [(_compare(workspace, name, video), cameras) for name, video, cameras in videos if name in parts]
    if compared:
        _tell_speed(findings, [one for one, _ in compared])
        findings.add(
            "The same base pairs, labelled by both",
            (
                "video",
                "pairs",
                "moving inliers ours",
                "plain",
                "within 1 px ours",
                "plain",
                "within 2 px ours",
                "plain",
            ),
            [_quality_row(one, cameras) for one, cameras in compared],
        )
        for one, cameras in compared:
            _claim_equal_quality(findings, one, cameras)
    if "decode" in parts:
        for video in workspace.videos((_LONG,)):
            _tell_decode(findings, video, workspace.chosen(1, 3))
    return findings


def _compare(workspace: Workspace, name: str, video: Path) -> Compared:
    say(f"gim run {video.name}")
    store = workspace.store_of(video)
    shutil.rmtree(store, ignore_errors=True)  # another bench may have labelled it
    arguments = ["-m", "gim", "run", str(video), "--store", str(store), "--json", "--quiet"]
    if name == _LONG and workspace.effort == "quick":
        arguments += ["--trim-end", "40"]
    ours = run_measured(arguments)
    summary = json.loads(ours.output)["videos"][0]
    labelled = read_labelled(store, summary["video_id"])
    plain, plain_labels = _run_plain(workspace, video, labelled)
    return Compared(name, ours, summary, labelled, plain, plain_labels)


def _run_plain(
    workspace: Workspace, video: Path, labelled: Labelled
) -> tuple[dict[str, float], dict[Frames, Float32Array]]:
    """Run the script on blocks of samples spread over the used shots, with the settings of our run."""
    blocks = _blocks(labelled, workspace.chosen(1, 3))
    say(f"plain.py {video.name}: samples {' '.join(blocks)}")
    settings, detector = Settings.load(environ={}), RootSiftConfig()
    out = workspace.folder / f"plain-{video.stem}.npz"
    indices = labelled.frames.frame_indices
    flags = {
        "--step": indices[1] - indices[0],
        "--max-keypoints": detector.max_keypoints,
        "--contrast": detector.contrast_threshold,
        "--ratio": detector.ratio,
        "--threshold-px": settings.pairing.fit.threshold_px,
        "--confidence": settings.pairing.fit.confidence,
        "--out": out,
    }
    arguments = ["bench/plain.py", str(video), *(str(word) for flag in flags.items() for word in flag)]
    arguments += ["--intervals", *map(str, settings.pairing.base_intervals), "--blocks", *blocks]
    plain = json.loads(run_measured(arguments).output)
    with np.load(out) as arrays:
        labels = {
            (int(name.split("_")[0]), int(name.split("_")[1])): _one_per_place(arrays[name]) for name in arrays.files
        }
    return plain, labels


def _one_per_place(points: Float32Array) -> Float32Array:
    """Without the keypoints that SIFT finds several times, once for every angle: we never count them twice."""
    for columns in (slice(0, 2), slice(2, 4)):
        points = points[np.sort(np.unique(points[:, columns], axis=0, return_index=True)[1])]
    return points.astype(np.float32)


def _blocks(labelled: Labelled, number: int) -> list[str]:
    """Evenly spread places of a block within one used shot."""
    firsts = [
        first
        for shot in labelled.frames.shots
        if not shot.rejected
        for first in range(shot.first_sample, shot.first_sample + shot.num_samples - _BLOCK_SAMPLES + 1)
    ]
    places = {firsts[len(firsts) * (2 * i + 1) // (2 * number)] for i in range(number)}
    return [f"{first}:{_BLOCK_SAMPLES}" for first in sorted(places)]


def _tell_speed(findings: Findings, compared: list[Compared]) -> None:
    rows = []
    for one in compared:
        seconds = one.labelled.frames.frame_times[-1]
        wall, processor = one.plain_seconds("wall_seconds"), one.plain_seconds("processor_seconds")
        rows.append(
            (one.name, seconds, one.num_base_pairs, one.ours.wall_seconds, one.ours.processor_seconds,
             int(one.plain["pairs"]), wall, processor, wall / one.ours.wall_seconds)
        )  # fmt: skip
        findings.at_least(f"times as fast as the plain script, {one.name}", wall / one.ours.wall_seconds, 8, "x")
        findings.tell(
            f"processor time of the plain script over ours, {one.name}",
            f"{processor / one.ours.processor_seconds:.2f}x",
        )
    findings.add(
        "gim run (everything: decoding to shards) and the plain script",
        ("video", "seconds", "base pairs", "ours: wall", "processor", "plain: ran", "all: wall", "processor", "ratio"),
        rows,
    )
    findings.notes.append(
        "the plain script ran on blocks of samples spread over the video; its time is scaled to all base pairs."
    )
    longest = max(compared, key=lambda one: one.labelled.frames.frame_times[-1])
    _tell_steps(findings, longest)
    speed = longest.labelled.frames.num_frames / longest.labelled.frames.fps / longest.ours.wall_seconds
    findings.tell(f"video-hours per day, {longest.name}", f"{24 * speed:.1f}")


def _tell_steps(findings: Findings, one: Compared) -> None:
    steps = one.summary["seconds"]
    total = sum(steps.values())
    rows = [(step, spent, spent / total) for step, spent in sorted(steps.items(), key=lambda item: -item[1])]
    findings.add(f"Busy thread seconds of {one.name}", ("step", "seconds", "share"), rows)
    for what, step, asked in (("linking", "linking", 3), ("guided re-matching", "guided", 15)):
        findings.at_most(f"{what}, share of the run, {one.name}", 100 * steps.get(step, 0) / total, asked, " %")


def _quality_row(one: Compared, cameras: KnownCameras | None) -> tuple[Any, ...]:
    ours, plain = _same_pairs(one)
    row: list[Any] = [one.name, len(plain), _mean_inliers(ours), _mean_inliers(plain)]
    if cameras is None:
        return (*row, None, None, None, None)
    shares = [(_shares(labels, cameras)) for labels in (ours, plain)]
    return (*row, *(of_kind[i] for i in range(2) for of_kind in shares))


def _claim_equal_quality(findings: Findings, one: Compared, cameras: KnownCameras | None) -> None:
    ours, plain = _same_pairs(one)
    inliers = _mean_inliers(ours) / max(_mean_inliers(plain), 1e-9)
    findings.at_least(f"inliers per pair, ours over plain, {one.name}", inliers, _EQUAL_INLIERS)
    if cameras is not None:
        difference = _shares(ours, cameras)[1] - _shares(plain, cameras)[1]
        findings.at_least(f"share within 2 px, ours minus plain, {one.name}", difference, -_EQUAL_SHARE)


def _same_pairs(one: Compared) -> tuple[dict[Frames, Float32Array], dict[Frames, Float32Array]]:
    """Our base labels and the script's, of the pairs the script ran on; an empty one where we have none."""
    empty = np.empty((0, 4), np.float32)
    return {pair: one.labelled.base.get(pair, empty) for pair in one.plain_labels}, one.plain_labels


def _mean_inliers(labels: dict[Frames, Float32Array]) -> float:
    """Of those that move: a dashboard or burned-in text agrees with any motion straight ahead, and is no match."""
    return float(np.mean([np.count_nonzero(_displacement_px(points) >= 1) for points in labels.values()]))


def _displacement_px(points: Float32Array) -> Float64Array:
    return np.hypot(points[:, 2] - points[:, 0], points[:, 3] - points[:, 1])


def _shares(labels: dict[Frames, Float32Array], cameras: KnownCameras) -> tuple[float, float]:
    """Share within 1 and 2 px of the truth: of the exact place where it is known, else of the epipolar line."""
    score = score_together(labels, cameras)
    errors = (score.point or score.epipolar) if score else None
    return (errors.within_1px, errors.within_2px) if errors else (0.0, 0.0)


def _tell_decode(findings: Findings, video: Path, repeats: int) -> None:
    say(f"decoding {video.name}")
    seconds = time_steps(video, threads=0, repeats=repeats)
    alone_wall, alone_busy = seconds["decoder alone"]
    rows = [(name, wall, wall / alone_wall, busy, busy / alone_busy) for name, (wall, busy) in seconds.items()]
    findings.add(f"Decoding {video.stem}", ("", "wall s", "ratio", "processor s", "ratio"), rows)
    for what, step in (("reading frames", "reader"), ("reading and analysing frames", "reader + analysis")):
        findings.at_most(f"{what}, over the decoder alone", seconds[step][0] / alone_wall, MAX_RATIO, "x")
