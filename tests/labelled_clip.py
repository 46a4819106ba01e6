"""A small store that a real run has made of a rendered clip with known truth. Not a test; used by several."""

from dataclasses import dataclass
from pathlib import Path

from gim.runtime.run import run_videos
from gim.settings import Settings
from tests.synthetic import small_clip

SETS = ("pairing.min_inliers=30", "propagation.min_kept=30", "run.threads=1")


@dataclass(frozen=True)
class LabelledClip:
    """The store's folder, the video in it, and what is true of it."""

    root: Path
    video_id: str
    recipe_id: str
    truth: Path

    @property
    def arguments(self) -> list[str]:
        """What to tell a command to work on this store with the settings it was made with."""
        return ["--store", str(self.root), *(word for text in SETS for word in ("--set", text))]


def label_clip(folder: Path) -> LabelledClip:
    """Render a clip of two seconds and run the pipeline over it."""
    small_clip(folder / "clip.mp4").save(folder / "clip.json")
    root = folder / "store"
    run = run_videos([str(folder / "clip.mp4")], settings(root))
    (video,) = run.videos
    assert video.pairs_kept > 0, video
    return LabelledClip(root, video.video_id, video.recipe_id, folder / "clip.json")


def settings(root: Path) -> Settings:
    """The settings the store is made with."""
    return Settings.load([f"store={root}", *SETS], environ={})
