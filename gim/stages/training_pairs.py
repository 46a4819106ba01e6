"""Writing a video's training pairs to the Store, shard by shard, without holding more than one."""

import hashlib
import io
from collections.abc import Callable

from gim import keys
from gim.labels.shards import ShardWriter, pair_name
from gim.ports.store import Store
from gim.records import FrameManifest, PairEntry, ShardInfo, TrainingPair


class PairsWriter:
    """Takes pairs in order; `finish` stores the last shard.

    A shard is made in memory (tens of MB): a temporary file would outlive a kill, and could fill another disk.
    """

    def __init__(
        self,
        store: Store,
        manifest: FrameManifest,
        recipe_id: str,
        shard_pairs: int,
        *,
        jpeg: Callable[[FrameManifest, int], bytes],
    ) -> None:
        """Args:
        store: gets the shards.
        manifest: of the frames.
        recipe_id: of the pairs.
        shard_pairs: in a shard.
        jpeg: a frame as stored, by its index in the video.
        """
        self._store = store
        self._jpeg = jpeg
        self._manifest = manifest
        self._recipe_id = recipe_id
        self._shard_pairs = shard_pairs
        self._buffer = io.BytesIO()
        self._writer: ShardWriter | None = None
        self._shards: list[ShardInfo] = []
        self._entries: list[PairEntry] = []

    def add(self, pair: TrainingPair, shot: int) -> None:
        """Append one pair with its two stored frames."""
        if self._writer is None:
            self._buffer = io.BytesIO()
            self._writer = ShardWriter(self._buffer)
        frame0, frame1 = (self._jpeg(self._manifest, frame) for frame in (pair.frame0, pair.frame1))
        self._writer.add(pair, frame0, frame1)
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

    def _close_shard(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        data = self._buffer.getvalue()
        key = keys.pairs_shard(self._manifest.video_id, self._recipe_id, len(self._shards))
        self._store.put(key, data)
        self._shards.append(ShardInfo(key, hashlib.sha256(data).hexdigest(), len(data), self._writer.num_pairs))
        self._writer = None
