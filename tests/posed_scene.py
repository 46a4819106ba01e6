"""A small posed benchmark folder, rendered with exact cameras. Not a test; used by tests of the evaluator."""

import shutil
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import numpy as np

from gim import codecs
from gim.geometry.pose import relative_pose
from gim.records import Float64Array
from gim.synthetic.camera import Camera, intrinsics
from gim.synthetic.render import render_frame
from tests.synthetic import world_and_path

_SIZE = (200, 150)
_NUM_VIEWS = 4


def write_scene(folder: Path, *, num_pairs: int = 3, seed: int = 0) -> Path:
    """Write `pairs.txt` and its images into a new folder: pairs of views along a path, both ways."""
    (folder / "images").mkdir(parents=True)
    scene, path = world_and_path("room", seed)
    K = intrinsics(*_SIZE, 65.0)
    views = [Camera(K, path(0.4 * index), *_SIZE) for index in range(_NUM_VIEWS)]
    for index, view in enumerate(views):
        image = render_frame(scene, view, supersample=1)
        (folder / "images" / f"{index}.png").write_bytes(codecs.encode_png(image))
    both_ways = sorted(permutations(range(_NUM_VIEWS), 2), key=lambda pair: abs(pair[0] - pair[1]))
    lines = [
        pair_line(f"images/{i}.png", f"images/{j}.png", K, K, relative_pose(*_poses(views[i], views[j])))
        for i, j in both_ways[:num_pairs]
    ]
    write_pairs(folder, lines)
    return folder


def write_many(folder: Path, copies: int = 5) -> Path:
    """Twelve such pairs several times under other names."""
    rows = (write_scene(folder, num_pairs=12) / "pairs.txt").read_text().splitlines()[1:]
    for image in list((folder / "images").iterdir()):
        for copy in range(copies):
            shutil.copy(image, image.with_name(f"{copy}-{image.name}"))
    write_pairs(folder, [row.replace("images/", f"images/{copy}-") for copy in range(copies) for row in rows])
    return folder


def _poses(*views: Camera) -> list[Float64Array]:
    return [view.T_camera_to_world for view in views]


def write_pairs(folder: Path, lines: Sequence[str]) -> Path:
    """Write `pairs.txt`."""
    path = folder / "pairs.txt"
    path.write_text("\n".join(["# image0 image1 K0(9) K1(9) T_0to1(16) overlap", *lines, ""]))
    return path


def pair_line(image0: str, image1: str, K0: Float64Array, K1: Float64Array, T_0to1: Float64Array) -> str:
    """One line of `pairs.txt`; numbers are read back as they are."""
    numbers = np.concatenate([matrix.ravel() for matrix in (K0, K1, T_0to1)])
    return " ".join([image0, image1, *(repr(float(number)) for number in numbers), "nan"])


def some_pairs(source: Path, folder: Path, *, every: int) -> Path:
    """A folder with every n-th pair of a posed folder, and links to its images."""
    folder.mkdir()
    rows = [line for line in (source / "pairs.txt").read_text().splitlines() if not line.startswith("#")]
    write_pairs(folder, rows[::every])
    (folder / "images").symlink_to(source / "images")
    return folder
