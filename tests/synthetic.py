"""Exact input for tests: textured image pairs with known geometry, and tracks of points without any image.

    from tests.synthetic import planar_pair, posed_pair, random_tracks, small_clip

Thin conveniences over `gim.synthetic`; everything is a pure function of its arguments.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from gim.records import BoolArray, Float64Array, Int32Array, Int64Array, Uint8Array
from gim.synthetic import camera as cameras
from gim.synthetic.camera import Camera, intrinsics
from gim.synthetic.clip import ClipPlan, ShotPlan, write_clip
from gim.synthetic.materials import Material, paint
from gim.synthetic.raycast import project
from gim.synthetic.render import render_frame
from gim.synthetic.scene import Scene
from gim.synthetic.truth import ClipTruth, transfer
from gim.synthetic.worlds import generate

Size = tuple[int, int]  # width, height


@dataclass(frozen=True)
class PlanarPair:
    """Two pictures of one plane; `H_0to1` takes pixels of image 0 to image 1."""

    image0: Uint8Array  # RGB [H, W, 3]
    image1: Uint8Array
    H_0to1: Float64Array

    def transfer(self, points0: Float64Array) -> Float64Array:
        """Where points [N, 2] of image 0 lie in image 1."""
        moved = np.column_stack([points0, np.ones(len(points0))]) @ self.H_0to1.T
        return np.asarray(moved[:, :2] / moved[:, 2:], np.float64)


@dataclass(frozen=True)
class PosedPair:
    """Two views of a scene in space."""

    image0: Uint8Array  # RGB [H, W, 3]
    image1: Uint8Array
    camera0: Camera
    camera1: Camera
    surfaces: Float64Array

    @property
    def T_0to1(self) -> Float64Array:  # noqa: N802
        """Takes points of camera 0 into camera 1, [4, 4], metres."""
        return np.asarray(np.linalg.inv(self.camera1.T_camera_to_world) @ self.camera0.T_camera_to_world, np.float64)

    @property
    def F01(self) -> Float64Array:  # noqa: N802
        """The true fundamental matrix [3, 3], pixels, norm 1: x1' F01 x0 = 0."""
        (R, t) = self.T_0to1[:3, :3], self.T_0to1[:3, 3]
        cross = np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]])
        F01 = np.linalg.inv(self.camera1.K).T @ cross @ R @ np.linalg.inv(self.camera0.K)
        return np.asarray(F01 / np.linalg.norm(F01), np.float64)

    def transfer(self, points0: Float64Array) -> tuple[Float64Array, BoolArray]:
        """Where points [N, 2] of image 0 lie in image 1, and whether they are seen there."""
        return transfer(self.surfaces, self.camera0, self.camera1, points0)

    def correspondences(self, num: int, seed: int = 0) -> Float64Array:
        """Exact rows (x0, y0, x1, y1) of random points seen in both images, at most `num`."""
        rng = np.random.default_rng(seed)
        points0 = rng.uniform(0, (self.camera0.width - 1, self.camera0.height - 1), (4 * num, 2))
        points1, visible = self.transfer(points0)
        return np.hstack([points0, points1])[visible][:num]


@dataclass(frozen=True)
class Tracks:
    """Points of a cloud seen over time: what a perfect, noisy or broken matcher would find in every frame.

    `keypoints[f]` float64 [N_f, 2] pixels and `ids[f]` int64 [N_f], ascending, are of frame f; equal ids are the same
    point in space. `is_outlier[f]` marks positions that were replaced by nonsense, `exact[f]` has the true positions.
    """

    keypoints: list[Float64Array]
    ids: list[Int64Array]
    is_outlier: list[BoolArray]
    exact: list[Float64Array]
    cameras: list[Camera]
    world: Float64Array  # [P, 3]

    def matches(self, frame0: int, frame1: int) -> Int32Array:
        """Index pairs int32 [M, 2] into the keypoints of two frames that bear the same id."""
        _, index0, index1 = np.intersect1d(self.ids[frame0], self.ids[frame1], assume_unique=True, return_indices=True)
        return np.column_stack([index0, index1]).astype(np.int32)

    def correspondences(self, frame0: int, frame1: int) -> Float64Array:
        """Rows (x0, y0, x1, y1) of `matches`, float64 [M, 4]."""
        matches = self.matches(frame0, frame1)
        return np.hstack([self.keypoints[frame0][matches[:, 0]], self.keypoints[frame1][matches[:, 1]]])

    def fundamental(self, frame0: int, frame1: int) -> Float64Array:
        """The true F01 [3, 3] of two frames, norm 1."""
        empty = np.zeros((1, 1, 3), np.uint8)
        return PosedPair(empty, empty, self.cameras[frame0], self.cameras[frame1], np.zeros((0, 3, 3))).F01


