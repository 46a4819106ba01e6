"""Finished results of small videos, written record by record. Not a test; used by tests of datasets."""

import hashlib
import io
from collections.abc import Sequence

import numpy as np

from gim import codecs, keys
from gim.labels.shards import ShardWriter, pair_name
from gim.ports.store import Store
from gim.records import (
    Funnel,
    PairEntry,
    PairIndex,
    PairQuality,
    PairsManifest,
    Provenance,
    ShardInfo,
    Teacher,
    TrainingPair,
    VideoMeta,
)

RECIPE_ID = "standard-89abcdef"
ROOTSIFT = Teacher("rootsift", "Apache-2.0")
_FUNNEL = Funnel(9, 9, 9, {}, {}, {}, {}, 9, 9, {}, {})


def video_id_of(number: int) -> str:
    return keys.file_video_id(hashlib.sha256(f"film {number}".encode()).hexdigest())


def finish(
    store: Store,
    number: int,
    *,
    shards: Sequence[int] = (3, 2),
    recipe_id: str = RECIPE_ID,
    teachers: tuple[Teacher, ...] = (ROOTSIFT,),
    licence: str = "CC BY 4.0",
) -> str:
    """Write what a finished run leaves of a video: as many shards as given, each of so many pairs; returns its id.

    The n-th pair of a video has a coverage of n tenths.
    """
    video_id = video_id_of(number)
    origin = Provenance(f"/films/{number}.mp4", licence, "site", uploader="someone", resolved=f"https://x.org/{number}")
    meta = VideoMeta(video_id, keys.video_source(video_id, "mp4"), "0" * 64, 1, origin)
    store.put(keys.video_meta(video_id), codecs.to_json(meta))
    entries: list[PairEntry] = []
    infos: list[ShardInfo] = []
    for shard, num_pairs in enumerate(shards):
        buffer = io.BytesIO()
        with ShardWriter(buffer) as writer:
            for _ in range(num_pairs):
                pair = _pair(video_id, len(entries), teachers)
                writer.add(pair, b"jpeg 0", b"jpeg 1")
                entries.append(_entry(pair, shard))
        data, key = buffer.getvalue(), keys.pairs_shard(video_id, recipe_id, shard)
        store.put(key, data)
        infos.append(ShardInfo(key, hashlib.sha256(data).hexdigest(), len(data), num_pairs))
    store.put(keys.pairs_index(video_id, recipe_id), codecs.to_json(PairIndex(video_id, recipe_id, entries)))
    manifest = PairsManifest(
        video_id=video_id,
        sampling_id="s0.2s-0123abcd",
        recipe_id=recipe_id,
        recipe={"name": recipe_id.partition("-")[0]},
        matcher_ids=["m-00112233"],
        num_pairs=len(entries),
        num_correspondences=4 * len(entries),
        shards=infos,
        funnel=_FUNNEL,
        rejected="" if entries else "static_camera",
        teachers=teachers,
    )
    store.put(keys.pairs_manifest(video_id, recipe_id), codecs.to_json(manifest))
    return video_id


def _pair(video_id: str, index: int, teachers: tuple[Teacher, ...]) -> TrainingPair:
    quality = PairQuality(4, 30, 1.0, 1, 0.0, 1.0, (index + 1) / 10, 20.0, 5.0, 0.2, 1)
    points = np.full((4, 4), index, np.float32)
    return TrainingPair(video_id, 10 * index, 10 * index + 30, 0.0, 1.0, points, np.eye(3), quality, teachers)


def _entry(pair: TrainingPair, shard: int) -> PairEntry:
    name = pair_name(pair.frame0, pair.frame1)
    return PairEntry(name, shard, pair.frame0, pair.frame1, pair.time0, pair.time1, 0, pair.quality)
