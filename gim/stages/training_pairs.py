"""Writing a video's training pairs to the Store, shard by shard, without holding more than one."""

import hashlib
import tempfile
from pathlib import Path

from gim import keys
from gim.labels.shards import ShardWriter, pair_name
from gim.ports.store import Store
from gim.records import FrameManifest, PairEntry, ShardInfo, TrainingPair


class PairsWriter:
    """Takes pairs in order; use as a context manager, and `finish` inside it."""

    def __init__(self, store: Store, manifest: FrameManifest, recipe_id: str, shard_pairs: int) -> None:
        self._store = store
        self._manifest = manifest
        self._recipe_id = recipe_id
        self._shard_pairs = shard_pairs
        self._folder = tempfile.TemporaryDirectory(prefix="gim-shards-")
        self._writer: ShardWriter | None = None
        self._shards: list[ShardInfo] = []
        self._entries: list[PairEntry] = []

    def __enter__(self) -> "PairsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
        self._folder.cleanup()

    def add(self, pair: TrainingPair, shot: int) -> None:
        """Append one pair with its two stored frames."""
        if self._writer is None:
            self._writer = ShardWriter(self._path)
        self._writer.add(pair, self._jpeg(pair.frame0), self._jpeg(pair.frame1))
        self._entries.append(
            PairEntry(
                name=pair_name(pair.frame0, pair.frame1),
                shard=len(self._shards),
                frame0=pair.frame0,
                frame1=pair.frame1,
                time0=pair.time0,
                time1=pair.time1,
                shot=shot,
                quality=pair.quality,
            )
        )
        if self._writer.num_pairs == self._shard_pairs:
            self._close_shard()

    def finish(self) -> tuple[list[ShardInfo], list[PairEntry]]:
        """Store the last shard; what was written and where each pair lies."""
        self._close_shard()
        return self._shards, self._entries

    @property
    def _path(self) -> Path:
        return Path(self._folder.name) / "shard.tar"

    def _jpeg(self, frame_index: int) -> bytes:
        return self._store.get(keys.frame_image(self._manifest.video_id, self._manifest.sampling_id, frame_index))

    def _close_shard(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        key = keys.pairs_shard(self._manifest.video_id, self._recipe_id, len(self._shards))
        with self._path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        self._store.put_file(key, self._path)
        self._shards.append(ShardInfo(key, digest.hexdigest(), self._path.stat().st_size, self._writer.num_pairs))
        self._writer = None
