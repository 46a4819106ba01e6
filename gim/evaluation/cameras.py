"""Known cameras of a video, and how far correspondences are from what they say.

Two kinds: poses with intrinsics (KITTI text), which give epipolar lines, and the truth of a rendered clip, which gives
the exact place of every point too. Positions have their origin at the CENTRE of the top-left pixel.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from gim.errors import InvalidInput
from gim.geometry.epipolar import fundamental_from_pose, symmetric_epipolar_distance_px
from gim.geometry.pose import as_pose, relative_pose
from gim.records import Float32Array, Float64Array
from gim.synthetic.truth import ClipTruth, correspondence_error_px

_ORTHONORMAL = 1e-2  # how far a rotation's rows may be from it: poses are printed with few digits


@dataclass(frozen=True, slots=True)
class PairErrors:
    """Errors of the correspondences of one pair, pixels."""

    epipolar: Float64Array  # [N] mean of the two point-line distances
    point: Float64Array | None = None  # [N] distance to the exact place, where it is known; inf where there is none


class KnownCameras(Protocol):
    """The cameras of a video's frames."""

    @property
    def num_frames(self) -> int:
        """Frames whose camera is known, from the first on."""

    def errors_px(self, frame0: int, frame1: int, correspondences: Float32Array) -> PairErrors:
        """Errors of correspondences [N, 4] between two frames.

        Raises:
            InvalidInput: a frame has no known camera.
        """

    def check_fits(self, width: int, height: int, last_frame: int) -> None:
        """Refuse a video these cameras cannot be of.

        Raises:
            InvalidInput: of another size, or with more frames.
        """


@dataclass(frozen=True, slots=True)
class PosedFrames:
    """A pose for every frame, and one camera."""

    name: str  # for messages
    poses: Float64Array  # [F, 4, 4] camera to world
    K: Float64Array  # [3, 3] pixels

    @property
    def num_frames(self) -> int:
        return len(self.poses)

    def errors_px(self, frame0: int, frame1: int, correspondences: Float32Array) -> PairErrors:
        self._check_frame(max(frame0, frame1))
        T_0to1 = relative_pose(self.poses[frame0], self.poses[frame1])
        return PairErrors(epipolar_errors_px(self.K, T_0to1, correspondences))

    def check_fits(self, width: int, height: int, last_frame: int) -> None:
        self._check_frame(last_frame)
        centre_x, centre_y = self.K[0, 2], self.K[1, 2]
        if not (0.25 * width < centre_x < 0.75 * width and 0.25 * height < centre_y < 0.75 * height):
            raise InvalidInput(
                f"intrinsics: principal point ({centre_x:g}, {centre_y:g}) is not near the middle of frames of "
                f"{width}x{height} pixels; give fx,fy,cx,cy for the size of the stored frames"
            )

    def _check_frame(self, frame: int) -> None:
        if frame >= len(self.poses):
            raise InvalidInput(f"{self.name}: has {len(self.poses)} poses, too few for frame {frame} of the video")


@dataclass(frozen=True, slots=True)
class RenderedFrames:
    """The truth of a clip of our own renderer."""

    name: str
    truth: ClipTruth

    @property
    def num_frames(self) -> int:
        return self.truth.num_frames

    def errors_px(self, frame0: int, frame1: int, correspondences: Float32Array) -> PairErrors:
        points = np.asarray(correspondences, np.float64)
        point = correspondence_error_px(self.truth, frame0, frame1, points)
        if self.truth.shot_at(frame0) is not self.truth.shot_at(frame1):
            return PairErrors(np.full(len(points), np.inf), point)
        camera0, camera1 = self.truth.camera(frame0), self.truth.camera(frame1)
        T_0to1 = relative_pose(camera0.T_camera_to_world, camera1.T_camera_to_world)
        return PairErrors(epipolar_errors_px(self.truth.K, T_0to1, points), point)

    def check_fits(self, width: int, height: int, last_frame: int) -> None:
        size = (self.truth.width, self.truth.height)
        if (width, height) != size:
            raise InvalidInput(
                f"{self.name}: is the truth of {size[0]}x{size[1]} pixels, the stored frames have {width}x{height}"
            )
        self.truth.shot_at(last_frame)


def epipolar_errors_px(
    K: Float64Array, T_0to1: Float64Array, correspondences: Float64Array | Float32Array
) -> Float64Array:
    """Mean of the two point-line distances [N]; for a camera that only turned, the distance to where the turn leads.

    Args:
        K: [3, 3] of both views.
        T_0to1: [4, 4] maps points of camera 0 into camera 1.
        correspondences: [N, 4] pixels.
    """
    points = np.asarray(correspondences, np.float64)
    if T_0to1[:3, 3].any():
        return symmetric_epipolar_distance_px(points, fundamental_from_pose(K, K, T_0to1))
    H01 = K @ T_0to1[:3, :3] @ np.linalg.inv(K)  # Hartley and Zisserman, Result 13.3: no parallax without baseline
    moved = np.column_stack([points[:, :2], np.ones(len(points))]) @ H01.T
    return np.asarray(np.linalg.norm(moved[:, :2] / moved[:, 2:] - points[:, 2:], axis=1))


def read_posed_frames(path: Path, intrinsics: str) -> PosedFrames:
    """Poses in KITTI's text, line i = the 3x4 camera-to-world matrix of frame i, and `fx,fy,cx,cy`.

    Raises:
        InvalidInput: unreadable or malformed; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").rstrip().splitlines()
    except OSError as error:
        raise InvalidInput(f"{path}: cannot read the poses ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not a text of poses") from error
    if not lines:
        raise InvalidInput(f"{path}: holds no poses")
    poses = [_read_pose(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]
    return PosedFrames(str(path), np.stack(poses), parse_intrinsics(intrinsics))


def parse_intrinsics(text: str) -> Float64Array:
    """K [3, 3] of a text `fx,fy,cx,cy`, pixels.

    Raises:
        InvalidInput: not four numbers, or a focal length that is not positive.
    """
    try:
        fx, fy, cx, cy = (float(number) for number in text.split(","))
    except ValueError as error:
        raise InvalidInput(f"intrinsics {text!r}: expected four numbers fx,fy,cx,cy in pixels") from error
    if not (np.isfinite([fx, fy, cx, cy]).all() and min(fx, fy) > 0):
        raise InvalidInput(f"intrinsics {text!r}: focal lengths must be positive, and all four finite")
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def _read_pose(line: str, where: str) -> Float64Array:
    try:
        numbers = [float(word) for word in line.split()]
    except ValueError as error:
        raise InvalidInput(f"{where}: {error}") from error
    if len(numbers) != 12:
        raise InvalidInput(f"{where}: expected 12 numbers (a 3x4 camera-to-world matrix), got {len(numbers)}")
    pose = as_pose(numbers)
    R = pose[:3, :3]
    if not np.isfinite(pose).all() or np.abs(R @ R.T - np.eye(3)).max() > _ORTHONORMAL or np.linalg.det(R) < 0:
        raise InvalidInput(f"{where}: the first three columns are no rotation")
    return pose
