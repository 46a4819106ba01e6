"""EXIF's turns by quarters, both ways: matchers see a photograph upright, COLMAP reads its pixels as they are stored.

The model has to fit the files as COLMAP's other programs read them, so positions are turned back before they are
written. Mirrored photographs (orientations 2, 4, 5, 7) have no such way: a mirrored camera is none.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from gim.records import Float64Array

_QUARTERS = {1: 0, 3: 2, 6: 3, 8: 1}  # orientation -> quarter turns to the left that show it upright
TURNS = frozenset(_QUARTERS)
Pixels = npt.NDArray[Any]


def turn_upright(image: Pixels, orientation: int) -> Pixels:
    """A stored image [H, W, ...] as it is to be seen."""
    return np.ascontiguousarray(np.rot90(image, _QUARTERS[orientation]))


def turn_back(image: Pixels, orientation: int) -> Pixels:
    """The stored image of one that is upright."""
    return np.ascontiguousarray(np.rot90(image, -_QUARTERS[orientation]))


def to_stored(keypoints: npt.ArrayLike, orientation: int, stored_size: tuple[int, int]) -> Float64Array:
    """Positions in the stored image of positions in the upright one; both count from the centre of the first pixel.

    Args:
        keypoints: [N, 2] pixels of the upright image.
        orientation: of EXIF, one of `TURNS`.
        stored_size: (width, height) of the stored image.

    Returns:
        float64 [N, 2] pixels.
    """
    places = np.asarray(keypoints, np.float64)
    x, y = places[:, 0], places[:, 1]
    right, bottom = stored_size[0] - 1, stored_size[1] - 1
    turned = {1: (x, y), 3: (right - x, bottom - y), 6: (y, bottom - x), 8: (right - y, x)}[orientation]
    return np.column_stack(turned)


def down_direction(orientation: int) -> Float64Array:
    """Which way [3] of the stored camera's axes (x right, y down, z forward) is down for whoever sees it upright."""
    return np.array({1: (0, 1, 0), 3: (0, -1, 0), 6: (1, 0, 0), 8: (-1, 0, 0)}[orientation], np.float64)
