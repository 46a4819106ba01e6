"""How far propagation reaches on real films whose cameras nobody knows, and that a still camera gives nothing."""

from collections import Counter
from pathlib import Path

from bench.findings import Findings, say
from bench.labelled import Labelled
from bench.workspace import Workspace

_MOVING = ("city_dashcam_60s", "gopro_walk_10s", "phone_park_6s")
_STILL = ("static_camera_30s",)


def measure_far(workspace: Workspace, findings: Findings) -> None:
    """Share of starts whose kept pair is farther than any base label."""
    rows = []
    for video in workspace.videos(_MOVING):
        say(f"{video.name}: how far chains reach")
        sets = ["sampling.trim_end_seconds=40"] if workspace.effort == "quick" and video.stem == _MOVING[0] else []
        labelled = workspace.label(video, sets)
        largest = max(labelled.result.recipe["base_intervals"])
        beyond = sum(labelled.interval_samples(pair) > largest for pair in labelled.pairs)
        room = labelled.starts_with_room(2 * largest)
        rows.append((video.stem, labelled.result.funnel.starts, room, len(labelled.pairs), beyond, _spread(labelled)))
        findings.at_least(f"{video.stem}: starts with room that reach beyond base labels", beyond / max(1, room), 0.5)
    if rows:
        columns = ("video", "starts", "with room", "kept", "beyond base", "kept pairs by seconds")
        title = "Reach under the default settings (with room: the shot lasts twice the largest base interval)"
        findings.add(title, columns, rows)
    for video in workspace.videos(_STILL):
        _measure_still(workspace, findings, video)


def _spread(labelled: Labelled) -> str:
    counts = Counter(labelled.seconds_of(pair) for pair in labelled.pairs)
    return " ".join(f"{seconds:g}:{count}" for seconds, count in sorted(counts.items()))


def _measure_still(workspace: Workspace, findings: Findings, video: Path) -> None:
    result = workspace.label(video).result
    findings.at_most(f"{video.stem}: pairs kept", result.num_pairs, 0)
    findings.tell(f"{video.stem}: reason", result.rejected)
