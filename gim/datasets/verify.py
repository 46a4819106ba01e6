"""Whether shards of a store and scenes of posed sets are still those a manifest lists. Reads only."""

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from gim import keys
from gim.datasets.manifest import DatasetManifest, DatasetShard
from gim.errors import KeyMissing
from gim.ports.store import Store
from gim.records import ShardInfo

Depth = Literal["hashes", "sizes"]
THREADS = 8  # that wait for the store at once


@dataclass(frozen=True, slots=True)
class DatasetFault:
    """What is wrong with one part of a dataset."""

    video_id: str  # or set and scene of a posed set
    key: str  # of the shard, or the file of a scene's index; empty: it is about the whole
    why: str


def shard_fault(store: Store, shard: ShardInfo | DatasetShard, depth: Depth) -> str:
    """What is wrong with a shard in one line; empty when nothing is.

    Args:
        store: that should have it.
        shard: as a manifest lists it.
        depth: `sizes` asks for its size; `hashes` reads it.
    """
    try:
        num_bytes = store.size(shard.key)
        if num_bytes != shard.num_bytes:
            return f"{shard.key} has {num_bytes} bytes, its manifest says {shard.num_bytes}"
        if depth == "hashes" and _sha256(store, shard.key) != shard.sha256:
            return f"{shard.key} has changed: its SHA-256 is not its manifest's"
    except KeyMissing:
        return f"{shard.key} is not in the store"
    return ""


def dataset_faults(store: Store, manifest: DatasetManifest, depth: Depth = "hashes") -> Iterator[DatasetFault]:
    """Everything that keeps a dataset from being read as it was listed, video by video.

    Args:
        store: that holds the shards.
        manifest: of the dataset.
        depth: see `shard_fault`.
    """
    for video in manifest.videos:
        if store.exists(keys.purge_mark(video.video_id)):
            yield DatasetFault(video.video_id, "", "was purged since")
    listed = [(video.video_id, shard) for video in manifest.videos for shard in video.shards]
    with ThreadPoolExecutor(THREADS, thread_name_prefix="verify") as executor:
        whys = executor.map(lambda item: shard_fault(store, item[1], depth), listed)
        for (video_id, shard), why in zip(listed, whys, strict=True):
            if why:
                yield DatasetFault(video_id, shard.key, why)


def posed_faults(manifest: DatasetManifest, roots: Mapping[str, str]) -> Iterator[DatasetFault]:
    """Everything that keeps the posed sets of a dataset from being read as they were listed; images are not looked at.

    Args:
        manifest: of the dataset.
        roots: folders of the sets on this machine, by name: the setting `dataset.posed_roots`.
    """
    if not manifest.posed:
        return
    # Readers of foreign formats are slow to load, and most datasets have no posed sets.
    from gim.datasets.posed import posed_set_faults  # noqa: PLC0415

    for posed_set in manifest.posed:
        for scene, file, why in posed_set_faults(posed_set, roots):
            yield DatasetFault(f"{posed_set.name}/{scene}" if scene else posed_set.name, file, why)


def _sha256(store: Store, key: str) -> str:
    with store.fetch(key) as path, path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
