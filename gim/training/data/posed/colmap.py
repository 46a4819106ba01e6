"""Reconstructions of COLMAP: pairs of images that see the same points, labelled at those points.

A set is one model or a folder of scenes, each with a model in itself, `sparse` or `sparse/0`. Nothing is known between
the points, so the truth is `Labels`: where the keypoints of one track lie in both images, as they were detected.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gim.benchmarks.building.overlap import track_overlaps
from gim.benchmarks.building.source_colmap import open_model
from gim.errors import CorruptObject, InvalidInput
from gim.geometry.pixels import from_corner_origin
from gim.records import Float32Array, Int64Array
from gim.training.data.posed.options import PosedOptions
from gim.training.data.posed.scene import SceneFiles, choose_pairs
from gim.training.data.posed.views import all_valid, read_image
from gim.training.samples import Labels, Sample

_MODELS = ("", "sparse", "sparse/0")
_IMAGES = ("images", "../images", "../../images", "")  # from the model's folder
_PARTS = ("cameras", "images", "points3D")
_NEWER_PARTS = ("rigs", "frames")  # where COLMAP 3.12 and later have poses


@dataclass(frozen=True, slots=True, eq=False)
class _Observed:
    """The points that an image sees well."""

    name: str
    ids: Int64Array  # [N], ascending, each once
    keypoints: Float32Array  # [N, 2] pixels


def list_colmap(root: Path, _: PosedOptions) -> list[SceneFiles]:
    """The models of a folder, by the name of the scene's folder.

    Raises:
        InvalidInput: there is none.
    """
    folders = [root] if _model_files(root) else sorted(path for path in root.iterdir() if path.is_dir())
    found = [SceneFiles(folder.resolve().name, folder, files) for folder in folders if (files := _model_files(folder))]
    if not found:
        raise InvalidInput(f"{root}: neither a COLMAP model nor folders with one")
    return found


class ColmapScene:
    """One model."""

    def __init__(self, files: SceneFiles, options: PosedOptions) -> None:
        model = files.index[0].parent
        observed = _read_observed(model, options.max_error_px)
        overlaps = track_overlaps([image.ids for image in observed])
        first, second = np.triu_indices(len(observed), 1)
        smaller = np.minimum(overlaps, overlaps.T)[first, second]
        own = np.array([len(image.ids) for image in observed])
        num_shared = np.rint(overlaps[first, second] * own[first])
        enough = np.flatnonzero(num_shared >= options.min_points)
        chosen = enough[choose_pairs(smaller[enough], options, files.name)]
        self._pairs = np.column_stack([first[chosen], second[chosen]])
        self._observed = observed
        self._images = _image_folder(files.folder, model, options, observed)

    def __len__(self) -> int:
        """See `PosedScene`."""
        return len(self._pairs)

    def read(self, index: int) -> Sample:
        """See `PosedScene`."""
        view0, view1 = (self._observed[place] for place in self._pairs[index])
        _, places0, places1 = np.intersect1d(view0.ids, view1.ids, assume_unique=True, return_indices=True)
        points = np.hstack([view0.keypoints[places0], view1.keypoints[places1]])
        image0, image1 = (read_image(self._images / view.name) for view in (view0, view1))
        name = f"{view0.name}-{view1.name}"
        return Sample(name, "", image0, image1, all_valid(image0), all_valid(image1), Labels(points))


def _model_files(folder: Path) -> tuple[Path, ...]:
    for below in _MODELS:
        for suffix in (".bin", ".txt"):
            files = tuple(folder / below / f"{part}{suffix}" for part in _PARTS)
            if all(path.is_file() for path in files):
                newer = (folder / below / f"{part}{suffix}" for part in _NEWER_PARTS)
                return (*files, *(path for path in newer if path.is_file()))
    return ()


def _check_whole(model: Path) -> None:
    """Refuse a binary model that was cut off, of which COLMAP's reader makes lists until the memory is full."""
    for name, skip in (("images.bin", _skip_image), ("points3D.bin", _skip_point)):
        path = model / name
        if not path.is_file():
            continue
        data = path.read_bytes()
        try:
            (count,) = struct.unpack_from("<Q", data)
            end = 8
            for _ in range(count):
                end = skip(data, end)
        except (struct.error, ValueError):
            end = len(data) + 1
        if end > len(data):
            raise CorruptObject(f"{path}: cut off")


def _skip_image(data: bytes, start: int) -> int:
    """Where the next image begins: id, pose (7 doubles), camera, name and 0, number of keypoints, 24 bytes each."""
    end_of_name = data.index(0, start + 64)
    (count,) = struct.unpack_from("<Q", data, end_of_name + 1)
    return int(end_of_name + 9 + 24 * count)


def _skip_point(data: bytes, start: int) -> int:
    """Where the next point begins: id, position, colour, error, length of its track, 8 bytes each."""
    (count,) = struct.unpack_from("<Q", data, start + 43)
    return int(start + 51 + 8 * count)


def _read_observed(model: Path, max_error_px: float) -> list[_Observed]:
    """The registered images of a model by name, with the points whose keypoints lie where they project."""
    _check_whole(model)
    reconstruction = open_model(model)
    images = sorted((reconstruction.images[key] for key in reconstruction.reg_image_ids()), key=lambda item: item.name)
    points = reconstruction.points3D
    return [_observed(image, reconstruction.cameras[image.camera_id], points, max_error_px) for image in images]


def _observed(image: Any, camera: Any, points: Any, max_error_px: float) -> _Observed:
    seen = image.get_observation_points2D()
    ids = np.array([point.point3D_id for point in seen], np.int64)
    found = np.array([point.xy for point in seen], np.float64).reshape(-1, 2)
    world = np.array([points[int(key)].xyz for key in ids], np.float64).reshape(-1, 3)
    T = image.cam_from_world().matrix()
    local = world @ T[:, :3].T + T[:, 3]
    projected = np.asarray(camera.img_from_cam(local), np.float64).reshape(-1, 2)
    with np.errstate(invalid="ignore"):
        error = np.linalg.norm(projected - found, axis=1)
    good = np.flatnonzero((local[:, 2] > 0) & (error <= max_error_px))
    good = good[np.argsort(error[good], kind="stable")]  # of a point seen twice in an image, the better keypoint
    unique, first = np.unique(ids[good], return_index=True)
    return _Observed(str(image.name), unique, from_corner_origin(found[good[first]]))


def _image_folder(folder: Path, model: Path, options: PosedOptions, observed: list[_Observed]) -> Path:
    places = [folder / options.images] if options.images else [folder / "images", *(model / place for place in _IMAGES)]
    if not observed:
        return places[0]
    for place in places:
        if (place / observed[0].name).is_file():
            return place
    raise CorruptObject(f"{model}: image {observed[0].name} is not in {places[0]}; option images says where")
