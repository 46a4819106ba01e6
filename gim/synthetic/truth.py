"""What is exactly true of a rendered clip: poses, geometry, cuts, overlays, and the error of a correspondence.

A truth file holds the geometry itself, not only the seed, so that it stays true when a generator changes.
"""

import dataclasses
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gim.errors import CorruptObject, InvalidInput, ShapeError
from gim.records import BoolArray, Float64Array, Int32Array
from gim.synthetic.camera import Camera
from gim.synthetic.raycast import BACKGROUND, cast, lift, lift_onto, project

SCHEMA = 1
EDGE_PX = 1.0  # how far from a depth edge a keypoint may be said to lie on either side
_DEPTH_SLACK = 1e-4  # relative; a surface this little nearer does not hide a point
_POSE_DECIMALS = 9
_METRE_DECIMALS = 6
_COMPASS = tuple((math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)) for k in range(8))


@dataclass(frozen=True)
class SceneTruth:
    """How a scene was generated, and its surfaces float64 [Q, 3, 3] in metres (see `raycast`)."""

    kind: str
    seed: int
    parameters: dict[str, Any]
    texels_per_metre: float
    surfaces: Float64Array


@dataclass(frozen=True)
class ShotTruth:
    """Frames between two cuts: poses T_camera_to_world, float64 [F, 4, 4], in one of the clip's scenes."""

    name: str
    first_frame: int
    scene: int
    poses: Float64Array

    @property
    def num_frames(self) -> int:
        """Frames of the shot."""
        return len(self.poses)

    @property
    def is_still(self) -> bool:
        """Whether the camera never moves."""
        return bool(np.all(self.poses == self.poses[0]))


@dataclass(frozen=True)
class Overlay:
    """Something burned into the picture: pixels x0 <= x < x1, y0 <= y < y1 show no scene."""

    first_frame: int
    num_frames: int
    box: tuple[int, int, int, int]  # x0, y0, x1, y1

    def covers(self, frame: int, points: Float64Array) -> BoolArray:
        """Which points [N, 2] of a frame lie on the overlay, bool [N]."""
        x0, y0, x1, y1 = self.box
        shown = self.first_frame <= frame < self.first_frame + self.num_frames
        x, y = points[:, 0], points[:, 1]
        inside = (x > x0 - 0.5) & (x < x1 - 0.5) & (y > y0 - 0.5) & (y < y1 - 0.5)
        return np.asarray(inside & shown, np.bool_)


