"""What every layout of posed images is read into: scenes, each a numbered list of pairs that are read on use."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from gim.errors import CorruptObject
from gim.records import Float64Array, Int64Array
from gim.training.data.posed.options import PosedOptions
from gim.training.samples import Sample


@dataclass(frozen=True, slots=True)
class SceneFiles:
    """A scene, and the files that say which pairs it has. Nothing of it was read."""

    name: str
    folder: Path
    index: tuple[Path, ...]


class PosedScene(Protocol):
    """A scene whose index was read. Its methods are called from many threads."""

    def __len__(self) -> int:
        """How many pairs it has, in a fixed order."""

    def read(self, index: int) -> Sample:
        """One pair, decoded, not augmented; its `part` is empty.

        Raises:
            SampleSkipped: nothing is known of it that could be trained on.
            CorruptObject: a file is absent or damaged; the message names it.
        """


def choose_pairs(overlaps: Float64Array, options: PosedOptions, name: str) -> Int64Array:
    """Which pairs of a scene are used: those of the right overlap and, of too many, as many of every bin of overlap.

    Args:
        overlaps: float64 [N]; nan: not known, and of any overlap.
        options: of the set.
        name: of the scene: the same pairs are drawn of it on every machine.

    Returns:
        int64 [K] places, ascending, K <= options.pairs.
    """
    wanted = ~((overlaps < options.min_overlap) | (overlaps > options.max_overlap))
    there = np.flatnonzero(wanted)
    if len(there) <= options.pairs:
        return there
    digest = hashlib.sha256(name.encode()).digest()
    shuffled = np.random.default_rng(np.frombuffer(digest, np.uint32)).permutation(there)
    bins = np.nan_to_num(overlaps[shuffled] // options.overlap_bin, nan=-1.0)
    order = np.argsort(bins, kind="stable")
    _, starts, counts = np.unique(bins[order], return_index=True, return_counts=True)
    rank = np.empty(len(order), np.int64)  # of a pair within its bin
    rank[order] = np.arange(len(order)) - np.repeat(starts, counts)
    # By rank first, so that every bin gives its first before any gives its second.
    return np.sort(shuffled[np.argsort(rank, kind="stable")[: options.pairs]])


def index_sha256(files: Sequence[Path]) -> str:
    """SHA-256 of a scene's index: of the file, or of the names and hashes of several.

    Raises:
        CorruptObject: one cannot be read.
    """
    hashes = [_file_sha256(path) for path in files]
    if len(hashes) == 1:
        return hashes[0]
    lines = [f"{digest}  {path.name}\n" for digest, path in zip(hashes, files, strict=True)]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _file_sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CorruptObject(f"{path}: cannot be read ({error.strerror})") from error
