"""Which pairs a benchmark takes: evenly over bins of overlap, by a seed, the same on every machine."""

import itertools
import zlib
from dataclasses import dataclass

import numpy as np

from gim.errors import InvalidInput
from gim.records import BoolArray, Float64Array, Int64Array

Candidates = list[tuple[int, int, float, float]]  # image 0, image 1, overlap0, overlap1


@dataclass(frozen=True, slots=True)
class DrawSettings:
    """How pairs are drawn. A pair's bin is that of the smaller of its two overlaps."""

    pairs_per_scene: int = 500  # at most
    bins: int = 10  # of equal width, from 0 to 1
    min_overlap: float = 0.1
    max_overlap: float = 1.0
    seed: int = 0
    max_candidates: int = 50_000  # pairs of a scene whose overlap is computed from depth

    def __post_init__(self) -> None:
        if self.pairs_per_scene < 1 or self.bins < 1 or self.max_candidates < 1:
            raise InvalidInput("a benchmark needs at least one pair per scene, one bin and one candidate")
        if not 0 <= self.min_overlap < self.max_overlap <= 1:
            raise InvalidInput(f"overlap from {self.min_overlap:g} to {self.max_overlap:g}: give 0 <= min < max <= 1")


@dataclass(frozen=True, slots=True)
class BinCount:
    """What one bin of overlap had and gave."""

    low: float
    high: float
    num_candidates: int
    num_asked: int
    num_drawn: int


def candidate_pairs(num_images: int, settings: DrawSettings, scene: str) -> Int64Array:
    """Pairs (i, j), i < j, whose overlap is worth computing, int64 [P, 2], ascending.

    All of them, or a draw: half of it near in the source's order, where films have their overlap, half anywhere.
    """
    first, second = np.triu_indices(num_images, 1)
    if len(first) > settings.max_candidates:
        rng = _generator(settings, scene, "candidates")
        near = np.argsort(rng.random(len(first)) * (second - first), kind="stable")
        anywhere = rng.permutation(len(first))
        half = settings.max_candidates // 2
        taken = np.union1d(near[:half], anywhere[: settings.max_candidates - half])
        first, second = first[taken], second[taken]
    return np.column_stack([first, second]).astype(np.int64)


def draw_pairs(candidates: Candidates, settings: DrawSettings, scene: str) -> tuple[Candidates, list[BinCount]]:
    """The pairs of a scene, in the order of the candidates, and what every bin gave.

    Every bin is asked for as many; what one lacks is not taken from another, which would make the draw uneven.
    """
    smaller = np.array([min(overlap0, overlap1) for _, _, overlap0, overlap1 in candidates], np.float64)
    bins = [edges for edges in _edges(settings) if edges[1] > settings.min_overlap and edges[0] < settings.max_overlap]
    rng = _generator(settings, scene, "pairs")
    members = [np.flatnonzero(_in_bin(smaller, low, high, settings)) for low, high in bins]
    drawn: list[int] = []
    counts = []
    for (low, high), there, asked in zip(bins, members, _asked_of(members, settings, rng), strict=True):
        taken = rng.permutation(there)[:asked]
        drawn += taken.tolist()
        counts.append(BinCount(low, high, len(there), asked, len(taken)))
    return [candidates[index] for index in sorted(drawn)], counts


def _asked_of(members: list[Int64Array], settings: DrawSettings, rng: np.random.Generator) -> list[int]:
    """As many from every bin; what is left over by one each, from bins drawn by the seed that have one more to give."""
    each, left = divmod(settings.pairs_per_scene, len(members))
    order = sorted(rng.permutation(len(members)).tolist(), key=lambda place: len(members[place]) <= each)
    more = set(order[:left])
    return [each + (place in more) for place in range(len(members))]


def _edges(settings: DrawSettings) -> list[tuple[float, float]]:
    edges = [round(index / settings.bins, 6) for index in range(settings.bins + 1)]
    return list(itertools.pairwise(edges))


def _in_bin(overlaps: Float64Array, low: float, high: float, settings: DrawSettings) -> BoolArray:
    is_in = (overlaps >= max(low, settings.min_overlap)) & (overlaps <= settings.max_overlap) & (overlaps > 0)
    return np.asarray(is_in & ((overlaps < high) | (high == 1)), np.bool_)


def _generator(settings: DrawSettings, scene: str, purpose: str) -> np.random.Generator:
    # Of its own for every scene: another scene in the source changes nothing in this one.
    return np.random.default_rng([settings.seed, zlib.crc32(f"{scene} {purpose}".encode())])
