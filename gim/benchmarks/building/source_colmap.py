"""A reconstruction of COLMAP, binary or text, with the images it was made of: poses, lenses and tracks.

The folder is a workspace (`sparse/` or `sparse/0/`, or the folder itself holds the model; images below `images/`) or
its undistorted one (`dense/`, with depth maps in `stereo/depth_maps/`: give that folder as the depth).
"""

from pathlib import Path
from typing import Any

import numpy as np

from gim.benchmarks.building.lenses import colmap_lens
from gim.benchmarks.building.scene import Lens, SourceImage, SourceScene, checked_pose, named_first
from gim.errors import InvalidInput
from gim.records import Int64Array

_MODELS = ("", "sparse", "sparse/0")
_IMAGES = ("images", "../images", "../../images", "")
_SAY_NOTHING = ("0", "sparse", "dense", "colmap", "model")
_NO_POINT = 2**63  # what COLMAP writes for a keypoint that is part of no track is above


def is_colmap(folder: Path) -> bool:
    """Whether a folder holds a model."""
    return _model_below(folder) is not None


def read_colmap(folder: Path, images: Path | None) -> SourceScene:
    """The registered images of a model, by name.

    Args:
        folder: see above.
        images: where they lie; by default `images` in the folder, or beside the model.

    Raises:
        InvalidInput: no model, a damaged one, or an image is absent.
    """
    model = _model_below(folder)
    if model is None:
        raise InvalidInput(f"{folder}: holds no COLMAP model; expected cameras, images and points3D as .bin or .txt")
    reconstruction = open_model(model)
    registered = [reconstruction.images[image_id] for image_id in reconstruction.reg_image_ids()]
    if not registered:
        raise InvalidInput(f"{model}: no image of the model is registered")
    lenses = {key: colmap_lens(camera, str(model)) for key, camera in reconstruction.cameras.items()}
    registered.sort(key=lambda image: str(image.name))
    root = _image_root(folder, model, images, [str(image.name) for image in registered])
    return SourceScene(
        _scene_name(folder), tuple(_source_image(image, lenses[image.camera_id], root, model) for image in registered)
    )


def _scene_name(folder: Path) -> str:
    """The nearest folder's name that says something."""
    parts = [part for part in folder.resolve().parts if part.lower() not in _SAY_NOTHING]
    return parts[-1]


def open_model(folder: Path) -> Any:
    """The `pycolmap.Reconstruction` of a folder.

    Raises:
        InvalidInput: it is damaged.
    """
    import pycolmap  # noqa: PLC0415 - slow to load

    try:
        return pycolmap.Reconstruction(str(folder))
    except Exception as error:  # its own kinds, and IndexError and ValueError of what is cut off
        raise InvalidInput(f"{folder}: not a readable COLMAP model ({str(error).splitlines()[0]})") from error


def tracked_points(image: Any) -> Int64Array:
    """Ids of the points that an image of a model sees, ascending, each once."""
    ids = [point.point3D_id for point in image.points2D if point.point3D_id < _NO_POINT]
    return np.unique(np.array(ids, np.int64))


def read_tracks(folder: Path) -> dict[str, Int64Array]:
    """Tracked points of the images of a model, by the image's name, and by its bare file name where that is unique.

    Raises:
        InvalidInput: no model, or a damaged one.
    """
    model = _model_below(folder)
    if model is None:
        raise InvalidInput(f"tracks {folder}: holds no COLMAP model")
    images = open_model(model).images.values()
    whole = {str(image.name): tracked_points(image) for image in images}
    bare = [Path(name).name for name in whole]
    unique = {Path(name).name: ids for name, ids in whole.items() if bare.count(Path(name).name) == 1}
    return {**unique, **whole}


def _source_image(image: Any, lens: Lens, root: Path, model: Path) -> SourceImage:
    T_world_to_camera = checked_pose(image.cam_from_world().matrix(), f"{model}, image {image.name}")
    name = str(image.name)
    pose = np.asarray(np.linalg.inv(T_world_to_camera), np.float64)
    return SourceImage(name, root / name, lens, pose, points=tracked_points(image))


def _model_below(folder: Path) -> Path | None:
    for below in _MODELS:
        for suffix in (".bin", ".txt"):
            if all((folder / below / f"{part}{suffix}").is_file() for part in ("cameras", "images", "points3D")):
                return folder / below
    return None


def _image_root(folder: Path, model: Path, images: Path | None, names: list[str]) -> Path:
    places = [images] if images is not None else [folder / "images", *(model / place for place in _IMAGES)]
    for place in places:
        if all((place / name).is_file() for name in names):
            return place
    best = max(places, key=lambda place: sum((place / name).is_file() for name in names))
    absent = [name for name in names if not (best / name).is_file()]
    raise InvalidInput(
        f"{model}: {len(absent)} of {len(names)} images are not in {best}: {named_first(absent)}; --images says where"
    )
