"""What a report is made of: one video's records as the store holds them, and the facts only the run itself knows.

Not responsible for pictures and correspondences (`gim.report.pictures`) nor for words and drawing (`gim.report.build`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gim import codecs, keys
from gim.errors import InvalidInput, KeyMissing
from gim.ports.store import Store
from gim.records import FrameManifest, PairIndex, PairsManifest, VideoMeta


@dataclass(frozen=True, slots=True)
class VideoResult:
    """One finished video: labelled, or rightly rejected."""

    meta: VideoMeta
    frames: FrameManifest
    pairs: PairsManifest | None = None  # absent when the video was rejected before labelling
    index: PairIndex | None = None

    @property
    def rejected(self) -> str:
        """Why nothing was kept; empty when something was."""
        return self.frames.rejected or (self.pairs.rejected if self.pairs else "")


@dataclass(frozen=True, slots=True)
class FailedVideo:
    """A source that gave no result."""

    source: str
    reason: str  # one line


@dataclass(frozen=True, slots=True)
class CheckRow:
    """How right the kept correspondences of one reached interval are, under known camera poses."""

    interval_seconds: float
    num_pairs: int
    num_correspondences: int
    median_error_px: float
    within_1px: float  # share, 0 to 1
    within_2px: float


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the store does not know; every field may be left out."""

    command: str = ""
    wall_seconds: float | None = None
    seconds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # video_id -> step -> busy seconds
    versions: Mapping[str, str] = field(default_factory=dict)
    check: Mapping[str, Sequence[CheckRow]] = field(default_factory=dict)  # video_id -> ascending intervals
    failed: Sequence[FailedVideo] = ()


def load_results(store: Store, video_ids: Sequence[str], recipe_id: str | None = None) -> list[VideoResult]:
    """Read what the store holds of these videos, in the order given.

    Args:
        store: where a run has written.
        video_ids: each must have been sampled; one without a pairs manifest must have been rejected.
        recipe_id: which result; None takes the only one.

    Raises:
        KeyMissing: the video has no result (of this recipe).
        InvalidInput: several recipes have one and none was named.
    """
    return [_load_result(store, video_id, recipe_id) for video_id in video_ids]


def _load_result(store: Store, video_id: str, recipe_id: str | None) -> VideoResult:
    meta = codecs.from_json(VideoMeta, store.get(keys.video_meta(video_id)))
    recipe_id = recipe_id or _only_recipe(store, video_id)
    if recipe_id is None or not store.exists(keys.pairs_manifest(video_id, recipe_id)):
        return VideoResult(meta, _rejected_frames(store, video_id))
    pairs = codecs.from_json(PairsManifest, store.get(keys.pairs_manifest(video_id, recipe_id)))
    frames = codecs.from_json(FrameManifest, store.get(keys.frame_manifest(video_id, pairs.sampling_id)))
    index_key = keys.pairs_index(video_id, recipe_id)
    index = codecs.from_json(PairIndex, store.get(index_key)) if store.exists(index_key) else None
    return VideoResult(meta, frames, pairs, index)


def _only_recipe(store: Store, video_id: str) -> str | None:
    prefix = keys.pairs_prefix(video_id)
    found = [key.removeprefix(prefix).split("/")[0] for key in store.list(prefix) if key.endswith("/manifest.json")]
    if len(found) > 1:
        raise InvalidInput(f"{video_id} has pairs of {len(found)} recipes, name one: {', '.join(found)}")
    return found[0] if found else None


def _rejected_frames(store: Store, video_id: str) -> FrameManifest:
    manifests = [key for key in store.list(keys.frames_prefix(video_id)) if key.endswith("/manifest.json")]
    for key in manifests:
        frames = codecs.from_json(FrameManifest, store.get(key))
        if frames.rejected:
            return frames
    raise KeyMissing(f"{video_id} has no finished result in this store: run `gim run` on it again")
