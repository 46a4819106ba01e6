"""Pairs of images with known cameras, as text: one line per pair. Reads no image and scores nothing.

After a comment line (`#`), 37 fields divided by blanks: `image0 image1 K0(9) K1(9) T_0to1(16) overlap`, matrices row by
row. Images are paths relative to the file; `overlap` is `nan` where it is not known.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gim.errors import InvalidInput
from gim.records import Float64Array

_NUM_FIELDS = 37
_ORTHONORMAL = 1e-2  # how far a rotation's rows may be from it: poses are printed with few digits


@dataclass(frozen=True, slots=True, eq=False)
class PosedPair:
    """Two images and what is true of their cameras."""

    image0: str  # path, relative to the file of pairs
    image1: str
    K0: Float64Array  # [3, 3] pixels
    K1: Float64Array
    T_0to1: Float64Array  # [4, 4] maps points of camera 0 into camera 1
    overlap: float | None = None  # covisible share, 0 to 1; None: not known


def read_posed_pairs(path: Path) -> list[PosedPair]:
    """The pairs of a file, in order.

    Raises:
        InvalidInput: unreadable, without a pair, or malformed; the message names the line.
    """
    try:
        return parse_posed_pairs(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise InvalidInput(f"{path}: cannot read the pairs ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not a text of pairs") from error


def parse_posed_pairs(text: str, name: str) -> list[PosedPair]:
    """The pairs of a text; `name` is what messages call it.

    Raises:
        InvalidInput: without a pair, or malformed; the message names the line.
    """
    pairs: list[PosedPair] = []
    first_line: dict[tuple[str, str], int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{name}, line {number}"
        pair = _parse_pair(line, where)
        earlier = first_line.setdefault((pair.image0, pair.image1), number)
        if earlier != number:
            raise InvalidInput(f"{where}: the pair of line {earlier} again, {pair.image0} and {pair.image1}")
        pairs.append(pair)
    if not pairs:
        raise InvalidInput(f"{name}: holds no pairs")
    return pairs


def _parse_pair(line: str, where: str) -> PosedPair:
    words = line.split()
    if len(words) != _NUM_FIELDS:
        raise InvalidInput(f"{where}: expected {_NUM_FIELDS} fields, got {len(words)}")
    try:
        numbers = np.array(words[2:], np.float64)
    except ValueError as error:
        raise InvalidInput(f"{where}: {error}") from error
    K0, K1, T_0to1 = checked_cameras(numbers[:-1], where)
    return PosedPair(words[0], words[1], K0, K1, T_0to1, None if np.isnan(numbers[-1]) else float(numbers[-1]))


def checked_cameras(numbers: Float64Array, where: str) -> tuple[Float64Array, Float64Array, Float64Array]:
    """K0, K1 [3, 3] and T_0to1 [4, 4] from their 34 numbers, row by row; `where` is what messages call the place.

    Raises:
        InvalidInput: not finite, intrinsics that no pinhole camera has, or no rotation and translation.
    """
    if not np.isfinite(numbers).all():
        raise InvalidInput(f"{where}: a matrix holds a number that is not finite")
    K0, K1, T_0to1 = numbers[:9].reshape(3, 3), numbers[9:18].reshape(3, 3), numbers[18:].reshape(4, 4)
    for K in (K0, K1):
        if min(K[0, 0], K[1, 1]) <= 0 or K[1, 0] or K[2].tolist() != [0, 0, 1]:
            raise InvalidInput(f"{where}: intrinsics that no pinhole camera has")
    R = T_0to1[:3, :3]
    if np.abs(R @ R.T - np.eye(3)).max() > _ORTHONORMAL or np.linalg.det(R) < 0 or T_0to1[3].tolist() != [0, 0, 0, 1]:
        raise InvalidInput(f"{where}: T_0to1 is no rotation and translation")
    return K0, K1, T_0to1
