"""What in a store belongs to no whole, and what is not what its manifest says. Reads only; `reconcile` removes."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from gim import codecs, keys
from gim.errors import CorruptObject, KeyMissing
from gim.ports.store import Store
from gim.records import FrameManifest, PairIndex, PairsManifest, VideoMeta
from gim.results import results_of
from gim.video.sources.library import SourceAlias

_OF_VIDEOS = ("pairs", "labels", "failures", "features", "masks", "frames", "videos")


@dataclass(frozen=True, slots=True)
class Leftover:
    """Objects that lead nowhere, or a result that is damaged."""

    prefix: str  # of the objects; a whole key for a single one
    why: str
    num_objects: int
    num_bytes: int


def find_orphans(store: Store, *, in_work: frozenset[str] = frozenset()) -> list[Leftover]:
    """Objects that no complete video, frames or pairs account for.

    Args:
        store: the store.
        in_work: sampling ids and recipe ids whose unfinished objects a run may still complete.
    """
    videos = {key.split("/")[1] for key in store.list("videos/") if key.endswith("/meta.json")}
    return [*_of_absent_videos(store, videos), *_unfinished(store, videos, in_work), *_dead_aliases(store, videos)]


def _of_absent_videos(store: Store, videos: set[str]) -> Iterator[Leftover]:
    for root in _OF_VIDEOS:
        for video_id in _children(store, f"{root}/"):
            if video_id not in videos:
                yield _leftover(store, f"{root}/{video_id}/", "its video is not in the store")


def _unfinished(store: Store, videos: set[str], in_work: frozenset[str]) -> Iterator[Leftover]:
    """Frames and pairs without their manifest, and labels, features and masks of such frames."""
    for video_id in sorted(videos):
        sampled = {
            child for child in _children(store, keys.frames_prefix(video_id)) if _is_whole(store, video_id, child)
        }
        for child in _children(store, keys.frames_prefix(video_id)):
            if child not in sampled | in_work:
                yield _leftover(store, keys.frames_prefix(video_id, child), "frames without their manifest")
        for prefix_of in (keys.labels_prefix, keys.failures_prefix, keys.features_prefix, keys.masks_prefix):
            for child in _children(store, prefix_of(video_id)):
                if child not in sampled | in_work:
                    yield _leftover(store, prefix_of(video_id, child), "of frames that are not there")
        for child in _children(store, keys.pairs_prefix(video_id)):
            if child not in in_work and not store.exists(keys.pairs_manifest(video_id, child)):
                yield _leftover(store, keys.pairs_prefix(video_id, child), "pairs without their manifest")


def _dead_aliases(store: Store, videos: set[str]) -> Iterator[Leftover]:
    for key in store.list(keys.source_aliases_prefix()):
        if codecs.from_json(SourceAlias, store.get(key)).video_id not in videos:
            yield _leftover(store, key, "alias of a video that is not in the store")


def _is_whole(store: Store, video_id: str, sampling_id: str) -> bool:
    return store.exists(keys.frame_manifest(video_id, sampling_id))


def find_damage(store: Store) -> list[Leftover]:
    """Results, frames and sources whose bytes are not those their manifest promises: absent, cut off, or changed.

    Every shard and every source is read and hashed; frames are looked for.
    """
    found = []
    for key in list(store.list("pairs/")):
        if key.endswith("/manifest.json"):
            found += _damaged(store, key, _result_fault(store, key))
    for key in list(store.list("frames/")):
        if key.endswith("/manifest.json"):
            found += _damaged(store, key, _frames_fault(store, key))
    for key in list(store.list("videos/")):
        if key.endswith("/meta.json"):
            found += _damaged(store, key, _meta_fault(store, key))
    return found


def _damaged(store: Store, key: str, why: str) -> list[Leftover]:
    return [_leftover(store, f"{key.rpartition('/')[0]}/", why)] if why else []


def _result_fault(store: Store, key: str) -> str:
    """What is wrong with a result; empty when nothing is."""
    try:
        manifest = codecs.from_json(PairsManifest, store.get(key))
        index = codecs.from_json(PairIndex, store.get(keys.pairs_index(manifest.video_id, manifest.recipe_id)))
        for shard in manifest.shards:
            if _sha256(store, shard.key) != shard.sha256:
                return f"{shard.key} has changed: its SHA-256 is not its manifest's"
    except (CorruptObject, KeyMissing) as error:
        return str(error)
    return "" if len(index.pairs) == manifest.num_pairs else "its index and its manifest disagree"


def _frames_fault(store: Store, key: str) -> str:
    """What is wrong with sampled frames. Their images may go once pairs are made: a shard has its own."""
    try:
        frames = codecs.from_json(FrameManifest, store.get(key))
    except CorruptObject as error:
        return str(error)
    if any(result.sampling_id == frames.sampling_id for result in results_of(store, frames.video_id)):
        return ""
    there = set(store.list(f"{key.rpartition('/')[0]}/"))
    wanted = [keys.frame_image(frames.video_id, frames.sampling_id, index) for index in frames.frame_indices]
    num_missing = len(set(wanted) - there)
    return f"{num_missing} of {len(wanted)} frames are missing" if num_missing else ""


def source_fault(store: Store, meta: VideoMeta) -> str:
    """What is wrong with the stored file of a video; empty when it is the file its meta speaks of."""
    try:
        changed = _sha256(store, meta.source_key) != meta.sha256
    except KeyMissing as error:
        return str(error)
    return f"{meta.source_key} has changed: its SHA-256 is not that of its meta" if changed else ""


def _meta_fault(store: Store, key: str) -> str:
    try:
        return source_fault(store, codecs.from_json(VideoMeta, store.get(key)))
    except CorruptObject as error:
        return str(error)


def _sha256(store: Store, key: str) -> str:
    with store.fetch(key) as path, path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _children(store: Store, prefix: str) -> list[str]:
    """Names directly below a prefix that have objects below them."""
    below = (key.removeprefix(prefix).partition("/") for key in store.list(prefix))
    return list(dict.fromkeys(name for name, slash, _ in below if slash))


def _leftover(store: Store, prefix: str, why: str) -> Leftover:
    return Leftover(prefix, why, sum(1 for _ in store.list(prefix)), store.usage(prefix))
