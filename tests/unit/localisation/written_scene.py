"""A rendered room as the folders of Aachen Day-Night v1.1 and of InLoc: exact cameras, points and scans. Not a test."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pycolmap
from scipy.io import savemat

from gim import codecs
from gim.localisation.submission import write_submission
from gim.records import Float64Array, Uint8Array
from gim.synthetic.camera import Camera, intrinsics
from gim.synthetic.raycast import lift, project
from gim.synthetic.render import depth_at, render_frame
from tests.synthetic import world_and_path

SIZE = (240, 180)
FOV_DEG = float(np.degrees(2 * np.arctan(0.5 / (28 / 36))))  # InLoc's phone: a focal length of 28/36 of the width
DATABASE = 5
QUERIES = ("query/day/milestone/a.jpg", "query/night/nexus5x/b.jpg")
_SCAN_TO_BUILDING = np.array([[0.0, -1, 0, 5], [1, 0, 0, -2], [0, 0, 1, 1], [0, 0, 0, 1]])


@dataclass(frozen=True)
class View:
    """A rendered view and its depth at every pixel."""

    camera: Camera
    image: Uint8Array
    places: Float64Array  # [H, W, 3] world


@cache
def views() -> tuple[list[View], list[View]]:
    """Views of the database along a path, and those of the queries between them."""
    scene, path = world_and_path("room", 0)
    grid = np.stack(np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1])), axis=-1).reshape(-1, 2).astype(np.float64)

    def view(seconds: float) -> View:
        camera = Camera(intrinsics(*SIZE, FOV_DEG), path(seconds), *SIZE)
        places = lift(camera, grid, depth_at(scene, camera, grid)).reshape(SIZE[1], SIZE[0], 3)
        return View(camera, render_frame(scene, camera, supersample=1), places)

    return [view(0.35 * index) for index in range(DATABASE)], [view(0.5), view(1.25)]


def world_to_camera(camera: Camera) -> Float64Array:
    """[4, 4]."""
    return np.asarray(np.linalg.inv(camera.T_camera_to_world))


def write_aachen(root: Path) -> Path:
    """Write the folder, with `pairs-query-all.txt` and `truth.txt`."""
    database, queries = views()
    names = [f"db/{index}.jpg" for index in range(DATABASE)]
    images = root / "images" / "images_upright"
    for name, view in zip([*names, *QUERIES], [*database, *queries], strict=True):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_bytes(codecs.encode_jpeg(view.image))
    _write_model(root / "3D-models" / "aachen_v_1_1", names, database)
    (root / "queries").mkdir()
    for time_of_day, name in zip(("day", "night"), QUERIES, strict=True):
        focal = float(queries[0].camera.K[0, 0])
        line = f"{name} SIMPLE_RADIAL {SIZE[0]} {SIZE[1]} {focal!r} {SIZE[0] / 2} {SIZE[1] / 2} 0\n"
        (root / "queries" / f"{time_of_day}_time_queries_with_intrinsics.txt").write_text(line)
    _write_pairs(root, QUERIES, names)
    write_submission(root / "truth.txt", dict(zip(QUERIES, (world_to_camera(v.camera) for v in queries), strict=True)))
    return root


def write_inloc(root: Path) -> Path:
    """Write the folder, with `pairs-query-all.txt` and `truth.txt`; the building's axes are not the scan's."""
    database, queries = views()
    names = [f"database/cutouts/DUC1/024/DUC_cutout_024_{30 * index}_0.jpg" for index in range(DATABASE)]
    asked = [f"query/iphone7/IMG_{index:04d}.JPG" for index in range(len(queries))]
    for name, view in zip([*names, *asked], [*database, *queries], strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(codecs.encode_jpeg(view.image))
    for name, view in zip(names, database, strict=True):
        holes = view.places.copy()
        holes[::16, ::16] = np.nan  # a laser misses some
        savemat(root / f"{name}.mat", {"XYZcut": holes})
    transformations = root / "database" / "alignments" / "DUC1" / "transformations"
    transformations.mkdir(parents=True)
    before, after = (_matrix_text(matrix) for matrix in (np.eye(4), _SCAN_TO_BUILDING))
    (transformations / "DUC_trans_024.txt").write_text(f"before GICP\n{before}\n\nafter GICP\n{after}\n")
    _write_pairs(root, asked, names)
    to_scan = np.linalg.inv(_SCAN_TO_BUILDING)
    poses = {name: world_to_camera(view.camera) @ to_scan for name, view in zip(asked, queries, strict=True)}
    write_submission(root / "truth.txt", poses)
    return root


def _matrix_text(matrix: Float64Array) -> str:
    return "\n".join(" ".join(f"{number:.9f}" for number in row) for row in matrix)


def _write_pairs(root: Path, queries: tuple[str, ...] | list[str], names: list[str]) -> None:
    (root / "pairs-query-all.txt").write_text("".join(f"{query} {name}\n" for query in queries for name in names))


def _write_model(folder: Path, names: list[str], database: list[View]) -> None:
    """Exact points that several views see, each view's pixels a keypoint."""
    model = pycolmap.Reconstruction()
    focal = database[0].camera.K[0, 0]
    camera = pycolmap.Camera(
        model="PINHOLE", width=SIZE[0], height=SIZE[1], params=[focal, focal, SIZE[0] / 2, SIZE[1] / 2]
    )
    camera.camera_id = 1
    model.add_camera_with_trivial_rig(camera)
    world = np.concatenate([view.places[::24, ::24].reshape(-1, 3) for view in database])
    seen = [_sees(view, world) for view in database]
    indices = []
    for number, (name, view, mask) in enumerate(zip(names, database, seen, strict=True), start=1):
        pixels = project(view.camera, world[mask])[0] + 0.5
        image = pycolmap.Image(name=name, keypoints=pixels, camera_id=1, image_id=number)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(world_to_camera(view.camera)[:3]))
        indices.append(np.cumsum(mask) - 1)
    for row in np.flatnonzero(np.sum(seen, axis=0) >= 2):
        elements = [pycolmap.TrackElement(v + 1, int(indices[v][row])) for v in range(len(seen)) if seen[v][row]]
        model.add_point3D(world[row], pycolmap.Track(elements), np.zeros(3, np.uint8))
    folder.mkdir(parents=True)
    model.write_binary(str(folder))


def _sees(view: View, world: Float64Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    pixels, depth = project(view.camera, world)
    inside = view.camera.contains(pixels)
    columns, rows = np.rint(np.where(inside[:, None], pixels, 0)).astype(int).clip(0, (SIZE[0] - 1, SIZE[1] - 1)).T
    distance = np.linalg.norm(view.places[rows, columns] - world, axis=1)
    return np.asarray(inside & (depth > 0) & (distance < 0.05), np.bool_)
