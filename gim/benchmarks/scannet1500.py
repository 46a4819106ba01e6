"""ScanNet-1500 (Sarlin et al., SuperGlue, CVPR 2020): 15 pairs of each of 100 indoor scenes, as two forms keep it.

- LoFTR's, also DKM's: `test.npz` with `name` [P, 4] (scene, part, frame 0, frame 1), `intrinsics.npz` with K [3, 3]
  by scene, and folders `sceneSSSS_PP` with `color/F.jpg` and `pose/F.txt` (camera to world [4, 4]). Without poses, the
  array `rel_pose` [P, 12] of DKM's `test.npz` is taken, rows of T_0to1.
- glue-factory's: `pairs_calibrated.txt` (`gim.benchmarks.calibrated_pairs`), images beside it.

Intrinsics of LoFTR's form are of 640x480 pixels, the size of the images in that release and of ScanNet's depth; where
images are larger, as in ScanNet itself, they are scaled to what the first image of a scene states.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from gim.benchmarks.array_files import read_arrays
from gim.benchmarks.calibrated_pairs import read_calibrated_pairs
from gim.benchmarks.image_sizes import ImageSizes
from gim.benchmarks.posed import PosedPair, checked_cameras
from gim.errors import InvalidInput
from gim.geometry.pose import relative_pose
from gim.records import Float64Array

NUM_PAIRS = 1500
SIZE = (640, 480)  # width and height that intrinsics are of, pixels
_LIST = "pairs_calibrated.txt"
_PAIRS, _INTRINSICS = "test.npz", "intrinsics.npz"
_FOLDERS = ("scannet_test_1500", "scans_test", "test", "")  # scenes may lie in one of these


def read_scannet1500(root: Path, lists: Path | None = None) -> list[PosedPair]:
    """The pairs, in the order of the list; names of images are relative to `root`.

    Args:
        root: folder of the data.
        lists: folder of LoFTR's `test.npz` and `intrinsics.npz`; by default `root`.

    Raises:
        InvalidInput: neither form is there, or a file is absent, malformed or of other scenes; the message names it.
    """
    folder = lists or root
    if (folder / _PAIRS).exists():
        return _Release(root, folder).pairs()
    if lists is None and (root / _LIST).exists():
        return read_calibrated_pairs(root / _LIST)
    expected = _PAIRS if lists else f"{_LIST} nor {_PAIRS}"
    raise InvalidInput(f"{folder}: holds {'no' if lists else 'neither'} {expected} of ScanNet-1500")


def scene_of(pair: PosedPair) -> str:
    """The scene of a pair, as its first image's path names it; empty where it does not."""
    return next((part for part in PurePosixPath(pair.image0).parts if part.startswith("scene")), "")


class _Release:
    """LoFTR's form, each pose and the size of each scene read once."""

    def __init__(self, root: Path, lists: Path) -> None:
        self._root = root
        self._lists = lists
        self._sizes = ImageSizes(root)
        self._poses: dict[str, Float64Array] = {}
        self._cameras: dict[str, Float64Array] = {}

    def pairs(self) -> list[PosedPair]:
        path = self._lists / _PAIRS
        rows = read_arrays(path, ("name",), "list of ScanNet-1500")["name"]
        if rows.ndim != 2 or rows.shape[1] != 4 or not np.issubdtype(rows.dtype, np.number):
            raise InvalidInput(f"{path}: name is {rows.shape}, expected rows of scene, part, frame, frame")
        if not len(rows):
            raise InvalidInput(f"{path}: holds no pairs")
        scenes = [f"scene{int(row[0]):04d}_{int(row[1]):02d}" for row in rows]
        folder = self._folder_of_scenes(scenes[0])
        has_poses = (self._root / folder / scenes[0] / "pose").is_dir()
        known = None if has_poses else read_arrays(path, ("rel_pose",), "list with poses; there is no folder of them")
        intrinsics = self._intrinsics(sorted(set(scenes)))
        pairs = []
        for place, (scene, row) in enumerate(zip(scenes, rows, strict=True)):
            where = f"{path}, pair {place}"
            T_0to1 = self._relative(folder / scene, row) if known is None else _given_pose(known, place, where)
            image0, image1 = ((folder / scene / "color" / f"{int(frame)}.jpg").as_posix() for frame in row[2:])
            K = self._camera(scene, image0, intrinsics, where)
            checked = checked_cameras(np.concatenate([K.ravel(), K.ravel(), T_0to1.ravel()]), where)
            pairs.append(PosedPair(image0, image1, *checked))
        return pairs

    def _folder_of_scenes(self, scene: str) -> Path:
        for folder in _FOLDERS:
            if (self._root / folder / scene).is_dir():
                return Path(folder)
        raise InvalidInput(f"{self._lists / _PAIRS}: is of other scenes, {scene} is not in {self._root}")

    def _intrinsics(self, scenes: list[str]) -> Mapping[str, Any]:
        path = self._lists / _INTRINSICS
        found = read_arrays(path, tuple(scenes), "intrinsics of these scenes")
        for scene, K in found.items():
            if K.size != 9:
                raise InvalidInput(f"{path}: intrinsics of {scene} are {K.shape}, expected [3, 3]")
        return found

    def _camera(self, scene: str, image: str, intrinsics: Mapping[str, Any], where: str) -> Float64Array:
        if scene not in self._cameras:
            width, height = self._sizes.of(image, where)
            scale = np.array([width / SIZE[0], height / SIZE[1], 1.0])
            self._cameras[scene] = np.asarray(intrinsics[scene], np.float64).reshape(3, 3) * scale[:, None]
        return self._cameras[scene]

    def _relative(self, scene: Path, row: Any) -> Float64Array:
        poses = [self._pose(self._root / scene / "pose" / f"{int(frame)}.txt") for frame in row[2:]]
        return relative_pose(*poses)

    def _pose(self, path: Path) -> Float64Array:
        if str(path) not in self._poses:
            try:
                numbers = np.array(path.read_text(encoding="utf-8").split(), np.float64)
            except OSError as error:
                raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from error
            except ValueError as error:  # of the text, or of a number
                raise InvalidInput(f"{path}: not a pose ({error})") from error
            if len(numbers) != 16 or not np.isfinite(numbers).all():
                raise InvalidInput(f"{path}: expected 16 finite numbers of a pose, got {len(numbers)}")
            self._poses[str(path)] = numbers.reshape(4, 4)
        return self._poses[str(path)]


def _given_pose(known: Mapping[str, Any], place: int, where: str) -> Float64Array:
    numbers = np.asarray(known["rel_pose"], np.float64)
    if place >= len(numbers) or numbers[place].size != 12:
        raise InvalidInput(f"{where}: rel_pose has no row of 12 numbers for it")
    return np.vstack([numbers[place].reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])
