"""What a store holds, video by video, for people to look at."""

from dataclasses import dataclass

from gim import codecs, keys
from gim.ports.store import Store
from gim.records import PairsManifest, VideoMeta


@dataclass(frozen=True, slots=True)
class StoredVideo:
    """One video of a store under one recipe."""

    video_id: str
    source: str
    licence: str
    num_bytes: int
    recipe_id: str  # empty when nothing has been finished yet
    pairs: int
    correspondences: int
    rejected: str  # reason, empty when pairs were kept


def list_videos(store: Store) -> list[StoredVideo]:
    """One row for every video and finished recipe, by video id."""
    rows = []
    for key in store.list("videos/"):
        if not key.endswith("/meta.json"):
            continue
        meta = codecs.from_json(VideoMeta, store.get(key))
        finished = [key for key in store.list(keys.pairs_prefix(meta.video_id)) if key.endswith("/manifest.json")]
        manifests = [codecs.from_json(PairsManifest, store.get(key)) for key in finished]
        rows += [_summary(meta, manifest) for manifest in manifests] or [_summary(meta, None)]
    return rows


def _summary(meta: VideoMeta, result: PairsManifest | None) -> StoredVideo:
    return StoredVideo(
        video_id=meta.video_id,
        source=meta.provenance.source,
        licence=meta.provenance.licence,
        num_bytes=meta.num_bytes,
        recipe_id=result.recipe_id if result else "",
        pairs=result.num_pairs if result else 0,
        correspondences=result.num_correspondences if result else 0,
        rejected=result.rejected if result else "not finished",
    )
