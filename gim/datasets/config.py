"""Settings of a dataset: which of the finished pairs belong to it, and which videos are held out of training."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class DatasetConfig:
    """What a dataset is made of. The same settings on the same store give the same dataset."""

    name: str = "videos"  # begins the dataset's id
    recipes: tuple[
        str, ...
    ] = ()  # names or ids, the preferred one first; of a video one result is taken; empty: its only
    matchers: tuple[str, ...] = ()  # only results whose labels are by these, all of them and no others; empty: any
    max_hours: float = 0.0  # of film, drawn by a hash of the videos' ids; 0: all there is
    videos: tuple[str, ...] = ()  # ids; empty: all that have a result
    where: tuple[str, ...] = ()  # conditions on a pair's quality, as in coverage>=0.2; all must hold
    permissive_only: bool = False  # leave out what a matcher or segmenter for research only had a part in
    held_out_share: float = 0.05  # of all possible videos, by a hash of their id: what is held out once always is
    held_out_seed: int = 0  # another one holds out others
    min_pairs: int = 1  # for training, below: no dataset is made
    verify: Literal["hashes", "sizes"] = "hashes"  # of shards; hashes: every byte is read
    damaged: Literal["leave_out", "refuse"] = "leave_out"  # a video with a missing or changed shard
    posed: tuple[str, ...] = ()  # posed sets: kind=folder,option=value,... each; see docs/datasets.md
    posed_roots: dict[str, str] = field(default_factory=dict)  # where a posed set lies on this machine, by its name
    posed_only: bool = False  # no videos
    keep_clear_of: tuple[str, ...] = ()  # benchmarks: videos that show an image of one are left out
