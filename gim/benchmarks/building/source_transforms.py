"""`transforms.json` of NeRF, instant-ngp and nerfstudio: camera-to-world poses in OpenGL's axes, one lens or many.

There y points up and z backwards, so both are turned; `cx` and `cy` come from COLMAP and count from the corner of the
top-left pixel. A missing suffix in `file_path` is `.png`, as in the synthetic scenes of NeRF.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from gim.benchmarks.building.lenses import opencv_lens
from gim.benchmarks.building.scene import (
    DepthFile,
    Lens,
    SourceImage,
    SourceScene,
    check_there,
    checked_pose,
    pinhole_matrix,
)
from gim.errors import InvalidInput
from gim.photos.sizes import declared_size
from gim.records import Float64Array

_FILE = "transforms.json"
_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
_PERSPECTIVE = ("k1", "k2", "p1", "p2", "k3")
_FISHEYE = ("k1", "k2", "k3", "k4")
_LENS_FIELDS = ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", "camera_angle_y", "camera_model", "is_fisheye")
_HEAD_BYTES = 2**20  # where an image says its size
_MILLIMETRES = 1000.0  # nerfstudio's 16-bit depth


def is_transforms(folder: Path) -> bool:
    """Whether a folder holds one, or is the file itself."""
    return (folder / _FILE).is_file() or (folder.is_file() and folder.suffix == ".json")


def read_transforms(folder: Path) -> SourceScene:
    """The frames of a file, by path.

    Raises:
        InvalidInput: malformed, an image is absent, or a pose is no rotation.
    """
    path = folder / _FILE if folder.is_dir() else folder
    document = _read_json(path)
    frames = document.get("frames")
    if not isinstance(frames, list) or not frames:
        raise InvalidInput(f"{path}: has no frames")
    document = {**_size_of_first(frames[0], path.parent), **document}
    lenses: dict[tuple[Any, ...], Lens] = {}
    images = [_read_frame(frame, document, lenses, f"{path}, frame {index}") for index, frame in enumerate(frames)]
    images = [_in_folder(image, path.parent) for image in images]
    check_there([image.path for image in images], "images", path)
    check_there([image.depth.path for image in images if image.depth], "depth maps", path)
    images.sort(key=lambda image: image.name)
    return SourceScene(path.resolve().parent.name, tuple(images))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InvalidInput(f"{path}: not JSON ({error})") from error
    if not isinstance(document, dict):
        raise InvalidInput(f"{path}: not an object of JSON")
    return document


def _read_frame(frame: Any, document: dict[str, Any], lenses: dict[tuple[Any, ...], Lens], where: str) -> SourceImage:
    if not isinstance(frame, dict) or not isinstance(frame.get("file_path"), str):
        raise InvalidInput(f"{where}: has no file_path")
    name = frame["file_path"].removeprefix("./")
    where = f"{where} ({name})"
    pose = checked_pose(_matrix(frame.get("transform_matrix"), where) @ _TO_OPENCV, where)
    fields = {**document, **frame}
    key = tuple(str(fields.get(field)) for field in (*_LENS_FIELDS, *_PERSPECTIVE, "k4"))
    lens = lenses.get(key)
    if lens is None:
        lens = lenses[key] = _read_lens(fields, where)
    return SourceImage(name, Path(name), lens, pose, _depth_of(frame, document, where))


def _depth_of(frame: dict[str, Any], document: dict[str, Any], where: str) -> DepthFile | None:
    """Depth by `depth_file_path` of nerfstudio, in millimetres unless it says else, or `depth_path` of instant-ngp."""
    for field, factor, usual in (
        ("depth_file_path", "depth_unit_scale_factor", 1 / _MILLIMETRES),
        ("depth_path", "integer_depth_scale", None),
    ):
        scale = document.get(factor, usual)
        if isinstance(frame.get(field), str) and scale is not None:
            if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not scale > 0:
                raise InvalidInput(f"{where}: {factor} {scale!r} is no scale of depth")
            return DepthFile(Path(frame[field]), 1 / scale)
    return None


def _size_of_first(frame: Any, folder: Path) -> dict[str, int]:
    """`w` and `h` for files that leave them to their images, as NeRF's synthetic scenes do."""
    name = frame.get("file_path") if isinstance(frame, dict) else None
    if not isinstance(name, str):
        return {}
    path = _with_suffix(folder / name)
    try:
        with path.open("rb") as stream:
            width, height = declared_size(stream.read(_HEAD_BYTES))
    except OSError:
        return {}  # `check_there` names it
    return {"w": width, "h": height} if width else {}


def _matrix(rows: Any, where: str) -> Float64Array:
    try:
        matrix = np.array(rows, np.float64)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"{where}: transform_matrix is no matrix") from error
    if matrix.shape not in ((4, 4), (3, 4)):
        raise InvalidInput(f"{where}: transform_matrix is not 4x4")
    return np.vstack([matrix[:3], [0.0, 0.0, 0.0, 1.0]])


def _read_lens(fields: dict[str, Any], where: str) -> Lens:
    def number(field: str, default: float | None = None) -> float:
        value = fields.get(field, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise InvalidInput(f"{where}: {field} is not known; the file must say fl_x (or camera_angle_x), w and h")
        return float(value)

    width, height = number("w"), number("h")
    focal_x = number("fl_x") if "fl_x" in fields else width / 2 / math.tan(number("camera_angle_x") / 2)
    focal_y = number("fl_y", focal_x)
    K = pinhole_matrix(focal_x, focal_y, number("cx", width / 2) - 0.5, number("cy", height / 2) - 0.5, where)
    is_fisheye = fields.get("camera_model") == "OPENCV_FISHEYE" or bool(fields.get("is_fisheye"))
    coefficients = tuple(number(field, 0.0) for field in (_FISHEYE if is_fisheye else _PERSPECTIVE))
    return opencv_lens(K, coefficients, name=where, size=(int(width), int(height)), fisheye=is_fisheye)


def _in_folder(image: SourceImage, folder: Path) -> SourceImage:
    path = _with_suffix(folder / image.path)
    depth = DepthFile(folder / image.depth.path, image.depth.units_per_unit) if image.depth else None
    return SourceImage(image.name, path, image.lens, image.T_camera_to_world, depth)


def _with_suffix(path: Path) -> Path:
    return path if path.is_file() or path.suffix else path.with_name(f"{path.name}.png")
