"""MegaDepth (Li and Snavely, CVPR 2018) as it is trained on: an `.npz` of every scene, images, depth as HDF5.

An `.npz` holds `image_paths`, `depth_paths`, `intrinsics` [3, 3] and `poses` [4, 4] (world to camera) by image, absent
images None, and says which pairs there are in one of three ways:

- `overlap_matrix` [N, N] (D2-Net's preprocessing, GIM): row i, column j is the share of image i that j sees;
- `pair_infos`, rows `((i, j), overlap, ...)` (LoFTR's `scene_info`, of which a scene has several files);
- `pairs` [P, 2] and `overlaps` [P] (DKM's and RoMa's).

Intrinsics are COLMAP's, whose principal point is counted from the corner of the top-left pixel.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gim.benchmarks.array_files import read_arrays
from gim.benchmarks.posed import checked_cameras
from gim.errors import CorruptObject, InvalidInput
from gim.records import Float64Array, Int64Array
from gim.training.data.posed.options import PosedOptions
from gim.training.data.posed.scene import SceneFiles, choose_pairs
from gim.training.data.posed.views import ViewFiles, read_posed_pair
from gim.training.samples import Sample

_LISTS = ("output", "scene_info", "index/scene_info_0.1_0.7", "prep_scene_info", "")
_IMAGE_ARRAYS = ("image_paths", "depth_paths", "intrinsics", "poses")
_PAIR_ARRAYS = (("overlap_matrix",), ("pair_infos",), ("pairs", "overlaps"))
_AUTHORS_DISK = "phoenix/S6/zl548/"  # where depth lay when it was published, and in its archive; some take it away
_FROM_CORNER = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]], np.float64)


def list_megadepth(root: Path, options: PosedOptions) -> list[SceneFiles]:
    """The scenes of a folder, by name.

    Raises:
        InvalidInput: there is no list of a scene.
    """
    places = [root / options.lists] if options.lists else [root / place for place in _LISTS]
    for place in places:
        if files := sorted(place.glob("*.npz")):
            return [SceneFiles(path.stem, root, (path,)) for path in files]
    raise InvalidInput(f"{root}: no .npz file of a scene in {' or '.join(map(str, places))}; option lists says where")


class MegaDepthScene:
    """One scene."""

    def __init__(self, files: SceneFiles, options: PosedOptions) -> None:
        (path,) = files.index
        names = next((names for names in _PAIR_ARRAYS if set(names) <= _array_names(path)), _PAIR_ARRAYS[0])
        info = read_arrays(path, (*_IMAGE_ARRAYS, *names), "scene of MegaDepth")
        counts = {len(info[name]) for name in _IMAGE_ARRAYS}
        if len(counts) != 1:
            raise CorruptObject(f"{path}: {', '.join(_IMAGE_ARRAYS)} are not of the same images")
        pairs, overlaps = _listed_pairs(info, path)
        has_path = np.array([name is not None for name in info["image_paths"]], np.bool_)
        if len(pairs) and (pairs.min() < 0 or pairs.max() >= len(has_path)):
            raise CorruptObject(f"{path}: a pair of an image that is not listed")
        there = np.flatnonzero(has_path[pairs].all(axis=1) & (pairs[:, 0] != pairs[:, 1]))
        self._pairs = pairs[there][choose_pairs(overlaps[there], options, files.name)].astype(np.int32)
        self._info = {name: info[name] for name in _IMAGE_ARRAYS}
        self._path = path
        self._root = files.folder

    def __len__(self) -> int:
        """See `PosedScene`."""
        return len(self._pairs)

    def read(self, index: int) -> Sample:
        """See `PosedScene`."""
        first, second = (int(place) for place in self._pairs[index])
        K0, K1, T_0to1 = self._cameras(first, second)
        return read_posed_pair(f"{first}-{second}", self._files(first, K0), self._files(second, K1), T_0to1)

    def _cameras(self, first: int, second: int) -> tuple[Float64Array, Float64Array, Float64Array]:
        where = f"{self._path}, images {first} and {second}"
        try:
            K0, K1 = (
                np.asarray(self._info["intrinsics"][place], np.float64).reshape(3, 3) for place in (first, second)
            )
            poses = [np.asarray(self._info["poses"][place], np.float64).reshape(4, 4) for place in (first, second)]
            T_0to1 = poses[1] @ np.linalg.inv(poses[0])
            numbers = np.concatenate([(_FROM_CORNER @ K).ravel() for K in (K0, K1)] + [T_0to1.ravel()])
            return checked_cameras(numbers, where)
        except (TypeError, ValueError, np.linalg.LinAlgError) as error:
            raise CorruptObject(f"{where}: {error}") from error

    def _files(self, place: int, K: Float64Array) -> ViewFiles:
        image, depth = (self._find(str(self._info[name][place])) for name in ("image_paths", "depth_paths"))
        return ViewFiles(image, depth, K)

    def _find(self, name: str) -> Path:
        path = self._root / name
        if not path.exists() and name.startswith(_AUTHORS_DISK):
            return self._root / name.removeprefix(_AUTHORS_DISK)
        return path


def _array_names(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        return set()  # what is wrong with it, `read_arrays` says


def _listed_pairs(info: Mapping[str, Any], path: Path) -> tuple[Int64Array, Float64Array]:
    """All pairs [P, 2] of a scene, and their overlaps [P]."""
    try:
        if "overlap_matrix" in info:
            matrix = np.asarray(info["overlap_matrix"])
            if matrix.shape != (len(info["image_paths"]),) * 2:
                raise CorruptObject(f"{path}: overlap_matrix is {matrix.shape}, of other images")
            pairs = np.argwhere(matrix > 0)
            return pairs, np.asarray(matrix[tuple(pairs.T)], np.float64)
        if "pair_infos" in info:
            pairs = np.array([[int(row[0][0]), int(row[0][1])] for row in info["pair_infos"]], np.int64)
            overlaps = np.array([float(row[1]) for row in info["pair_infos"]], np.float64)
        else:
            pairs, overlaps = np.asarray(info["pairs"], np.int64), np.asarray(info["overlaps"], np.float64)
    except (TypeError, ValueError, IndexError) as error:
        raise CorruptObject(f"{path}: not pairs of images with their overlap ({error})") from error
    if len(pairs) != len(overlaps) or pairs.size != 2 * len(pairs):
        raise CorruptObject(f"{path}: pairs {pairs.shape} and overlaps {overlaps.shape} do not belong together")
    return pairs.reshape(-1, 2), overlaps
