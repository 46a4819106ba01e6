"""Whether cost and memory grow with a video as they should, and whether a second process helps: rendered videos."""

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import av

from bench.findings import Findings, say
from bench.processes import Cost, run_measured
from bench.workspace import Workspace
from gim.synthetic.clip import long_plan, write_clip

PARTS = ("length", "jobs")
_SIZE = {"width": 320, "height": 180, "fps": 10, "shot_seconds": 20.0}  # each minute: a walk, an orbit, a flight
_VIDEOS = 4
_ATTEMPTS = 2  # in turn, so that what else the machine does spoils neither side of a ratio


def measure(workspace: Workspace, parts: list[str]) -> Findings:
    """Label videos of 1 to 30 minutes, then four videos by one process and by two."""
    findings = Findings("scale")
    minutes = {"quick": (1, 3), "normal": (1, 3, 10), "full": (1, 3, 10, 30)}[workspace.effort]
    needed = max(minutes) if "length" in parts else _VIDEOS
    pieces = _render_minutes(workspace.folder, max(needed, _VIDEOS if "jobs" in parts else 0))
    if "length" in parts:
        _measure_length(findings, workspace, pieces, minutes)
    if "jobs" in parts:
        _measure_jobs(findings, workspace, pieces[:_VIDEOS])
    return findings


def _measure_length(findings: Findings, workspace: Workspace, pieces: list[Path], minutes: tuple[int, ...]) -> None:
    costs: dict[int, Cost] = {}
    rows = []
    for length in minutes:
        video = workspace.folder / f"{length}min.mp4"
        _concatenate(pieces[:length], video)
        costs[length], pairs = _run([video], workspace.folder / f"store-{length}min")
        cost = costs[length]
        rows.append(
            (length, cost.wall_seconds, cost.wall_seconds / length, cost.processor_seconds / length,
             cost.peak_bytes / 2**20, pairs)
        )  # fmt: skip
    findings.add("gim run by length", ("minutes", "wall s", "wall s/min", "processor s/min", "peak MiB", "pairs"), rows)
    shortest, longest = costs[minutes[0]], costs[minutes[-1]]
    for kind in ("wall_seconds", "processor_seconds"):
        growth = getattr(longest, kind) / minutes[-1] / (getattr(shortest, kind) / minutes[0])
        what = f"cost of a minute ({kind.replace('_', ' ')}), {minutes[-1]} minutes over {minutes[0]}"
        findings.at_most(what, growth, 1.1, "x")
    ten = costs.get(10, longest)
    length = 10 if 10 in costs else minutes[-1]
    findings.at_most(f"peak memory, {length} minutes over 1 minute", ten.peak_bytes / shortest.peak_bytes, 1.2, "x")


def _measure_jobs(findings: Findings, workspace: Workspace, videos: list[Path]) -> None:
    flags = ["--threads", "1", *(["--trim-end", "40"] if workspace.effort == "quick" else [])]
    found: dict[int, list[Cost]] = {1: [], 2: []}
    for attempt in range(_ATTEMPTS):
        for jobs, costs in found.items():
            store = workspace.folder / f"store-jobs{jobs}-{attempt}"
            costs.append(_run(videos, store, "--jobs", str(jobs), *flags)[0])
    quickest = {jobs: min(costs, key=lambda cost: cost.wall_seconds) for jobs, costs in found.items()}
    rows = [
        (jobs, cost.wall_seconds, cost.processor_seconds, cost.peak_bytes / 2**20) for jobs, cost in quickest.items()
    ]
    columns = ("jobs", "wall s", "processor s", "peak MiB")
    findings.add(f"{_VIDEOS} videos, one thread a process, the quicker of {_ATTEMPTS} runs", columns, rows)
    speed = quickest[1].wall_seconds / quickest[2].wall_seconds
    findings.at_least(f"{_VIDEOS} videos, --jobs 2 as fast as --jobs 1", speed, 1.7, "x")


def _run(videos: list[Path], store: Path, *flags: str) -> tuple[Cost, int]:
    say(f"gim run {' '.join(video.name for video in videos)} {' '.join(flags)}")
    cost = run_measured(["-m", "gim", "run", *map(str, videos), "--store", str(store), "--json", "--quiet", *flags])
    return cost, sum(video["pairs_kept"] for video in json.loads(cost.output)["videos"])


def _render_minutes(folder: Path, number: int) -> list[Path]:
    """Videos of a minute each, no two alike, rendered side by side."""
    say(f"rendering {number} minutes")
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return list(pool.map(_render_minute, [folder] * number, range(number)))


def _render_minute(folder: Path, seed: int) -> Path:
    path = folder / f"minute{seed:02d}.mp4"
    write_clip(path, long_plan(1.0, seed=seed, **_SIZE))
    return path


def _concatenate(pieces: list[Path], out: Path) -> None:
    """Join videos of one encoder and equal settings, packet by packet."""
    with av.open(str(out), "w") as container:
        stream, offset = None, 0
        for piece in pieces:
            with av.open(str(piece)) as source:
                template = source.streams.video[0]
                stream = stream or container.add_stream_from_template(template)
                for packet in source.demux(template):
                    if packet.dts is None:
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, stream
                    container.mux(packet)
                offset += template.duration
