"""Short signatures of images that survive scaling, compression, and changes of brightness, contrast and colour.

A signature is 128 bits: signs of the 63 lowest frequencies of the picture (its cosine transform, as perceptual hashes
take it), and of its differences between neighbours in an 8 x 8 grid. A crop changes both, so that an image has one for
every window of a fixed list; one picture may be a crop of the other, or the other of it, and both ways are compared.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt

from gim.records import Float32Array, Int32Array, Uint8Array

Uint64Array = npt.NDArray[np.uint64]
MAX_DISTANCE = 26  # of 128 bits: measured, see docs/zeb.md
_MAX_FIRST = 14  # of the 64 bits that are looked at first
_SIDE = 128  # pixels that a picture is squeezed to before windows are cut
_TRANSFORM = 32
_BLOCK = 4096  # signatures compared at a time: the temporaries stay in the processor's cache
_ROWS = 16


def _window_list() -> tuple[tuple[float, float, float, float], ...]:
    """Left, top, right, bottom as shares: the whole first, crops by size and place, and bars above and below."""
    windows = [(0.0, 0.0, 1.0, 1.0)]
    for size in (0.9, 0.8):
        offsets = (0.0, (1 - size) / 2, 1 - size)
        windows += [(x, y, x + size, y + size) for y, x in product(offsets, offsets)]
    return (*windows, (0.0, 0.125, 1.0, 0.875), (0.125, 0.0, 0.875, 1.0))


WINDOWS = _window_list()


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """Two images that may show the same."""

    index0: int  # of the benchmark's images
    index1: int  # of the frames
    distance: int  # bits


def sign_image(grey: Uint8Array) -> Uint64Array:
    """Signatures of all windows of a picture.

    Args:
        grey: uint8 [H, W].

    Returns:
        uint64 [W, 2]: per window the frequencies' bits and the differences' bits; the whole picture first.
    """
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    cuts = np.rint(np.array(WINDOWS) * _SIDE).astype(np.int64)
    pieces = np.stack(
        [
            cv2.resize(small[top:bottom, left:right], (_TRANSFORM, _TRANSFORM), interpolation=cv2.INTER_AREA)
            for left, top, right, bottom in cuts
        ]
    ).astype(np.float32)
    waves = (_COSINES @ pieces @ _COSINES.T).reshape(len(pieces), -1)
    waves[:, 0] = 0  # the brightness of the whole
    grid = pieces.reshape(len(pieces), 8, _TRANSFORM // 8, 8, _TRANSFORM // 8).mean(axis=(2, 4))
    turned = np.roll(grid, -1, axis=2)
    turned[:, 1::2] = np.roll(grid, -1, axis=1)[:, 1::2]  # to the right on even rows, below on odd ones
    return np.stack([_packed(waves > 0), _packed((grid > turned).reshape(len(pieces), -1))], axis=1)


def is_flat(grey: Uint8Array) -> bool:
    """Whether a picture shows next to nothing: black, white or one colour, which all look alike."""
    small = cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA)
    return float(small.std()) < 4.0


def find_alike(
    signatures0: Uint64Array,
    signatures1: Uint64Array,
    executor: ThreadPoolExecutor,
    *,
    max_distance: int = MAX_DISTANCE,
) -> list[Likeness]:
    """Pairs of images of two sets whose signatures differ in few bits, each pair once, with its smallest distance.

    Args:
        signatures0: uint64 [N, W, 2] of the benchmark's images.
        signatures1: uint64 [M, W, 2] of frames.
        executor: that shares the frames out.
        max_distance: bits, inclusive.
    """
    whole0, whole1 = signatures0[:, 0], signatures1[:, 0]
    num_windows = signatures0.shape[1]
    tasks = [(signatures0[:, window], whole1) for window in range(num_windows)]
    tasks += [(whole0, signatures1[:, window]) for window in range(1, num_windows)]
    best: dict[tuple[int, int], int] = {}
    for found in executor.map(lambda task: list(_near(task[0], task[1], max_distance)), tasks):
        for index0, index1, distance in found:
            for pair in zip(index0.tolist(), index1.tolist(), distance.tolist(), strict=True):
                best[pair[:2]] = min(best.get(pair[:2], 128), pair[2])
    return [Likeness(*pair, distance) for pair, distance in sorted(best.items())]


def _near(bits0: Uint64Array, bits1: Uint64Array, max_distance: int) -> Iterator[tuple[Int32Array, ...]]:
    first0, second0 = np.ascontiguousarray(bits0.T)
    first1, second1 = np.ascontiguousarray(bits1.T)
    different, apart = np.empty((_ROWS, _BLOCK), np.uint64), np.empty((_ROWS, _BLOCK), np.uint8)
    for start0 in range(0, len(first0), _BLOCK):
        block = first0[start0 : start0 + _BLOCK]
        for start1 in range(0, len(first1), _ROWS):
            rows = first1[start1 : start1 + _ROWS, None]
            words, counts = different[: len(rows), : len(block)], apart[: len(rows), : len(block)]
            np.bitwise_xor(rows, block, out=words)
            np.bitwise_count(words, out=counts)
            if counts.min() > _MAX_FIRST:
                continue
            near1, near0 = np.nonzero(counts <= _MAX_FIRST)
            at0, at1 = near0 + start0, near1 + start1
            distance = counts[near1, near0].astype(np.int32) + np.bitwise_count(second0[at0] ^ second1[at1])
            kept = distance <= max_distance
            yield at0[kept].astype(np.int32), at1[kept].astype(np.int32), distance[kept]


def _cosines() -> Float32Array:
    """Rows of the cosine transform of 32 numbers, the 8 lowest frequencies: float32 [8, 32]."""
    frequency, place = np.arange(8)[:, None], np.arange(_TRANSFORM)
    return np.cos(np.pi * frequency * (place + 0.5) / _TRANSFORM).astype(np.float32)


_COSINES = _cosines()


def _packed(bits: npt.NDArray[np.bool_]) -> Uint64Array:
    """Rows of 64 bits [W, 64] as uint64 [W]."""
    return np.ascontiguousarray(np.packbits(bits, axis=1)).view(np.uint64).ravel()
