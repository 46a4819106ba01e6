"""Small datasets of real JPEGs whose colours say where a pixel was. Not a test."""

import hashlib
import io
from collections.abc import Sequence

import numpy as np

from gim import codecs, keys
from gim.datasets.manifest import DatasetManifest, DatasetShard, DatasetVideo
from gim.export.selection import parse_condition
from gim.labels.shards import ShardWriter
from gim.ports.store import Store
from gim.records import PairQuality, TrainingPair, Uint8Array
from tests.finished_pairs import RECIPE_ID, ROOTSIFT, video_id_of

SIZE = (96, 64)
SHIFT = (6.0, -4.0)  # of image 1 against image 0


def ramp(size: tuple[int, int], shift: tuple[float, float] = (0.0, 0.0)) -> Uint8Array:
    """An image [H, W, 3] whose red and green rise by 2 a pixel to the right and down, from a place on."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    colours = np.stack([2 * (x - shift[0]), 2 * (y - shift[1]), np.full(x.shape, 40)], axis=2) + 20
    return np.clip(colours, 0, 255).astype(np.uint8)


def write_film(
    store: Store,
    number: int = 0,
    *,
    shards: Sequence[int] = (3, 2),
    size: tuple[int, int] = SIZE,
    num_labels: int = 40,
    outside: int = 0,
    jpeg: bytes = b"",
    where: tuple[str, ...] = (),
) -> DatasetVideo:
    """Shards of a video; pair n joins frames 2n and 2n + 1, has a coverage of (n + 1) / 10, and image 1 lies shifted.

    Args:
        store: to write to.
        number: of the film.
        shards: pairs of each.
        size: of the frames, (width, height).
        num_labels: of each pair, true ones.
        outside: labels beyond the right edge of image 1, one pixel outside image 0's top and nan in turn, of each pair.
        jpeg: instead of image 1 of each pair.
        where: the conditions of the dataset.
    """
    rng = np.random.default_rng(number)
    conditions = [parse_condition(text) for text in where]
    video_id, first, listed = video_id_of(number), 0, []
    jpegs = codecs.encode_jpeg(ramp(size)), jpeg or codecs.encode_jpeg(ramp(size, SHIFT))
    for shard, num_pairs in enumerate(shards):
        buffer = io.BytesIO()
        num_wanted = 0
        with ShardWriter(buffer) as writer:
            for place in range(first, first + num_pairs):
                quality = PairQuality(4, 30, 1.0, 1, 0.0, 1.0, (place + 1) / 10, 20.0, 5.0, 0.2, 1)
                x0 = rng.uniform((8, 8), (size[0] - 10, size[1] - 10), (num_labels, 2))
                beyond = [[20, 20, size[0] - 0.4, 20], [20, -0.6, 20, 20], [np.nan, 20, 20, 20]] * outside
                points = np.vstack([np.hstack([x0, x0 + SHIFT]), np.reshape(beyond[:outside], (-1, 4))])
                pair = TrainingPair(
                    video_id,
                    2 * place,
                    2 * place + 1,
                    0.0,
                    1.0,
                    points.astype(np.float32),
                    np.eye(3),
                    quality,
                    (ROOTSIFT,),
                )
                writer.add(pair, *jpegs)
                num_wanted += all(item.holds(quality) for item in conditions)
        first += num_pairs
        data, key = buffer.getvalue(), keys.pairs_shard(video_id, RECIPE_ID, shard)
        store.put(key, data)
        listed.append(DatasetShard(key, hashlib.sha256(data).hexdigest(), len(data), num_wanted, num_pairs))
    listed = [shard for shard in listed if shard.num_pairs]
    total = sum(shard.num_pairs for shard in listed)
    return DatasetVideo(video_id, RECIPE_ID, "train", "0" * 64, "CC0", "user", "", "", total, listed)


def dataset_of(*videos: DatasetVideo, where: tuple[str, ...] = ()) -> DatasetManifest:
    """A manifest of these videos."""
    total = sum(video.num_pairs for video in videos)
    return DatasetManifest(
        "films-00000000", "films", where, False, 0.0, 0, total, 0, [RECIPE_ID], (ROOTSIFT,), list(videos), []
    )
