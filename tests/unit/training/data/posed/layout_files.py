"""One rendered room with exact depth and poses, written in the layouts that matchers are trained on. Not a test."""

from collections.abc import Sequence
from functools import cache
from itertools import combinations
from pathlib import Path

import cv2
import h5py
import numpy as np

from gim import codecs
from gim.geometry.pixels import PixelMap
from gim.geometry.pose import relative_pose
from gim.records import Float32Array, Float64Array, Uint8Array
from gim.synthetic.render import depth_at, render_frame
from tests.posed_scene import pair_line, write_pairs
from tests.unit.benchmarks.building.posed_sources import NUM_VIEWS, SIZE, room

_ALL_PAIRS = list(combinations(range(NUM_VIEWS), 2))


def overlap_of(first: int, second: int) -> float:
    """What the lists say two views share: less, the farther they are apart."""
    return round(0.7 - 0.12 * abs(first - second), 3)


@cache
def exact_depth(index: int, size: tuple[int, int] = SIZE) -> Float32Array:
    """Depth of a view at the centres of the pixels of a map of this size, 0 where nothing is seen."""
    if size == SIZE:
        return room().depths[index]
    camera = room().cameras[index]
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    places = np.column_stack([x.ravel(), y.ravel()]).astype(np.float64)
    pixels = PixelMap.resizing((camera.width, camera.height), size).inverse()
    exact = places * (pixels.scale_x, pixels.scale_y) + (pixels.offset_x, pixels.offset_y)
    return np.nan_to_num(depth_at(room().scene, camera, exact)).reshape(size[1], size[0]).astype(np.float32)


@cache
def large_image(index: int) -> Uint8Array:
    """A view at twice the size."""
    return render_frame(room().scene, room().cameras[index].supersampled(2), supersample=1)


def write_megadepth(
    root: Path, *, scene: str = "0015", form: str = "overlap_matrix", lists: str = "output", depth_scale: int = 2
) -> Path:
    """A scene of MegaDepth; its depth maps are smaller than its images by `depth_scale`, its last image is absent."""
    images, depths = root / "Undistorted_SfM" / scene / "images", root / "MegaDepth_v1" / scene / "dense0" / "depths"
    for folder in (images, depths, root / lists):
        folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(room().images):
        (images / f"{index}.png").write_bytes(codecs.encode_png(image))
        with h5py.File(depths / f"{index}.h5", "w") as file:
            file["depth"] = exact_depth(index, (SIZE[0] // depth_scale, SIZE[1] // depth_scale))
    from_centre = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # COLMAP counts from the corner
    names = range(NUM_VIEWS)
    arrays: dict[str, object] = {
        "image_paths": _objects([*(f"Undistorted_SfM/{scene}/images/{i}.png" for i in names), None]),
        "depth_paths": _objects(
            [f"phoenix/S6/zl548/MegaDepth_v1/{scene}/dense0/depths/{i}.h5" for i in names] + [None]
        ),
        "intrinsics": _objects([*(from_centre @ camera.K for camera in room().cameras), None]),
        "poses": _objects([*(np.linalg.inv(camera.T_camera_to_world) for camera in room().cameras), None]),
    }
    if form == "overlap_matrix":
        matrix = np.full((NUM_VIEWS + 1, NUM_VIEWS + 1), -1.0)
        for i, j in _ALL_PAIRS:
            matrix[i, j] = overlap_of(i, j)
        arrays["overlap_matrix"] = matrix
    elif form == "pair_infos":
        rows = [((i, j), overlap_of(i, j), np.zeros((2, 2))) for i, j in _ALL_PAIRS]
        arrays["pair_infos"] = _objects(rows)
    else:
        arrays |= {"pairs": np.array(_ALL_PAIRS), "overlaps": np.array([overlap_of(i, j) for i, j in _ALL_PAIRS])}
    np.savez(root / lists / f"{scene}.npz", allow_pickle=True, **arrays)
    return root


def write_scannet(root: Path, *, scene: str = "scene0038_02", in_scene: bool = False) -> Path:
    """A scene of ScanNet, frames 0, 10, 20, ...: colour twice as large as depth, and of frame 50 no pose."""
    folder, lists = root / "train" / scene, root / "train_scene_info" / "npz"
    for path in (folder / "color", folder / "depth", folder / "pose", lists):
        path.mkdir(parents=True, exist_ok=True)
    for index, camera in enumerate(room().cameras):
        frame = 10 * index
        (folder / "color" / f"{frame}.jpg").write_bytes(
            codecs.encode_png(large_image(index))
        )  # not lossy, whatever it is called
        depth = np.rint(1000 * exact_depth(index)).astype(np.uint16)
        assert cv2.imwrite(str(folder / "depth" / f"{frame}.png"), depth)
        pose = camera.T_camera_to_world if frame < 50 else np.full((4, 4), -np.inf)
        np.savetxt(folder / "pose" / f"{frame}.txt", pose)
    pairs = [(10 * i, 10 * j) for i, j in _ALL_PAIRS] + [(5, 10)]
    number, part = int(scene[5:9]), int(scene[10:])
    scores = [overlap_of(i // 10, j // 10) for i, j in pairs]
    np.savez(lists / f"{scene}.npz", name=np.array([(number, part, i, j) for i, j in pairs]), score=np.array(scores))
    K = np.eye(4)
    K[:3, :3] = room().cameras[0].K
    if in_scene:
        (folder / "intrinsic").mkdir(exist_ok=True)
        np.savetxt(folder / "intrinsic" / "intrinsic_depth.txt", K)
    else:
        np.savez(root / "intrinsics.npz", **{scene: K[:3, :3]})
    return root


def write_folder(root: Path, *, suffix: str = ".npy") -> Path:
    """`pairs.txt`, images, and depth named as they are; the last depth map knows nothing."""
    (root / "images").mkdir(parents=True)
    (root / "depth").mkdir()
    for index, image in enumerate(room().images):
        (root / "images" / f"{index}.png").write_bytes(codecs.encode_png(image))
        depth = exact_depth(index) if index + 1 < NUM_VIEWS else np.zeros(SIZE[::-1], np.float32)
        if suffix == ".npy":
            np.save(root / "depth" / f"{index}.npy", depth)
        else:
            assert cv2.imwrite(str(root / "depth" / f"{index}.png"), np.rint(5000 * depth).astype(np.uint16))
    write_pairs(root, [_line(i, j) for i, j in _ALL_PAIRS])
    return root


def _line(first: int, second: int) -> str:
    cameras = room().cameras
    T_0to1 = relative_pose(cameras[first].T_camera_to_world, cameras[second].T_camera_to_world)
    names = (f"images/{first}.png", f"images/{second}.png")
    line = pair_line(*names, cameras[first].K, cameras[second].K, T_0to1)
    return line.removesuffix("nan") + str(overlap_of(first, second)) if first else line


def _objects(items: Sequence[object]) -> np.ndarray:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def carry(sample_points: Float64Array, H: Float64Array) -> Float64Array:
    """Points [N, 2] under a homography."""
    moved = np.column_stack([sample_points, np.ones(len(sample_points))]) @ np.asarray(H).T
    return moved[:, :2] / moved[:, 2:]
