"""The time line of one video: its shots, and for every start how far its pair reaches, at most a few hundred bars."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gim.records import FrameManifest, PairEntry

MAX_BARS = 480  # a bar of 2 px across a wide window


@dataclass(frozen=True, slots=True)
class Bar:
    """The kept pairs that start in one short span of time; the farthest of them is named."""

    start_seconds: float  # of the farthest pair
    end_seconds: float
    shot: int
    num_pairs: int
    median_reach_seconds: float
    name: str
    num_correspondences: int
    drawn: int  # position in the page's grid of the farthest pair of the group that is drawn, or -1


def make_bars(
    frames: FrameManifest, pairs: Sequence[PairEntry], drawn: Mapping[str, int], max_bars: int = MAX_BARS
) -> list[Bar]:
    """Group pairs by start into bars: one per sample, or fewer wider ones in a long video. Ascending by start.

    Args:
        frames: for the length and the sampling step.
        pairs: every kept pair.
        drawn: position in the grid, by name.
        max_bars: at most so many bars, not counting that a bar never spans two shots.
    """
    if not pairs:
        return []
    origin = min(pair.time0 for pair in pairs)
    width = bar_seconds(frames, pairs, max_bars)
    groups: dict[tuple[int, int], list[PairEntry]] = {}
    for pair in pairs:
        groups.setdefault((int((pair.time0 - origin) / width + 1e-6), pair.shot), []).append(pair)
    return [_bar(groups[key], drawn) for key in sorted(groups)]


def bar_seconds(frames: FrameManifest, pairs: Sequence[PairEntry], max_bars: int = MAX_BARS) -> float:
    """The span of starts that one bar stands for: the sampling step, or more in a long video."""
    times = [pair.time0 for pair in pairs]
    extent = max(times) - min(times) if times else 0.0
    return max(frames.step_seconds, extent / max_bars, 1e-6)


def _bar(group: Sequence[PairEntry], drawn: Mapping[str, int]) -> Bar:
    shown = [pair for pair in group if pair.name in drawn]
    farthest = _farthest(group)
    return Bar(
        start_seconds=farthest.time0,
        end_seconds=farthest.time1,
        shot=farthest.shot,
        num_pairs=len(group),
        median_reach_seconds=float(np.median([pair.quality.interval_seconds for pair in group])),
        name=farthest.name,
        num_correspondences=farthest.quality.num_correspondences,
        drawn=drawn[_farthest(shown).name] if shown else -1,
    )


def _farthest(group: Sequence[PairEntry]) -> PairEntry:
    return max(group, key=lambda pair: (pair.quality.interval_seconds, -pair.frame0))
