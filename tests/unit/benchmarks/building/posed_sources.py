"""One rendered room, written as each format that a benchmark can be built from. Not a test."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pycolmap
from scipy.spatial.transform import Rotation

from gim import codecs
from gim.records import Float32Array, Uint8Array
from gim.synthetic.camera import Camera, intrinsics
from gim.synthetic.raycast import project
from gim.synthetic.render import depth_at, render_frame
from gim.synthetic.scene import Scene
from tests.synthetic import world_and_path

SIZE = (160, 120)
NUM_VIEWS = 6
_TO_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Room:
    """Views of a room, their pictures and their exact depth."""

    scene: Scene
    cameras: tuple[Camera, ...]
    images: tuple[Uint8Array, ...]
    depths: tuple[Float32Array, ...]


@cache
def room() -> Room:
    """Six views around a room, eight degrees apart."""
    scene, path = world_and_path("room", 0)
    cameras = tuple(Camera(intrinsics(*SIZE, 65.0), path(0.8 * index), *SIZE) for index in range(NUM_VIEWS))
    images = tuple(render_frame(scene, camera, supersample=1) for camera in cameras)
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    pixels = np.column_stack([x.ravel(), y.ravel()]).astype(np.float64)
    depths = tuple(
        np.nan_to_num(depth_at(scene, camera, pixels)).reshape(SIZE[1], SIZE[0]).astype(np.float32)
        for camera in cameras
    )
    return Room(scene, cameras, images, depths)


def write_images(folder: Path) -> list[str]:
    """The pictures as PNG; their names."""
    folder.mkdir(parents=True)
    names = [f"{index:03d}.png" for index in range(NUM_VIEWS)]
    for name, image in zip(names, room().images, strict=True):
        (folder / name).write_bytes(codecs.encode_png(image))
    return names


def write_depth(folder: Path, units: float) -> Path:
    """Depth as PNG of 16 bits, named as the pictures are."""
    folder.mkdir(parents=True)
    for index, depth in enumerate(room().depths):
        assert cv2.imwrite(str(folder / f"{index:03d}.png"), np.rint(depth * units).astype(np.uint16))
    return folder


def write_kitti(folder: Path) -> Path:
    """Poses and projection matrices; the pictures are of camera 1, half a metre to the right of camera 0."""
    write_images(folder / "image_1")
    K = room().cameras[0].K
    to_camera1 = np.eye(4)
    to_camera1[0, 3] = -0.5
    rows = [(camera.T_camera_to_world @ to_camera1)[:3].ravel() for camera in room().cameras]
    (folder / "poses.txt").write_text("".join(" ".join(map(repr, row.tolist())) + "\n" for row in rows))
    P1 = K @ to_camera1[:3]
    zero = " ".join(map(repr, (K @ np.eye(4)[:3]).ravel().tolist()))
    one = " ".join(map(repr, P1.ravel().tolist()))
    (folder / "calib.txt").write_text(f"P0: {zero}\nP1: {one}\n")
    return folder


def write_tum(folder: Path) -> Path:
    """A trajectory of 100 samples a second and pictures between them, of the first view's place and the next one's."""
    names = write_images(folder / "rgb")
    write_depth(folder / "depth", 5000.0)
    lines = []
    for index, camera in enumerate(room().cameras):
        x, y, z, w = Rotation.from_matrix(camera.T_camera_to_world[:3, :3]).as_quat().tolist()
        for seconds in (index - 0.01, index + 0.01):
            place = " ".join(map(repr, camera.centre.tolist()))
            lines.append(f"{seconds:.2f} {place} {x!r} {y!r} {z!r} {w!r}\n")
    (folder / "groundtruth.txt").write_text("# timestamp tx ty tz qx qy qz qw\n" + "".join(lines))
    (folder / "rgb.txt").write_text("".join(f"{index}.0 rgb/{name}\n" for index, name in enumerate(names)))
    (folder / "depth.txt").write_text("".join(f"{index}.005 depth/{name}\n" for index, name in enumerate(names)))
    return folder


def write_transforms(folder: Path, **fields: object) -> Path:
    """OpenGL's axes, and the principal point from the corner of the top-left pixel."""
    names = write_images(folder / "images")
    write_depth(folder / "depth", 1000.0)
    K = room().cameras[0].K
    document = {
        "fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2] + 0.5, "cy": K[1, 2] + 0.5, "w": SIZE[0], "h": SIZE[1],
        **fields,
        "frames": [
            {
                "file_path": f"./images/{name}",
                "depth_file_path": f"depth/{name}",
                "transform_matrix": (camera.T_camera_to_world @ _TO_OPENGL).tolist(),
            }
            for name, camera in zip(names, room().cameras, strict=True)
        ],
    }  # fmt: skip
    (folder / "transforms.json").write_text(json.dumps(document))
    return folder


def write_colmap(folder: Path, *, num_points: int = 400, model: str = "PINHOLE") -> Path:
    """A model of points on the room's surfaces, each tracked wherever it is truly seen."""
    names = write_images(folder / "images")
    cameras = room().cameras
    K, extra = cameras[0].K, [0.1, 0.0, 0.0, 0.0] if model == "OPENCV" else []
    params = [K[0, 0], K[1, 1], K[0, 2] + 0.5, K[1, 2] + 0.5, *extra]
    reconstruction = pycolmap.Reconstruction()
    camera = pycolmap.Camera(model=model, width=SIZE[0], height=SIZE[1], params=params, camera_id=1)
    reconstruction.add_camera_with_trivial_rig(camera)
    world, seen = tracked_points(num_points)
    for index, view in enumerate(cameras):
        keypoints = project(view, world[seen[index]])[0] + 0.5
        image = pycolmap.Image(name=names[index], camera_id=1, image_id=index + 1, keypoints=keypoints)
        pose = pycolmap.Rigid3d(np.linalg.inv(view.T_camera_to_world)[:3])
        reconstruction.add_image_with_trivial_frame(image, pose)
    rank = [np.cumsum(row) - 1 for row in seen]
    for point in range(len(world)):
        elements = [pycolmap.TrackElement(i + 1, int(rank[i][point])) for i in range(NUM_VIEWS) if seen[i][point]]
        if len(elements) > 1:
            reconstruction.add_point3D(world[point], pycolmap.Track(elements), np.zeros(3, np.uint8))
    (folder / "sparse" / "0").mkdir(parents=True)
    reconstruction.write(str(folder / "sparse" / "0"))
    return folder


def tracked_points(num: int) -> tuple[np.ndarray, np.ndarray]:
    """Points [P, 3] that the views see, and bool [views, P] by which of them."""
    rng = np.random.default_rng(1)
    found = []
    for camera, depth in zip(room().cameras, room().depths, strict=True):
        column, row = rng.integers(0, SIZE[0], num // NUM_VIEWS), rng.integers(0, SIZE[1], num // NUM_VIEWS)
        pixels = np.column_stack([column, row, np.ones(len(row))])
        found.append(camera.centre + depth[row, column][:, None] * (pixels @ camera.rays().T))
    world = np.concatenate(found)
    return world, np.stack([is_seen(camera, world) for camera in room().cameras])


def is_seen(camera: Camera, world: np.ndarray) -> np.ndarray:
    """Whether points [P, 3] are seen by a view: on its image, and nothing before them."""
    pixels, depth = project(camera, world)
    inside = camera.contains(pixels)
    nearest = np.full(len(world), np.nan)
    nearest[inside] = depth_at(room().scene, camera, pixels[inside])
    with np.errstate(invalid="ignore"):
        return inside & (np.abs(depth - nearest) < 1e-3 * depth)
