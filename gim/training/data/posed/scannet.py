"""ScanNet (Dai et al., CVPR 2017) as it is trained on: folders of frames, and an `.npz` of the pairs of every scene.

A scene's folder holds `color/F.jpg`, `depth/F.png` (uint16, millimetres) and `pose/F.txt` (camera to world). Its list
has `name` [P, 4], rows (scene, part, frame 0, frame 1), and `score` [P], the overlap. Intrinsics [3, 3] are those of
the depth map: from `intrinsics.npz` by scene (LoFTR's), or `intrinsic/intrinsic_depth.txt` of the scene (ScanNet's own
reader). Colour is brought to the size of depth, 640 x 480, as all who train on it do.
"""

from pathlib import Path

import numpy as np

from gim.benchmarks.array_files import read_arrays
from gim.benchmarks.building.scene import checked_pose
from gim.benchmarks.posed import checked_cameras
from gim.errors import CorruptObject, InvalidInput
from gim.geometry.pose import relative_pose
from gim.records import Float64Array
from gim.training.data.posed.options import PosedOptions
from gim.training.data.posed.scene import SceneFiles, choose_pairs
from gim.training.data.posed.views import ViewFiles, read_posed_pair
from gim.training.samples import Sample, SampleSkipped

_LISTS = ("train_scene_info/npz", "scannet_indices/scene_data/train", "index/scene_data/train", "scene_data/train")
_FRAMES = ("train", "scans", "scans_train", "")  # scenes' folders may lie in one of these
_INTRINSICS = "intrinsics.npz"
_DEPTH_UNITS = 1000.0  # per metre


def list_scannet(root: Path, options: PosedOptions) -> list[SceneFiles]:
    """The scenes of a folder, by name.

    Raises:
        InvalidInput: there is no list of a scene, or no folder of one that is listed.
    """
    places = [root / options.lists] if options.lists else [root / place for place in _LISTS]
    lists = next((found for place in places if (found := sorted(place.glob("scene*.npz")))), [])
    if not lists:
        raise InvalidInput(
            f"{root}: no .npz file of a scene in {' or '.join(map(str, places))}; option lists says where"
        )
    return [SceneFiles(path.stem, _scene_folder(root, path), (path,)) for path in lists]


class ScanNetScene:
    """One scene."""

    def __init__(self, files: SceneFiles, options: PosedOptions) -> None:
        (path,) = files.index
        arrays = read_arrays(path, ("name", "score"), "list of pairs of ScanNet")
        rows, scores = arrays["name"], np.asarray(arrays["score"], np.float64)
        if rows.ndim != 2 or rows.shape[1] != 4 or scores.shape != (len(rows),) or rows.dtype.kind not in "iu":
            raise CorruptObject(f"{path}: name is {rows.shape} and score {scores.shape}, expected [P, 4] and [P]")
        wanted = np.flatnonzero((rows[:, 2:] % options.frame_step == 0).all(axis=1))
        chosen = wanted[choose_pairs(scores[wanted], options, files.name)]
        self._frames = rows[chosen, 2:].astype(np.int32)
        self._folder = files.folder
        self._K = _read_intrinsics(files) if len(chosen) else np.eye(3)

    def __len__(self) -> int:
        """See `PosedScene`."""
        return len(self._frames)

    def read(self, index: int) -> Sample:
        """See `PosedScene`."""
        first, second = (int(frame) for frame in self._frames[index])
        T_0to1 = relative_pose(self._pose(first), self._pose(second))
        return read_posed_pair(f"{first}-{second}", self._files(first), self._files(second), T_0to1)

    def _files(self, frame: int) -> ViewFiles:
        image, depth = self._folder / "color" / f"{frame}.jpg", self._folder / "depth" / f"{frame}.png"
        return ViewFiles(image, depth, self._K, "depth", _DEPTH_UNITS)

    def _pose(self, frame: int) -> Float64Array:
        path = self._folder / "pose" / f"{frame}.txt"
        numbers = _read_numbers(path)
        if numbers.size == 16 and not np.isfinite(numbers).all():
            raise SampleSkipped("no_pose", str(path))  # ScanNet writes -inf where its tracking was lost
        try:
            return checked_pose(numbers, str(path))
        except InvalidInput as error:
            raise CorruptObject(str(error)) from error


def _scene_folder(root: Path, listed: Path) -> Path:
    for place in _FRAMES:
        if (root / place / listed.stem).is_dir():
            return root / place / listed.stem
    raise InvalidInput(f"{listed}: is of a scene that is not in {root / _FRAMES[0]}")


def _read_intrinsics(files: SceneFiles) -> Float64Array:
    """K [3, 3] of a scene's depth maps."""
    (path,) = files.index
    for folder in (path.parent, *list(path.parents)[1:4], *list(files.folder.parents)[:2]):
        if (folder / _INTRINSICS).is_file():
            K = read_arrays(folder / _INTRINSICS, (files.name,), "intrinsics of ScanNet")[files.name]
            return _checked_intrinsics(np.asarray(K, np.float64), f"{folder / _INTRINSICS}, {files.name}")
    text = files.folder / "intrinsic" / "intrinsic_depth.txt"
    numbers = _read_numbers(text)
    if numbers.size != 16:
        raise CorruptObject(f"{text}: expected 16 numbers, got {numbers.size}")
    return _checked_intrinsics(numbers.reshape(4, 4)[:3, :3], str(text))


def _checked_intrinsics(K: Float64Array, where: str) -> Float64Array:
    if K.size != 9:
        raise CorruptObject(f"{where}: intrinsics of shape {K.shape}, expected [3, 3]")
    return checked_cameras(np.concatenate([K.ravel(), K.ravel(), np.eye(4).ravel()]), where)[0]


def _read_numbers(path: Path) -> Float64Array:
    try:
        return np.array(path.read_text(encoding="utf-8").split(), np.float64)
    except OSError as error:
        raise CorruptObject(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # of the text, or of a number
        raise CorruptObject(f"{path}: not numbers ({error})") from error
