"""Lists of posed pairs as SuperGlue, hloc and glue-factory write them, `pairs_calibrated.txt`. Reads no image.

One pair per line, divided by blanks: `image0 image1 K0(9) K1(9) pose`, matrices row by row, where the pose maps points
of camera 0 into camera 1 and is either 16 numbers, T [4, 4], or 12: R (9), then t (3). Two quarter turns between names
and intrinsics, which SuperGlue has, must be zero: images are matched as they are stored.
"""

from pathlib import Path

import numpy as np

from gim.benchmarks.posed import PosedPair, checked_cameras
from gim.errors import InvalidInput
from gim.records import Float64Array

_WITH_TURNS = 38
_NUM_WORDS = (32, 36, _WITH_TURNS)  # of a line


def read_calibrated_pairs(path: Path, folder: str = "") -> list[PosedPair]:
    """The pairs of a list, in order.

    Args:
        path: of the list.
        folder: put before the names of images.

    Raises:
        InvalidInput: unreadable, without a pair, or malformed; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot read the pairs ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not a text of pairs") from error
    pairs = [
        _read_pair(line, folder, f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not pairs:
        raise InvalidInput(f"{path}: holds no pairs")
    return pairs


def _read_pair(line: str, folder: str, where: str) -> PosedPair:
    words = line.split()
    if len(words) not in _NUM_WORDS:
        raise InvalidInput(f"{where}: expected {', '.join(map(str, _NUM_WORDS))} words, got {len(words)}")
    try:
        numbers = np.array(words[2:], np.float64)
    except ValueError as error:
        raise InvalidInput(f"{where}: {error}") from error
    if len(words) == _WITH_TURNS:
        if numbers[:2].any():
            raise InvalidInput(f"{where}: images that are to be turned are not read; turn the files and their cameras")
        numbers = numbers[2:]
    K0, K1, T_0to1 = checked_cameras(np.concatenate([numbers[:18], _pose_numbers(numbers[18:])]), where)
    return PosedPair(f"{folder}{words[0]}", f"{folder}{words[1]}", K0, K1, T_0to1)


def _pose_numbers(numbers: Float64Array) -> Float64Array:
    """The 16 numbers of T of either form."""
    if len(numbers) == 16:
        return numbers
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = numbers[:9].reshape(3, 3), numbers[9:]
    return T.ravel()