def planar_pair(
    seed: int = 0,
    *,
    size: Size = (320, 240),
    shift: tuple[float, float] = (6.0, 4.0),
    turn_deg: float = 0.0,
    zoom: float = 1.0,
    tilt: float = 0.0,
) -> PlanarPair:
    """A poster wall and the same shifted, turned, zoomed about its middle and tilted (perspective, 0 to 0.3)."""
    width, height = size
    texture = paint(Material("poster", seed), (2.0 * width / 100, 2.0 * height / 100), 200.0)
    middle = _translation((width - 1) / 2, (height - 1) / 2)
    c, s = zoom * np.cos(np.radians(turn_deg)), zoom * np.sin(np.radians(turn_deg))
    move = np.array([[c, -s, shift[0]], [s, c, shift[1]], [tilt / width, 0.0, 1.0]])
    H_0to1 = middle @ move @ np.linalg.inv(middle)
    from_texture = (
        middle @ np.diag([0.5, 0.5, 1.0]) @ _translation(-(texture.shape[1] - 1) / 2, -(texture.shape[0] - 1) / 2)
    )
    return PlanarPair(_warp(texture, from_texture, size), _warp(texture, H_0to1 @ from_texture, size), H_0to1)


def _translation(x: float, y: float) -> Float64Array:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def _warp(texture: Uint8Array, H: Float64Array, size: Size) -> Uint8Array:
    """Warp at twice the resolution and average, so that the texture is not aliased."""
    double = np.array([[2.0, 0.0, 0.5], [0.0, 2.0, 0.5], [0.0, 0.0, 1.0]])
    fine = cv2.warpPerspective(texture, double @ H, (2 * size[0], 2 * size[1]), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA), np.uint8)


def posed_pair(
    kind: str = "room", seed: int = 0, *, size: Size = (320, 240), gap_seconds: float = 0.5, start_seconds: float = 0.0
) -> PosedPair:
    """Two views of a world, `gap_seconds` apart on its path (see `world_and_path`)."""
    scene, path = world_and_path(kind, seed)
    K = intrinsics(*size, 65.0)
    camera0, camera1 = (Camera(K, path(start_seconds + t), *size) for t in (0.0, gap_seconds))
    images = [render_frame(scene, camera, supersample=2) for camera in (camera0, camera1)]
    return PosedPair(images[0], images[1], camera0, camera1, scene.geometry)


def world_and_path(kind: str, seed: int = 0) -> tuple[Scene, cameras.Path]:
    """A world at a resolution that paints quickly, and a path through it."""
    if kind == "room":
        return generate("room", seed, texels_per_metre=72.0), cameras.orbit((0.0, 0.0, 1.0), radius=2.1, height=0.6)
    if kind == "street":
        scene = generate("street", seed, length=24.0, texels_per_metre=40.0)
        return scene, cameras.walk((2.0, -0.9, 1.65), speed=0.8, gaze_deg=(60.0, 3.0), sway=0.5)
    scene = generate("terrain", seed, texels_per_metre=16.0)
    return scene, cameras.strafe((-17.0, 3.0, 13.0), pitch_deg=-42.0, speed=2.5)


