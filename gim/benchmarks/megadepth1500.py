"""MegaDepth-1500 (Sun et al., LoFTR, CVPR 2021): pairs of two scenes with COLMAP's cameras. Reads no image.

It is kept in two forms, both read here:

- LoFTR's, also DKM's and RoMa's: `<scene>_<low>_<high>.npz` with `image_paths`, `intrinsics` [3, 3], `poses` [4, 4]
  (world to camera) by image, and `pair_infos`, rows `((i, j), overlap, ...)`; paths are relative to the data's folder.
- glue-factory's and hloc's: `pairs_calibrated.txt` (`gim.benchmarks.calibrated_pairs`), and a folder `images`.

Intrinsics are of the images as they are stored.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from gim.benchmarks.array_files import read_arrays
from gim.benchmarks.calibrated_pairs import read_calibrated_pairs
from gim.benchmarks.posed import PosedPair, checked_cameras
from gim.errors import InvalidInput

NUM_PAIRS = 1500
SCENE_INFO = "megadepth_test_1500_scene_info"
_ARRAYS = ("image_paths", "intrinsics", "poses", "pair_infos")
_LIST = "pairs_calibrated.txt"


def read_megadepth1500(root: Path, scene_info: Path | None = None) -> list[PosedPair]:
    """The pairs, in the order of the lists; names of images are relative to `root`.

    Args:
        root: folder of the data.
        scene_info: folder of LoFTR's files; by default `root`, or a folder of LoFTR's name in it.

    Raises:
        InvalidInput: neither form is there, or a file is malformed or of other images; the message names it.
    """
    folder = scene_info or (root / SCENE_INFO if (root / SCENE_INFO).is_dir() else root)
    files = sorted(folder.glob("*.npz"))
    if files:
        return [pair for path in files for pair in _read_scene(path, root)]
    if scene_info is not None:
        raise InvalidInput(f"{scene_info}: holds no .npz file of a scene")
    if not (root / _LIST).exists():
        raise InvalidInput(f"{root}: holds neither {_LIST} nor the .npz files of LoFTR's {SCENE_INFO}")
    pairs = read_calibrated_pairs(root / _LIST)
    is_below_images = (root / "images").is_dir() and not (root / pairs[0].image0).exists()
    return read_calibrated_pairs(root / _LIST, "images/") if is_below_images else pairs


def scene_of(pair: PosedPair) -> str:
    """The scene of a pair, as its first image's path names it; empty where it does not."""
    return next((part for part in PurePosixPath(pair.image0).parts[:-1] if part[:4].isdecimal()), "")


def _read_scene(path: Path, root: Path) -> list[PosedPair]:
    info = read_arrays(path, _ARRAYS, "scene of MegaDepth-1500")
    images = {len(info[name]) for name in _ARRAYS[:3]}
    if len(images) != 1:
        raise InvalidInput(f"{path}: image_paths, intrinsics and poses are not of the same images")
    if not len(info["pair_infos"]):
        raise InvalidInput(f"{path}: holds no pairs")
    pairs = [_read_pair(info, row, f"{path}, pair {place}") for place, row in enumerate(info["pair_infos"])]
    first = pairs[0].image0
    if not (root / first).exists():
        raise InvalidInput(f"{path}: is of other images, {first} is not in {root}")
    return pairs


def _read_pair(info: Mapping[str, Any], row: Sequence[Any], where: str) -> PosedPair:
    try:
        first, second = (int(index) for index in row[0])
        overlap = float(row[1])
        names = [info["image_paths"][index] for index in (first, second)]
        K0, K1 = (np.asarray(info["intrinsics"][index], np.float64).reshape(3, 3) for index in (first, second))
        poses = [np.asarray(info["poses"][index], np.float64).reshape(4, 4) for index in (first, second)]
        T_0to1 = poses[1] @ np.linalg.inv(poses[0])
    except (TypeError, ValueError, IndexError, np.linalg.LinAlgError) as error:
        raise InvalidInput(f"{where}: {error}") from error
    if None in names or first < 0 or second < 0:
        raise InvalidInput(f"{where}: is of an image that has no path")
    checked = checked_cameras(np.concatenate([K0.ravel(), K1.ravel(), T_0to1.ravel()]), where)
    return PosedPair(str(names[0]), str(names[1]), *checked, overlap=overlap)
