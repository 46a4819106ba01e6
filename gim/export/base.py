"""What a format of `gim export` is: a module of this package with a `LAYOUT`, its `OPTIONS` and an `Exporter`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gim.export.selection import SelectedVideo, StoredPair

IMAGES = "images"  # folder of the frames, where a format keeps them once for all pairs


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What only some formats ask for; `OPTIONS` of a format's module names those it uses."""

    merge_px: float = 0.0  # keypoints of an image this near become one; 0 = only equal positions
    camera: str = (
        ""  # COLMAP camera of all images, MODEL,PARAMETER,...; empty = SIMPLE_RADIAL of a guessed focal length
    )
    shard_pairs: int = 512


class Exporter(Protocol):
    """Writes pairs into a folder as they come, video by video; built as `Exporter(folder, options)`."""

    def begin(self, video: SelectedVideo) -> None:
        """A video begins that has at least one pair."""

    def add(self, item: StoredPair) -> None:
        """Write one pair of the video."""

    def end(self) -> None:
        """The video has no more pairs."""

    def finish(self) -> dict[str, int | str]:
        """Everything was written; facts of the format for the summary."""

    def close(self) -> None:
        """Release what is open, also after an error. A second call does nothing."""


def image_name(video_id: str, frame: int) -> str:
    """Name of a frame below the folder of images."""
    return f"{video_id}/{frame:08d}.jpg"


def write_once(path: Path, data: bytes) -> None:
    """Write a file unless it is there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
