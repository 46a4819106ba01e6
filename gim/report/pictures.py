"""What a drawn pair shows: both frames as small JPEGs, a spread-out subset of correspondences, the geometry.

Read from the shards, since they are what a training run will see. Not responsible for which pairs are drawn.
"""

import base64
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from gim import codecs, keys, npy
from gim.errors import CorruptObject, KeyMissing
from gim.geometry.epipolar import symmetric_epipolar_distance_px
from gim.ports.store import Store
from gim.records import Float32Array, Float64Array, FrameManifest, Uint8Array
from gim.report.select import Selected, spread_subset

MAX_DRAWN = 300
_PICTURE_BUDGET_BYTES = 9 * 2**20  # of all JPEGs of a page; base64 adds a third
_ENCODINGS = ((640, 80), (640, 65), (512, 60), (400, 55), (320, 45))  # long side in pixels, JPEG quality


@dataclass(frozen=True, slots=True)
class PairPicture:
    """One pair, ready to be drawn."""

    selected: Selected
    images: tuple[Uint8Array, Uint8Array]  # RGB, long side at most 640
    sizes: tuple[tuple[int, int], tuple[int, int]]  # width and height that the correspondences refer to
    correspondences: Float32Array  # [M, 4] of the subset drawn
    residuals_px: Float64Array  # [M]
    F01: Float64Array


def read_pictures(store: Store, video_id: str, recipe_id: str, chosen: Sequence[Selected]) -> Iterator[PairPicture]:
    """Read the chosen pairs of one video, one shard at a time, in the order of the shards.

    Raises:
        CorruptObject: a shard lacks a pair that the index promises, or holds it damaged.
        KeyMissing: a shard is gone.
    """
    by_shard: dict[int, dict[str, Selected]] = {}
    for item in chosen:
        by_shard.setdefault(item.entry.shard, {})[item.entry.name] = item
    for shard, wanted in sorted(by_shard.items()):
        key = keys.pairs_shard(video_id, recipe_id, shard)
        members = _read_members(store, key, wanted)
        for name, item in sorted(wanted.items()):
            yield _make_picture(item, members.get(name, {}), f"{key}: {name}")


def _read_members(store: Store, key: str, names: Iterable[str]) -> dict[str, dict[str, bytes]]:
    """Suffix to bytes, for each pair named."""
    found: dict[str, dict[str, bytes]] = {name: {} for name in names}
    try:
        with store.fetch(key) as path, tarfile.open(path, "r:") as tar:
            for member in tar:
                name, _, suffix = member.name.partition(".")
                if name in found and (file := tar.extractfile(member)) is not None:
                    found[name][suffix] = file.read()
    except tarfile.TarError as error:
        raise CorruptObject(f"{key}: not a readable shard ({error})") from error
    return found


def _make_picture(item: Selected, members: dict[str, bytes], where: str) -> PairPicture:
    try:
        images = (codecs.decode_image(members["0.jpg"]), codecs.decode_image(members["1.jpg"]))
        points = npy.array_of(members["correspondences.npy"])
        F01 = np.asarray(json.loads(members["json"])["F01"], np.float64).reshape(3, 3)
    except KeyError as error:
        raise CorruptObject(f"{where} lacks {error}") from error
    except ValueError as error:
        raise CorruptObject(f"{where} is damaged ({error})") from error
    drawn = points[spread_subset(points, MAX_DRAWN)]
    residuals_px = symmetric_epipolar_distance_px(drawn, F01)
    sizes = tuple((image.shape[1], image.shape[0]) for image in images)
    small = tuple(shrink(image, _ENCODINGS[0][0]) for image in images)
    return PairPicture(item, (small[0], small[1]), (sizes[0], sizes[1]), drawn, residuals_px, F01)


def shrink(image: Uint8Array, max_side: int) -> Uint8Array:
    """The image with a long side of at most `max_side` pixels."""
    scale = max_side / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def encode_within_budget(images: Sequence[Uint8Array], budget_bytes: int = _PICTURE_BUDGET_BYTES) -> list[str]:
    """Data URLs of all images, in the best of a few sizes and qualities whose sum keeps the budget."""
    jpegs: list[bytes] = []
    for max_side, quality in _ENCODINGS:
        jpegs = [_jpeg(shrink(image, max_side), quality) for image in images]
        if sum(map(len, jpegs)) <= budget_bytes:
            break
    return [data_url(jpeg) for jpeg in jpegs]


def data_url(jpeg: bytes) -> str:
    """A JPEG that a page can hold."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def film_strip(store: Store, frames: FrameManifest, count: int, height: int = 72) -> list[str]:
    """Data URLs of up to `count` frames evenly over the video; fewer when the store no longer has them."""
    total = len(frames.frame_indices)
    count = min(count, total)
    urls = []
    for k in range(count):
        index = frames.frame_indices[(2 * k + 1) * total // (2 * count)]
        try:
            image = codecs.decode_image(store.get(keys.frame_image(frames.video_id, frames.sampling_id, index)))
        except KeyMissing:
            return []  # frames are deletable once pairs are made
        urls.append(data_url(_jpeg(shrink(image, round(height * max(image.shape) / image.shape[0])), 70)))
    return urls


def _jpeg(image: Uint8Array, quality: int) -> bytes:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise CorruptObject(f"cannot encode an image of shape {image.shape} as JPEG")
    return data.tobytes()
