"""A sequence of the TUM RGB-D set: `groundtruth.txt`, `rgb.txt` and, where there is depth, `depth.txt`.

Lines are `timestamp path`, and `timestamp tx ty tz qx qy qz qw` of the camera in the world. A picture's pose is taken
at its own time: between the two samples around it, by a line and by slerp. Depth is that of the nearest time.
"""

from pathlib import Path

import numpy as np

from gim.benchmarks.building.scene import (
    DepthFile,
    Lens,
    SourceImage,
    SourceScene,
    check_there,
    checked_pose,
    read_lines,
    read_numbers,
)
from gim.errors import InvalidInput
from gim.records import Float64Array

DEPTH_UNITS = 5000.0  # per metre
_WIDEST_GAP_SECONDS = 0.1  # between samples of the trajectory around a picture
_DEPTH_GAP_SECONDS = 0.02  # between a picture and its depth
_UNIT = 1e-2  # how far a quaternion's length may be from 1: few digits are printed


def is_tum(folder: Path) -> bool:
    """Whether a folder holds a sequence."""
    return (folder / "groundtruth.txt").is_file() and (folder / "rgb.txt").is_file()


def read_tum(folder: Path, lens: Lens | None, depth_units: float = DEPTH_UNITS) -> SourceScene:
    """The pictures of a sequence whose pose is known, in time.

    Raises:
        InvalidInput: a text is malformed, an image is absent, no picture has a pose, or no intrinsics were given.
    """
    if lens is None:
        raise InvalidInput(
            f"{folder}: a TUM sequence does not say its intrinsics; give --camera FX,FY,CX,CY,K1,K2,P1,P2,K3"
        )
    times, poses = _read_trajectory(folder / "groundtruth.txt")
    pictures = _read_list(folder / "rgb.txt")
    check_there([folder / name for _, name in pictures], "images", folder / "rgb.txt")
    depths = _read_list(folder / "depth.txt") if (folder / "depth.txt").is_file() else []
    check_there([folder / name for _, name in depths], "depth maps", folder / "depth.txt")
    images = []
    for seconds, name in pictures:
        pose = _pose_at(seconds, times, poses)
        if pose is not None:
            depth = _nearest(seconds, depths)
            file = DepthFile(folder / depth, depth_units) if depth else None
            images.append(SourceImage(name, folder / name, lens, pose, file))
    if not images:
        raise InvalidInput(f"{folder}: no picture of rgb.txt was taken while groundtruth.txt runs")
    if depths:
        images = [image for image in images if image.depth is not None]
    return SourceScene(folder.resolve().name, tuple(images))


def _read_trajectory(path: Path) -> tuple[Float64Array, Float64Array]:
    """Times [N], ascending, and rows (tx, ty, tz, qx, qy, qz, qw) [N, 7] with unit quaternions."""
    numbered = read_lines(path)
    rows = np.array([read_numbers(line, (8,), f"{path}, line {number}") for number, line in numbered], np.float64)
    if len(rows) == 0:
        raise InvalidInput(f"{path}: holds no poses")
    length = np.linalg.norm(rows[:, 4:], axis=1)
    wrong = np.flatnonzero(~(np.abs(length - 1) < _UNIT) | ~np.isfinite(rows).all(axis=1))
    if len(wrong):
        raise InvalidInput(f"{path}, line {numbered[int(wrong[0])][0]}: the quaternion is no rotation")
    rows[:, 4:] /= length[:, None]
    order = np.argsort(rows[:, 0], kind="stable")
    return rows[order, 0], rows[order, 1:]


def _pose_at(seconds: float, times: Float64Array, poses: Float64Array) -> Float64Array | None:
    """T_camera_to_world at a time; None where the trajectory has a gap."""
    from scipy.spatial.transform import Rotation, Slerp  # noqa: PLC0415 - slow to load

    after = int(np.searchsorted(times, seconds))
    before = after if after < len(times) and times[after] == seconds else after - 1
    if before < 0 or after >= len(times) or times[after] - times[before] > _WIDEST_GAP_SECONDS:
        return None
    share = 0.0 if before == after else (seconds - times[before]) / (times[after] - times[before])
    pose = np.eye(4)
    pose[:3, 3] = (1 - share) * poses[before, :3] + share * poses[after, :3]
    rotations = Rotation.from_quat(poses[[before, after], 3:])
    pose[:3, :3] = Slerp([0, 1], rotations)(share).as_matrix()
    return checked_pose(pose, f"pose at {seconds:.6f}")


def _read_list(path: Path) -> list[tuple[float, str]]:
    listed = []
    for number, line in read_lines(path):
        words = line.split()
        try:
            seconds, name = float(words[0]), words[1]
        except (ValueError, IndexError) as error:
            raise InvalidInput(f"{path}, line {number}: expected a timestamp and a path") from error
        listed.append((seconds, name))
    return sorted(listed)


def _nearest(seconds: float, listed: list[tuple[float, str]]) -> str | None:
    if not listed:
        return None
    times = np.array([time for time, _ in listed])
    index = int(np.argmin(np.abs(times - seconds)))
    return listed[index][1] if abs(times[index] - seconds) <= _DEPTH_GAP_SECONDS else None
