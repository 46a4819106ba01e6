"""Tiny sets in the layouts of the usual two-view benchmarks, with exact truth. Not a test; used by tests of readers."""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from gim import codecs
from gim.geometry.pose import relative_pose
from gim.records import Float64Array, Uint8Array
from gim.synthetic.camera import Camera, intrinsics
from gim.synthetic.render import render_frame
from gim.synthetic.truth import transfer
from tests.synthetic import planar_pair, world_and_path

VIEW = (200, 150)  # width and height of a posed view


def grey_image(width: int, height: int) -> bytes:
    """A PNG without anything on it."""
    return codecs.encode_png(np.full((height, width, 3), 90, np.uint8))


def write_hpatches(folder: Path, names: Sequence[str], *, size: tuple[int, int] = (160, 120)) -> Path:
    """Sequences of a poster, the first image and five that are shifted, `v_` ones turned too."""
    for seed, name in enumerate(names):
        sequence = folder / name
        sequence.mkdir(parents=True)
        for other in range(2, 7):
            turn = 2.0 * other if name.startswith("v_") else 0.0
            pair = planar_pair(seed, size=size, shift=(2.0 * other, 1.0), turn_deg=turn)
            _write_ppm(sequence / "1.ppm", pair.image0)
            _write_ppm(sequence / f"{other}.ppm", pair.image1)
            np.savetxt(sequence / f"H_1_{other}", pair.H_0to1)
    return folder


def write_wxbs(folder: Path, names: Sequence[str], *, num_marked: int = 24) -> Path:
    """Pairs `<kind>/<name>` of two views of a room with marked places; the views of all are the same."""
    views, points = room_views(2), _marked(num_marked)
    for name in names:
        pair = folder / name
        pair.mkdir(parents=True)
        for number, (image, _) in enumerate(views, start=1):
            (pair / f"{number:02d}.png").write_bytes(codecs.encode_png(image))
        np.savetxt(pair / "corrs.txt", points)
    return folder


@cache
def room_views(number: int) -> list[tuple[Uint8Array, Camera]]:
    """Views of a room along a path."""
    scene, path = world_and_path("room", 0)
    cameras = [Camera(intrinsics(*VIEW, 65.0), path(0.4 * index), *VIEW) for index in range(number)]
    return [(render_frame(scene, camera, supersample=1), camera) for camera in cameras]


def poses_of(cameras: Sequence[Camera]) -> list[Float64Array]:
    """Camera to world, [4, 4] each."""
    return [np.asarray(camera.T_camera_to_world, np.float64) for camera in cameras]


def write_scene_info(
    root: Path, name: str, cameras: Sequence[Camera], paths: Sequence[str | None], pairs: Sequence[tuple[int, int]]
) -> Path:
    """LoFTR's `.npz` of a scene of MegaDepth-1500: objects in arrays, poses world to camera, absent images None."""
    poses = [np.linalg.inv(pose) for pose in poses_of(cameras)]
    path = root / name
    np.savez(
        path,
        image_paths=np.array(paths, object),
        intrinsics=_objects([camera.K for camera in cameras]),
        poses=_objects(poses),
        pair_infos=_objects([((i, j), 0.25, np.zeros((2, 2))) for i, j in pairs]),
        allow_pickle=True,
    )
    return path


def write_scannet(root: Path, cameras: Sequence[Camera], images: Sequence[bytes], *, K: Float64Array) -> Path:
    """LoFTR's form of ScanNet-1500 with one scene, frames 0, 15, 30, ... and neighbours as pairs."""
    scene = root / "scene0707_00"
    frames = [15 * index for index in range(len(cameras))]
    for folder in ("color", "pose"):
        (scene / folder).mkdir(parents=True)
    for frame, image, pose in zip(frames, images, poses_of(cameras), strict=True):
        (scene / "color" / f"{frame}.jpg").write_bytes(image)
        np.savetxt(scene / "pose" / f"{frame}.txt", pose)
    rows = [(707, 0, first, second) for first, second in pairwise(frames)]
    np.savez(root / "test.npz", name=np.array(rows, np.int64))
    np.savez(root / "intrinsics.npz", scene0707_00=K)
    return root


def calibrated_line(image0: str, image1: str, camera0: Camera, camera1: Camera, *, form: int = 36) -> str:
    """A line of `pairs_calibrated.txt` of 36 words, of 38 with two turns, or of 32 with R and t."""
    T = relative_pose(*poses_of([camera0, camera1]))
    pose = T.ravel() if form > 32 else np.concatenate([T[:3, :3].ravel(), T[:3, 3]])
    turns = np.zeros(2 if form == 38 else 0)
    numbers = np.concatenate([turns, camera0.K.ravel(), camera1.K.ravel(), pose])
    return " ".join([image0, image1, *(repr(float(number)) for number in numbers)])


def _objects(items: Sequence[object]) -> np.ndarray:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def _write_ppm(path: Path, image: Uint8Array) -> None:
    height, width = image.shape[:2]
    path.write_bytes(f"P6\n{width} {height}\n255\n".encode() + image.tobytes())


@cache
def _marked(number: int) -> Float64Array:
    scene, path = world_and_path("room", 0)
    camera0, camera1 = (Camera(intrinsics(*VIEW, 65.0), path(0.4 * index), *VIEW) for index in range(2))
    points0 = np.random.default_rng(0).uniform((0, 0), (VIEW[0] - 1, VIEW[1] - 1), (4 * number, 2))
    points1, is_visible = transfer(scene.geometry, camera0, camera1, points0)
    return np.hstack([points0, points1])[is_visible][:number]
