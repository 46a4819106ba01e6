"""The shards of a dataset: fetched, checked against its manifest, and read pair by pair without decoding the rest."""

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gim import npy
from gim.datasets.manifest import DatasetManifest, DatasetShard, Split
from gim.errors import CorruptObject
from gim.export.selection import Condition, parse_condition
from gim.ports.store import Store
from gim.records import Float32Array, PairQuality

_JPEG0, _JPEG1, _LABELS, _FACTS = _MEMBERS = ("0.jpg", "1.jpg", "correspondences.npy", "json")


@dataclass(frozen=True, slots=True)
class RawPair:
    """What a shard has of one pair, not decoded."""

    name: str  # "<video>/<frame0>_<frame1>"
    frame0: str  # "<video>/<frame0>": the same name is the same picture
    frame1: str
    jpeg0: bytes
    jpeg1: bytes
    labels: bytes

    def correspondences(self) -> Float32Array:
        """The labels: float32 [N, 4], pixels of the stored frames.

        Raises:
            ValueError: they are something else.
        """
        points = npy.array_of(self.labels)
        if points.dtype != np.float32 or points.ndim != 2 or points.shape[1] != 4:
            raise ValueError(f"labels of {points.dtype} {points.shape}")
        return points


@dataclass(frozen=True, slots=True)
class OpenShard:
    """A shard on a local disk whose pairs were found; only the file's name is held."""

    key: str
    video_id: str
    path: Path
    names: Sequence[str]  # of the wanted pairs, in the order of the tar
    members: Sequence[dict[str, tuple[int, int]]]  # of each: offset and size by kind

    def pair(self, index: int) -> RawPair:
        """One of the wanted pairs, by a single read.

        Raises:
            CorruptObject: the file is shorter than it was.
        """
        members, name = self.members[index], self.names[index]
        begin = min(offset for offset, _ in members.values())
        end = max(offset + size for offset, size in members.values())
        with self.path.open("rb", buffering=0) as file:  # a member's descriptor each would run into the system's limit
            data = os.pread(file.fileno(), end - begin, begin)
        if len(data) < end - begin:
            raise CorruptObject(f"{self.key}: pair {name} is cut off")
        kinds = {kind: data[offset - begin : offset - begin + size] for kind, (offset, size) in members.items()}
        frame0, _, frame1 = name.partition("_")
        return RawPair(
            name=f"{self.video_id}/{name}",
            frame0=f"{self.video_id}/{frame0}",
            frame1=f"{self.video_id}/{frame1}",
            jpeg0=kinds[_JPEG0],
            jpeg1=kinds[_JPEG1],
            labels=kinds[_LABELS],
        )


class VideoShards:
    """The shards of one split of a dataset, in the manifest's order."""

    def __init__(self, store: Store, manifest: DatasetManifest, split: Split, *, verify: bool = True) -> None:
        """List them; nothing is read.

        Args:
            store: that has them.
            manifest: of the dataset.
            split: the videos to read.
            verify: whether a shard's hash is compared when it is fetched; its size always is.
        """
        self._store, self._verify = store, verify
        self._conditions = [parse_condition(text) for text in manifest.where]
        videos = [video for video in manifest.videos if video.split == split]
        self._shards = [(video.video_id, shard) for video in videos for shard in video.shards]
        self.sizes = [shard.num_pairs for _, shard in self._shards]

    def identity(self, number: int) -> str:
        """The content of a shard, and which of its pairs are taken."""
        return " ".join([self._shards[number][1].sha256, *map(repr, self._conditions)])

    @contextmanager
    def open(self, number: int) -> Iterator[OpenShard]:
        """Fetch a shard, check it, and find its pairs.

        Raises:
            CorruptObject: it is not what the manifest lists; the message names its key.
            KeyMissing, Unavailable: as of the store.
        """
        video_id, shard = self._shards[number]
        with self._store.fetch(shard.key) as path:
            self._check(shard, path)
            try:
                found = _pairs_of(path, self._conditions)
            except (tarfile.TarError, KeyError, ValueError, TypeError) as error:
                raise CorruptObject(f"{shard.key}: not a shard of training pairs ({error})") from error
            if len(found) != shard.num_pairs:
                raise CorruptObject(
                    f"{shard.key}: {len(found)} pairs belong to the dataset, its manifest says {shard.num_pairs}"
                )
            yield OpenShard(shard.key, video_id, path, list(found), list(found.values()))

    def _check(self, shard: DatasetShard, path: Path) -> None:
        num_bytes = path.stat().st_size
        if num_bytes != shard.num_bytes:
            raise CorruptObject(f"{shard.key}: {num_bytes} bytes, the dataset's manifest says {shard.num_bytes}")
        if self._verify:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != shard.sha256:
                    raise CorruptObject(f"{shard.key} has changed: its SHA-256 is not the dataset's manifest's")


def _pairs_of(path: Path, conditions: Sequence[Condition]) -> dict[str, dict[str, tuple[int, int]]]:
    """The members of every pair that meets the conditions, by its name."""
    pairs: dict[str, dict[str, tuple[int, int]]] = {}
    with tarfile.open(path, "r:") as tar:
        for info in tar:
            stem, _, kind = info.name.partition(".")
            pairs.setdefault(stem, {})[kind] = (info.offset_data, info.size)
        if path.stat().st_size < tar.offset + 2 * tarfile.BLOCKSIZE:  # tarfile takes a cut for the end
            raise tarfile.ReadError("cut short")
    for stem, members in pairs.items():
        if set(members) != set(_MEMBERS):
            raise ValueError(f"pair {stem} is incomplete")
    if not conditions:
        return pairs
    with path.open("rb") as file:
        qualities = {stem: _quality(file.fileno(), *members[_FACTS]) for stem, members in pairs.items()}
    return {stem: pairs[stem] for stem, quality in qualities.items() if all(item.holds(quality) for item in conditions)}


def _quality(file: int, offset: int, size: int) -> PairQuality:
    return PairQuality(**json.loads(os.pread(file, size, offset))["quality"])