@dataclass(frozen=True)
class ClipTruth:
    """Everything known of one clip. Pixels have their origin at the CENTRE of the top-left pixel."""

    fps: float
    width: int
    height: int
    K: Float64Array  # [3, 3] pixels
    scenes: tuple[SceneTruth, ...]
    shots: tuple[ShotTruth, ...]
    overlays: tuple[Overlay, ...] = ()

    @property
    def num_frames(self) -> int:
        """Frames of the clip."""
        return sum(shot.num_frames for shot in self.shots)

    def shot_at(self, frame: int) -> ShotTruth:
        """The shot that holds a frame.

        Raises:
            InvalidInput: the clip has no such frame.
        """
        for shot in self.shots:
            if shot.first_frame <= frame < shot.first_frame + shot.num_frames:
                return shot
        raise InvalidInput(f"the clip has {self.num_frames} frames, so none with index {frame}")

    def camera(self, frame: int) -> Camera:
        """The camera that saw a frame."""
        shot = self.shot_at(frame)
        return Camera(self.K, shot.poses[frame - shot.first_frame], self.width, self.height)

    def surfaces(self, frame: int) -> Float64Array:
        """The surfaces, float64 [Q, 3, 3], among which a frame was seen."""
        return self.scenes[self.shot_at(frame).scene].surfaces

    def save(self, path: Path) -> None:
        """Write the truth as one small JSON file, the same bytes for the same truth."""
        path.write_text(json.dumps(_to_document(self), separators=(",", ":"), allow_nan=False) + "\n", encoding="utf-8")

    @staticmethod
    def load(path: Path) -> "ClipTruth":
        """Read what `save` wrote.

        Raises:
            InvalidInput: there is no such file.
            CorruptObject: it is no truth of a clip, or of another version.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InvalidInput(f"{path}: cannot read the truth of a clip ({error.strerror})") from error
        except ValueError as error:
            raise CorruptObject(f"{path}: not the truth of a clip (no JSON)") from error
        if not isinstance(document, dict) or document.get("gim_clip_truth") != SCHEMA:
            raise CorruptObject(f"{path}: not the truth of a clip of version {SCHEMA}")
        try:
            return _from_document(document)
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptObject(f"{path}: the truth of a clip with a missing or malformed field ({error})") from error


def transfer(
    surfaces: Float64Array, camera0: Camera, camera1: Camera, points0: Float64Array
) -> tuple[Float64Array, BoolArray]:
    """Where the surface points seen at given pixels of camera 0 lie in camera 1.

    Args:
        surfaces: float64 [Q, 3, 3].
        camera0: the view of `points0`.
        camera1: the other view.
        points0: float64 [N, 2] pixels.

    Returns:
        float64 [N, 2] pixels in camera 1, nan where camera 0 sees no surface or the point lies behind camera 1; bool
        [N] whether camera 1 sees that point: inside its image and hidden by nothing.
    """
    points0 = np.asarray(points0, np.float64)
    _, depth0 = cast(surfaces, camera0, points0)
    points1, depth1 = project(camera1, lift(camera0, points0, depth0))
    visible = camera1.contains(points1)
    nearest = cast(surfaces, camera1, points1[visible])[1]
    visible[visible] = nearest >= depth1[visible] * (1 - _DEPTH_SLACK)
    return points1, visible


def correspondence_error_px(
    truth: ClipTruth, frame0: int, frame1: int, correspondences: Float64Array, *, edge_px: float = EDGE_PX
) -> Float64Array:
    """How far correspondences are from the truth.

    A correspondence is measured on one surface: point 0 is carried over to frame 1 on that surface's plane and compared
    with point 1, point 1 is carried back and compared with point 0, and the larger distance counts. The surface must
    be seen within `edge_px` of BOTH points. Away from depth edges only one surface qualifies and the error is the plain
    transfer distance. At a depth edge a keypoint found with sub-pixel noise lies on the near or the far side by chance,
    and reading the depth at that pixel would call a perfect correspondence of the edge wrong by the whole parallax; so
    each surface seen there may explain the pair, and the best does.

    Args:
        truth: of the clip.
        frame0: index of the first frame.
        frame1: index of the second frame.
        correspondences: float [N, 4], rows (x0, y0, x1, y1), pixels.
        edge_px: see above; 0 measures with the exact surface at the exact pixel.

    Returns:
        float64 [N] pixels; inf for a point on the sky or an overlay, a surface hidden in the other frame, or frames on
        two sides of a cut.

    Raises:
        ShapeError: `correspondences` is not [N, 4].
        InvalidInput: the clip has no such frame.
    """
    points = np.asarray(correspondences, np.float64)
    if points.ndim != 2 or points.shape[1] != 4:
        raise ShapeError(f"expected correspondences [N, 4], got {points.shape}")
    error = np.full(len(points), np.inf)
    if truth.shot_at(frame0) is not truth.shot_at(frame1):
        return error
    surfaces, camera0, camera1 = truth.surfaces(frame0), truth.camera(frame0), truth.camera(frame1)
    points0, points1 = points[:, :2], points[:, 2:]
    seen0 = _surfaces_around(surfaces, camera0, points0, edge_px)
    seen1 = _surfaces_around(surfaces, camera1, points1, edge_px)
    for rows, candidate in _candidates(seen0, seen1):
        there, back = points0[rows], points1[rows]
        forward = _carry(surfaces, camera0, camera1, there, candidate) - back
        backward = _carry(surfaces, camera1, camera0, back, candidate) - there
        distance = np.maximum(np.linalg.norm(forward, axis=1), np.linalg.norm(backward, axis=1))
        error[rows] = np.fmin(error[rows], distance)
    for overlay in truth.overlays:
        error[overlay.covers(frame0, points0) | overlay.covers(frame1, points1)] = np.inf
    return error


def _surfaces_around(surfaces: Float64Array, camera: Camera, points: Float64Array, radius_px: float) -> Int32Array:
    """Surfaces seen at each point and around it, int32 [9, N]; outside the image nothing is seen."""
    offsets = np.array([(0.0, 0.0), *_COMPASS]) * radius_px if radius_px else np.zeros((1, 2))
    around = (points[None] + offsets[:, None]).reshape(-1, 2)
    found = np.where(camera.contains(around), cast(surfaces, camera, around)[0], BACKGROUND)
    return np.asarray(found.reshape(len(offsets), -1), np.int32)


def _candidates(seen0: Int32Array, seen1: Int32Array) -> Iterator[tuple[Int32Array, Int32Array]]:
    """(rows, surface of each row) of everything seen at both ends, each surface once per row."""
    for k, candidate in enumerate(seen0):
        new = (candidate != BACKGROUND) & (seen0[:k] != candidate).all(axis=0) & (seen1 == candidate).any(axis=0)
        rows = np.flatnonzero(new)
        if len(rows):
            yield rows.astype(np.int32), candidate[rows]


def _carry(
    surfaces: Float64Array, camera0: Camera, camera1: Camera, points0: Float64Array, index: Int32Array
) -> Float64Array:
    return project(camera1, lift_onto(surfaces, camera0, points0, index))[0]


def _to_document(truth: ClipTruth) -> dict[str, Any]:
    return {
        "gim_clip_truth": SCHEMA,
        "fps": truth.fps,
        "width": truth.width,
        "height": truth.height,
        "K": truth.K.tolist(),
        "scenes": [
            dataclasses.asdict(scene) | {"surfaces": _rows(scene.surfaces, _METRE_DECIMALS)} for scene in truth.scenes
        ],
        "shots": [
            {"name": shot.name, "first_frame": shot.first_frame, "scene": shot.scene}
            | {"poses": _rows(shot.poses[:, :3], _POSE_DECIMALS)}  # camera to world, three rows of four, as KITTI
            for shot in truth.shots
        ],
        "overlays": [dataclasses.asdict(overlay) for overlay in truth.overlays],
    }


def _from_document(document: dict[str, Any]) -> ClipTruth:
    scenes = tuple(
        SceneTruth(**scene | {"surfaces": np.array(scene["surfaces"], np.float64).reshape(-1, 3, 3)})
        for scene in document["scenes"]
    )
    shots = tuple(ShotTruth(**shot | {"poses": _poses(shot["poses"])}) for shot in document["shots"])
    overlays = tuple(Overlay(**overlay | {"box": tuple(overlay["box"])}) for overlay in document["overlays"])
    K = np.array(document["K"], np.float64).reshape(3, 3)
    size = (int(document["width"]), int(document["height"]))
    return ClipTruth(float(document["fps"]), *size, K, scenes, shots, overlays)


def _rows(array: Float64Array, decimals: int) -> list[list[float]]:
    flat: list[list[float]] = (np.round(array.reshape(len(array), -1), decimals) + 0.0).tolist()  # + 0.0: no "-0.0"
    return flat


def _poses(rows: list[list[float]]) -> Float64Array:
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3] = np.array(rows, np.float64).reshape(-1, 3, 4)
    return poses
