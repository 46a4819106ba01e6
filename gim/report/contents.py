"""What the page says and draws of a run, as plain values: for the template (`overview`, `video_context`) and, as JSON,
for the script (`video_data`, `pair_data`). Not responsible for rendering.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from gim.records import PairEntry
from gim.report.funnel import make_funnel
from gim.report.histograms import make_histograms
from gim.report.pictures import PairPicture
from gim.report.results import CheckRow, RunFacts, VideoResult
from gim.report.select import score_pair
from gim.report.timeline import bar_seconds, make_bars
from gim.report.words import main_loss, reason_of, what_happened


def entries_of(result: VideoResult) -> Sequence[PairEntry]:
    """Every kept pair of a video."""
    return result.index.pairs if result.index else ()


def pair_data(picture: PairPicture, images: list[int]) -> dict[str, Any]:
    """One drawn pair for the script; `images` are the positions of its pictures in the page."""
    entry = picture.selected.entry
    return {
        "name": entry.name,
        "frames": [entry.frame0, entry.frame1],
        "times": [entry.time0, entry.time1],
        "shot": entry.shot,
        "tags": picture.selected.tags,
        "score": round(score_pair(entry.quality), 4),
        "quality": asdict(entry.quality),
        "images": images,
        "sizes": picture.sizes,
        # Hundredths of a pixel: integers are compact, and finer than any matcher.
        "points": np.rint(picture.correspondences * 100.0).astype(np.int64).ravel().tolist(),
        "residuals": np.rint(picture.residuals_px * 100.0).astype(np.int64).tolist(),
        "F01": picture.F01.ravel().tolist(),
    }


def video_data(result: VideoResult, pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """What the script draws: spans, bars and histograms over all pairs, and the pairs of the grid."""
    frames = result.frames
    shots = [
        {
            "index": shot.index,
            "start": shot.start_seconds,
            "end": shot.end_seconds,
            "samples": shot.num_samples,
            "reason": reason_of(shot.rejected).text if shot.rejected else "",
        }
        for shot in frames.shots
    ]
    position = {pair["name"]: i for i, pair in enumerate(pairs)}
    return {
        "id": result.meta.video_id,
        "start": min((shot.start_seconds for shot in frames.shots), default=0.0),
        "end": max([shot.end_seconds for shot in frames.shots] + frames.frame_times, default=0.0),
        "bar_seconds": bar_seconds(frames, entries_of(result)),
        "shots": shots,
        "bars": [asdict(bar) for bar in make_bars(frames, entries_of(result), position)],
        "histograms": [asdict(histogram) for histogram in make_histograms(entries_of(result), frames.step_seconds)],
        "pairs": pairs,
    }


def overview(results: Sequence[VideoResult], facts: RunFacts) -> dict[str, Any]:
    """The figures at the top of the page."""
    intervals = [entry.quality.interval_seconds for result in results for entry in entries_of(result)]
    seconds = sum(result.frames.duration_seconds for result in results)
    wall = facts.wall_seconds
    return {
        "num_videos": len(results) + len(facts.failed),
        "num_labelled": sum(1 for result in results if entries_of(result)),
        "num_pairs": len(intervals),
        "num_correspondences": sum(result.pairs.num_correspondences for result in results if result.pairs),
        "median_interval": float(np.median(intervals)) if intervals else None,
        "longest_interval": max(intervals, default=None),
        "video_seconds": seconds,
        "hours_per_day": seconds / wall * 24 if wall else None,
        "within_1px": _weighted_share([row for rows in facts.check.values() for row in rows]),
    }


def _weighted_share(rows: Sequence[CheckRow]) -> float | None:
    total = sum(row.num_correspondences for row in rows)
    return sum(row.within_1px * row.num_correspondences for row in rows) / total if total else None


def video_context(result: VideoResult, facts: RunFacts, num_drawn: int) -> dict[str, Any]:
    """What the template writes of one video."""
    meta, entries = result.meta, entries_of(result)
    intervals = [entry.quality.interval_seconds for entry in entries]
    return {
        "id": meta.video_id,
        "name": video_name(result),
        "meta": meta,
        "frames": result.frames,
        "pairs": result.pairs,
        "num_pairs": len(entries),
        "num_drawn": num_drawn,
        "is_grouped": bar_seconds(result.frames, entries) > 1.001 * result.frames.step_seconds,
        "num_correspondences": result.pairs.num_correspondences if result.pairs else 0,
        "median_interval": float(np.median(intervals)) if intervals else None,
        "longest_interval": max(intervals, default=None),
        "sentence": what_happened(result),
        "reason": None if entries else reason_of(main_loss(result)),
        "funnel": make_funnel(result.pairs.funnel) if result.pairs else [],
        "steps": _steps(facts.seconds.get(meta.video_id, {})),
        "check": facts.check.get(meta.video_id, ()),
    }


def video_name(result: VideoResult) -> str:
    """A name for people: the title, else the last part of the source, else the id."""
    provenance = result.meta.provenance
    return provenance.title or PurePosixPath(provenance.source).name or result.meta.video_id


def _steps(seconds: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """Step, seconds and share, slowest first."""
    total = sum(seconds.values())
    ranked = sorted(seconds.items(), key=lambda item: (-item[1], item[0]))
    return [(name, value, value / total) for name, value in ranked if total > 0 and value > 0]
