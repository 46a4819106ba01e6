"""What the parts of one bench run share: sample data, a temporary folder, how much to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.labelled import Labelled, read_labelled
from gim.evaluation.cameras import KnownCameras, RenderedFrames, read_posed_frames
from gim.runtime.run import run_videos
from gim.settings import Settings
from gim.synthetic.clip import bundled_clip, long_plan, truth_of, write_clip
from gim.synthetic.truth import ClipTruth

_KITTI = {  # video, with its poses beside it; fx,fy,cx,cy from the data's README
    "kitti06": ("videos/kitti06_5s", "707.0912,707.0912,601.8873,183.1104"),
    "kitti05": ("train_videos/kitti05_6s", "707.0912,707.0912,601.8873,183.1104"),
    "kitti01": ("train_videos/kitti01_5s", "718.856,718.856,607.1928,185.2157"),
}
# Three worlds of ten seconds: harder than the bundled clip, on which most chains of any recipe hold.
_RENDERED = long_plan(0.5, width=640, height=360, fps=10, shot_seconds=10.0, seed=7)


@dataclass(frozen=True, slots=True)
class Scene:
    """A video whose cameras are known."""

    name: str
    video: Path
    cameras: KnownCameras


@dataclass(frozen=True, slots=True)
class Workspace:
    """One bench run."""

    folder: Path  # temporary
    data: Path  # the sample data
    effort: str  # "quick", "normal" or "full"

    def chosen(self, quick: int, normal: int, full: int | None = None) -> int:
        """The number that goes with the effort."""
        return {"quick": quick, "normal": normal, "full": normal if full is None else full}[self.effort]

    def scenes(self, names: Sequence[str]) -> list[Scene]:
        """Those of the known scenes whose data is there."""
        return [scene for name in names if (scene := self._scene(name)) is not None]

    def videos(self, names: Sequence[str]) -> list[Path]:
        """Those of the sample videos that are there."""
        return [path for name in names if (path := self.data / "videos" / f"{name}.mp4").exists()]

    def store_of(self, video: Path) -> Path:
        """The store of a video's labels: what one part of a bench run has made there, another finds."""
        return self.folder / "stores" / video.stem

    def label(self, video: Path, sets: Sequence[str] = (), *, recipe: str = "standard") -> Labelled:
        """Label a video in this process; what its store already holds is not made again."""
        store = self.store_of(video)
        settings = Settings.load([f"store={store}", "run.keep_features=true", *sets], recipe=recipe, environ={})
        summary = run_videos([str(video)], settings).videos[0]
        if summary.error:
            raise SystemExit(f"{video.name}: {summary.error}")
        return read_labelled(store, summary.video_id, summary.recipe_id)

    def _scene(self, name: str) -> Scene | None:
        if name == "synthetic":
            clip, truth = bundled_clip()
            return Scene(name, clip, RenderedFrames(truth.name, ClipTruth.load(truth)))
        if name == "rendered":
            return self._rendered()
        path, intrinsics = _KITTI[name]
        video, poses = self.data / f"{path}.mp4", self.data / f"{path}_poses.txt"
        if not (video.exists() and poses.exists()):
            return None
        return Scene(name, video, read_posed_frames(poses, intrinsics))

    def _rendered(self) -> Scene:
        video = self.folder / "rendered.mp4"
        if not video.exists():
            write_clip(video, _RENDERED)
        return Scene("rendered", video, RenderedFrames("rendered.mp4", truth_of(_RENDERED)))
