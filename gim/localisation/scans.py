"""InLoc's laser scans: where the pixels of a database image lie in its building.

`<image>.mat` holds `XYZcut` [H, W, 3], the place of every pixel in its scan, nan where the laser saw none;
`database/alignments/<floor>/transformations/<building>_trans_<scan>.txt` takes a scan into the building: the matrix in
its lines 8 to 11, after the refinement by GICP.
"""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from scipy.io import loadmat

from gim.errors import InvalidInput
from gim.localisation.hloc_files import read_lines
from gim.records import Float32Array, Float64Array

_VARIABLE = "XYZcut"
_MATRIX_LINES = slice(7, 11)


def read_scan(root: Path, name: str) -> Float64Array:
    """Places [H, W, 3] of a database image's pixels in its scan.

    Raises:
        InvalidInput: the scan is absent or not as expected.
    """
    path = _scan_file(root, name)
    try:
        found = loadmat(path, variable_names=[_VARIABLE])
    except Exception as error:  # scipy, zlib and struct each raise their own kinds on damaged bytes
        raise InvalidInput(f"{path}: not a readable MATLAB file of version 7 or before") from error
    scan = np.asarray(found.get(_VARIABLE, ()), np.float64)
    if scan.ndim != 3 or scan.shape[2] != 3 or min(scan.shape) < 1:
        raise InvalidInput(f"{path}: holds no {_VARIABLE} [H, W, 3]")
    return scan


def check_scans(root: Path, names: Iterable[str]) -> None:
    """Before hours of work, see that database images have their scans and the scans their places.

    Raises:
        InvalidInput: one is absent, or its place cannot be read.
    """
    for name in sorted(set(names)):
        if not _scan_file(root, name).is_file():
            raise InvalidInput(f"{_scan_file(root, name)}: no such scan; it belongs beside its image")
        scan_pose(root, name)


def _scan_file(root: Path, name: str) -> Path:
    return root / f"{name}.mat"


def scan_pose(root: Path, name: str) -> Float64Array:
    """Scan to building, [4, 4], of the scan that a database image `.../FLOOR/SCAN/BUILDING_cutout_...` is cut out of.

    Raises:
        InvalidInput: the name is not of that form, or the file is absent or holds no such matrix.
    """
    parts = PurePosixPath(name).parts
    if len(parts) < 3:
        raise InvalidInput(
            f"{name}: not a database image of InLoc; as in database/cutouts/DUC1/024/DUC_cutout_024_0_0.jpg"
        )
    floor, scan, image = parts[-3:]
    path = root / "database" / "alignments" / floor / "transformations" / f"{image[:3]}_trans_{scan}.txt"
    try:
        matrix = np.array([line.split() for line in read_lines(path)[_MATRIX_LINES]], np.float64)
    except ValueError as error:
        raise InvalidInput(f"{path}: lines 8 to 11 are not a matrix of numbers") from error
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise InvalidInput(f"{path}: lines 8 to 11 are not a matrix of 4 x 4 numbers")
    return matrix


def places_at(scan: Float64Array, keypoints: Float32Array) -> Float64Array:
    """Places [N, 3] in the scan of positions [N, 2]: bilinear, the nearest pixel's at the rim of a hole, nan in it."""
    height, width = scan.shape[:2]
    at = np.clip(np.asarray(keypoints, np.float64), 0, (width - 1, height - 1))
    low = np.minimum(np.floor(at), np.maximum((width - 2, height - 2), 0)).astype(np.int64)
    (column, row), (right, below) = low.T, np.minimum(low + 1, (width - 1, height - 1)).T
    x, y = (at - low).T[:, :, None]
    above = scan[row, column] * (1 - x) + scan[row, right] * x
    under = scan[below, column] * (1 - x) + scan[below, right] * x
    places = above * (1 - y) + under * y
    nearest: Any = np.rint(at).astype(np.int64).T
    return np.asarray(np.where(np.isnan(places), scan[nearest[1], nearest[0]], places))