def random_tracks(
    seed: int = 0,
    *,
    num_points: int = 1000,
    num_frames: int = 12,
    seconds_per_frame: float = 0.2,
    size: Size = (640, 480),
    path: cameras.Path | None = None,
    noise_px: float = 0.0,
    outlier_share: float = 0.0,
    dropout_share: float = 0.0,
    occlusion_share: float = 0.0,
) -> Tracks:
    """Points of a random cloud over a camera path, as keypoints with exact ids.

    Args:
        seed: of everything random.
        num_points: in the cloud; a frame sees about a third of them.
        num_frames: along the path.
        seconds_per_frame: between frames.
        size: of the image, pixels.
        path: of the camera; a sideways walk by default. The cloud fills what the first frame sees, 4 to 20 m deep,
            and as much again on both sides.
        noise_px: standard deviation of positions, independent in every frame.
        outlier_share: of positions replaced by a random place in the image.
        dropout_share: of keypoints missing in a frame, independent in every frame.
        occlusion_share: of points that are hidden during one random run of frames.
    """
    rng = np.random.default_rng(seed)
    path = path or cameras.strafe((0.0, 0.0, 1.6), speed=1.0)
    K = intrinsics(*size, 65.0)
    views = [Camera(K, path(frame * seconds_per_frame), *size) for frame in range(num_frames)]
    world = _cloud(rng, views[0], num_points)
    starts, ends = np.sort(rng.integers(0, num_frames + 1, (2, num_points)), axis=0)
    hides = rng.random(num_points) < occlusion_share
    tracks = Tracks([], [], [], [], views, world)
    for frame, view in enumerate(views):
        exact, _ = project(view, world)
        seen = view.contains(exact) & (rng.random(num_points) >= dropout_share)
        seen &= ~(hides & (starts <= frame) & (frame < ends))
        outlier = rng.random(num_points) < outlier_share
        found = exact + rng.normal(0.0, 1.0, exact.shape) * noise_px
        found[outlier] = rng.uniform(0, (size[0] - 1, size[1] - 1), (int(outlier.sum()), 2))
        tracks.keypoints.append(found[seen])
        tracks.ids.append(np.flatnonzero(seen).astype(np.int64))
        tracks.is_outlier.append(outlier[seen])
        tracks.exact.append(exact[seen])
    return tracks


def _cloud(rng: np.random.Generator, view: Camera, num_points: int) -> Float64Array:
    pixels = rng.uniform((-view.width, 0), (2 * view.width, view.height), (num_points, 2))
    depth = rng.uniform(4.0, 20.0, num_points)
    rays = np.column_stack([pixels, np.ones(num_points)]) @ view.rays().T
    return np.asarray(view.centre + depth[:, None] * rays, np.float64)


def small_clip(
    path: Path,
    *,
    kind: str = "room",
    seed: int = 0,
    duration_seconds: float = 2.0,
    size: Size = (320, 180),
    fps: int = 15,
    logo: str = "",
    still_seconds: float = 0.0,
) -> ClipTruth:
    """Write a short mp4: one moving shot of a world, then, where asked for, a still one of another."""
    scene, move = world_and_path(kind, seed)
    parameters = {**scene.parameters, "texels_per_metre": scene.texels_per_metre}
    shots = [ShotPlan("moving", kind, seed, move, duration_seconds, parameters)]
    if still_seconds:
        still = cameras.pan((-2.6, -0.9, 1.5), yaw_deg=24.0, deg_per_second=0.0)
        shots.append(ShotPlan("still", "room", seed + 1, still, still_seconds, {"texels_per_metre": 48.0}))
    return write_clip(path, ClipPlan(tuple(shots), *size, fps, supersample=1, logo=logo), crf=20, preset="ultrafast")


def write_wall(path: Path) -> None:
    """A second of film, rendered in no time: a camera that slides along a wall full of texture."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 160, 3), dtype=np.uint8)
    wall = cv2.GaussianBlur(cv2.resize(noise, (640, 240), interpolation=cv2.INTER_CUBIC), (0, 0), 1.2)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 320, 240, "yuv420p", Fraction(1, 10)
        for index in range(12):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(wall[:, 20 * index : 20 * index + 320]), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
