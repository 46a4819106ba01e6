"""A sequence of KITTI odometry: one 3x4 pose per line for the pictures of a camera, in order, and `calib.txt`.

A folder is one sequence (`poses.txt`, `calib.txt`, pictures in `image_0` to `image_3` or `images`), or the published
whole: `poses/NN.txt` and `sequences/NN/`. Poses are of camera 0; those of the others follow from their projection
matrices. Tells nothing of what two pictures share: give depth, or tracks.
"""

from pathlib import Path

import numpy as np

from gim.benchmarks.building.scene import (
    Lens,
    SourceImage,
    SourceScene,
    checked_pose,
    pinhole_matrix,
    read_lines,
    read_numbers,
)
from gim.errors import InvalidInput
from gim.records import Float64Array

_CAMERAS = ("image_2", "image_0", "image_3", "image_1", "images", "image")  # colour first
_SUFFIXES = (".png", ".jpg", ".jpeg")


def is_kitti(folder: Path) -> bool:
    """Whether a folder holds one sequence."""
    return _poses_of(folder) is not None and _camera_of(folder) is not None


def read_kitti(folder: Path, lens: Lens | None) -> SourceScene:
    """The pictures of a sequence, in order.

    Raises:
        InvalidInput: a text is malformed, pictures and poses are not as many, or the intrinsics are not known.
    """
    poses_file, camera = _poses_of(folder), _camera_of(folder)
    if poses_file is None or camera is None:
        raise InvalidInput(
            f"{folder}: not a KITTI sequence; expected poses.txt and pictures in one of {', '.join(_CAMERAS)}"
        )
    pictures = sorted(path for path in camera.iterdir() if path.suffix.lower() in _SUFFIXES)
    rows = read_lines(poses_file)
    if len(rows) != len(pictures):
        raise InvalidInput(f"{poses_file}: has {len(rows)} poses for {len(pictures)} pictures in {camera}")
    if not rows:
        raise InvalidInput(f"{poses_file}: holds no poses")
    own, to_camera = (lens, np.eye(4)) if lens is not None else _calibration(folder / "calib.txt", camera.name)
    images = []
    for (number, line), path in zip(rows, pictures, strict=True):
        where = f"{poses_file}, line {number}"
        pose = checked_pose(read_numbers(line, (12,), where), where)
        images.append(SourceImage(f"{camera.name}/{path.name}", path, own, pose @ np.linalg.inv(to_camera)))
    return SourceScene(folder.resolve().name, tuple(images))


def _calibration(path: Path, camera: str) -> tuple[Lens, Float64Array]:
    """The pinhole camera of a folder of pictures, and what takes points of camera 0 into it."""
    if not path.is_file():
        raise InvalidInput(f"{path}: absent, so the intrinsics are not known; give --camera FX,FY,CX,CY")
    which = f"P{camera[-1]}" if camera[-1].isdigit() else "P0"
    for number, line in read_lines(path):
        name, _, numbers = line.partition(":")
        if name.strip() == which:
            where = f"{path}, line {number}"
            P = np.array(read_numbers(numbers, (12,), where)).reshape(3, 4)
            K = pinhole_matrix(P[0, 0], P[1, 1], P[0, 2], P[1, 2], where)
            to_camera = np.eye(4)
            to_camera[:3, 3] = np.linalg.solve(K, P[:, 3])  # P = K [I | t]
            return Lens(f"{path}, {which}", K, None), to_camera
    raise InvalidInput(f"{path}: has no line {which}: of the camera whose pictures are in {camera}")


def _poses_of(folder: Path) -> Path | None:
    inside = folder / "poses.txt"
    published = folder.parent.parent / "poses" / f"{folder.name}.txt"
    return next((path for path in (inside, published) if path.is_file()), None)


def _camera_of(folder: Path) -> Path | None:
    return next((folder / name for name in _CAMERAS if (folder / name).is_dir()), None)
