"""Randomness that is computed, not drawn one after another: the same on any machine, and any place of it at once."""

import hashlib

import numpy as np
import numpy.typing as npt

from gim.records import Float64Array

UInt64Array = npt.NDArray[np.uint64]

_ROUNDS = 4  # of a Feistel network: from here on its permutations are as good as random (Luby, Rackoff 1988)


def key_of(*parts: int | str) -> int:
    """A 64-bit number that other parts would not give."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest())


def mixed(values: UInt64Array) -> UInt64Array:
    """Each value scattered over 64 bits: the finaliser of SplitMix64 (Steele et al., OOPSLA 2014), one to one."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def uniform(values: UInt64Array) -> Float64Array:
    """A number in [0, 1) for each value."""
    return np.asarray((mixed(values) >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def generator_of(*parts: int | str) -> np.random.Generator:
    """A generator of its own for whatever the parts name."""
    return np.random.default_rng(key_of(*parts))


class Permutation:
    """One of the orders of `range(size)`, of which any place is known without the others, in no memory.

    A Feistel network over the next power of four, walked until it lands in the range (Black, Rogaway 2002).
    """

    def __init__(self, size: int, key: int) -> None:
        """Choose the order that belongs to `key`."""
        self._size = size
        self._half_bits = np.uint64(max((size - 1).bit_length() + 1, 2) // 2)
        self._half_mask = (np.uint64(1) << self._half_bits) - np.uint64(1)
        self._keys = mixed(np.uint64(key) + np.arange(_ROUNDS, dtype=np.uint64))

    def __call__(self, places: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """What stands at these places: [N] of `range(size)` -> int64 [N], likewise."""
        moved = self._scramble(np.asarray(places, np.uint64))
        while (is_beyond := moved >= self._size).any():
            moved[is_beyond] = self._scramble(moved[is_beyond])
        return moved.astype(np.int64)

    def _scramble(self, values: UInt64Array) -> UInt64Array:
        left, right = values >> self._half_bits, values & self._half_mask
        for key in self._keys:
            left, right = right, left ^ (mixed(right ^ key) & self._half_mask)
        return (left << self._half_bits) | right
