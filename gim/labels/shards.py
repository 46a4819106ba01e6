"""Training pairs as WebDataset shards: self-contained tars, equal pairs giving equal bytes.

A pair is five members with one stem, `<frame0:08d>_<frame1:08d>`: `.0.jpg` and `.1.jpg` (the stored frames, untouched),
`.correspondences.npy` (float32 [N, 4]), and `.json` (everything else of the `TrainingPair`).
"""

import dataclasses
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gim import npy
from gim.errors import CorruptObject
from gim.records import PairQuality, Teacher, TeacherWeights, TrainingPair


def pair_name(frame0: int, frame1: int) -> str:
    """Stem of a pair's members."""
    return f"{frame0:08d}_{frame1:08d}"


class ShardWriter:
    """Appends pairs to one tar, a path or an open file; use as a context manager, or `close` it."""

    def __init__(self, target: Path | BinaryIO) -> None:
        opened = {"fileobj": target} if isinstance(target, io.IOBase) else {"name": target}
        self._tar = tarfile.open(mode="w", format=tarfile.USTAR_FORMAT, **opened)  # noqa: SIM115 - `close` ends it
        self.num_pairs = 0

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish the file."""
        self._tar.close()

    def add(self, pair: TrainingPair, jpeg0: bytes, jpeg1: bytes, *, folder: str = "") -> None:
        """Write one pair; `jpeg0` and `jpeg1` are its frames as stored, `folder` (with its slash) precedes its stem."""
        name = folder + pair_name(pair.frame0, pair.frame1)
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(pair.correspondences, np.float32), allow_pickle=False)
        facts = {item.name: getattr(pair, item.name) for item in dataclasses.fields(pair)}
        del facts["correspondences"]
        facts |= {"F01": pair.F01.tolist(), "quality": dataclasses.asdict(pair.quality)}
        facts["teachers"] = [dataclasses.asdict(teacher) for teacher in pair.teachers]
        self._member(f"{name}.0.jpg", jpeg0)
        self._member(f"{name}.1.jpg", jpeg1)
        self._member(f"{name}.correspondences.npy", buffer.getvalue())
        self._member(f"{name}.json", json.dumps(facts, sort_keys=True, allow_nan=False).encode())
        self.num_pairs += 1

    def _member(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)  # owner, group and time stay zero
        info.size = len(data)
        info.mode = 0o644
        self._tar.addfile(info, io.BytesIO(data))


def read_shard(path: Path) -> Iterator[tuple[TrainingPair, bytes, bytes]]:
    """The pairs of a shard in order, each with its two JPEGs.

    Raises:
        CorruptObject: not a shard, or a pair lacks a member.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            members: dict[str, bytes] = {}
            for info in tar:
                stem, _, kind = info.name.partition(".")
                content = tar.extractfile(info)
                members[kind] = content.read() if content else b""
                if kind == "json":
                    yield _pair(members), members["0.jpg"], members["1.jpg"]
                    members = {}
            if path.stat().st_size < tar.offset + 2 * tarfile.BLOCKSIZE:  # tarfile takes a cut for the end
                raise tarfile.ReadError("cut short")
    except (tarfile.TarError, KeyError, ValueError, TypeError) as error:
        raise CorruptObject(f"{path.name}: not a shard of training pairs ({error})") from error
    if members:
        raise CorruptObject(f"{path.name}: pair {stem} is incomplete")


def _pair(members: dict[str, bytes]) -> TrainingPair:
    facts: dict[str, Any] = json.loads(members["json"])
    facts["quality"] = PairQuality(**facts["quality"])
    facts["F01"] = np.asarray(facts["F01"], np.float64)
    facts["teachers"] = tuple(_teacher(**teacher) for teacher in facts.get("teachers", ()))
    correspondences = npy.array_of(members["correspondences.npy"])
    return TrainingPair(correspondences=correspondences, **facts)


def _teacher(weights: list[dict[str, str]], segmenter_weights: Sequence[dict[str, str]] = (), **names: str) -> Teacher:
    learned, masking = (tuple(TeacherWeights(**item) for item in files) for files in (weights, segmenter_weights))
    return Teacher(**names, weights=learned, segmenter_weights=masking)
