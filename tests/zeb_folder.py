"""A small ZEB, rendered with exact cameras, in the published layout. Not a test; used by tests of the evaluator."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from pathlib import Path

from gim import codecs
from gim.benchmarks.zeb import dataset_named
from gim.geometry.pose import relative_pose
from gim.synthetic.camera import Camera, intrinsics
from gim.synthetic.render import render_frame
from tests.synthetic import world_and_path
from tests.zeb_files import pair_text

SIZE = (200, 150)  # width and height of a view
NUM_VIEWS = 4
NUM_PAIRS = NUM_VIEWS * (NUM_VIEWS - 1)  # of a scene: every two views, both ways round
# What texts call the views. These datasets have unlike separators, identifiers and sizes, and one is padded.
_WORDS = {"gl3d": "{:08d}.jpg", "kitti": "{:06d}.png", "scenenet": "{}", "robotcarnight": "{:016d}"}


@dataclass(frozen=True)
class RenderedView:
    """An image with its camera."""

    png: bytes
    camera: Camera


@cache
def rendered_views() -> tuple[RenderedView, ...]:
    """Views of a room along a path, rendered once per process."""
    scene, path = world_and_path("room", 0)
    cameras = [Camera(intrinsics(*SIZE, 65.0), path(0.4 * index), *SIZE) for index in range(NUM_VIEWS)]
    images = [render_frame(scene, camera, supersample=1) for camera in cameras]
    return tuple(RenderedView(codecs.encode_png(image), camera) for image, camera in zip(images, cameras, strict=True))


def write_zeb(
    root: Path, folders: Sequence[str] = ("gl3d", "kitti"), *, scenes: Sequence[str] = ("hall",), num_pairs: int = 0
) -> Path:
    """Write datasets: the same views in each, under the dataset's own names.

    Args:
        root: the folder of all datasets.
        folders: of datasets, some of `_WORDS`.
        scenes: their names; all look alike.
        num_pairs: of a scene, the nearest views first; all by default.
    """
    for folder in folders:
        for scene in scenes:
            _write_scene(root / folder, scene, num_pairs or NUM_PAIRS)
    return root


def _write_scene(place: Path, scene: str, num_pairs: int) -> None:
    place.mkdir(parents=True, exist_ok=True)
    dataset, views = dataset_named(place.name), rendered_views()
    words = [_WORDS[place.name].format(index) for index in range(len(views))]
    for word, view in zip(words, views, strict=True):
        (place / dataset.image_file(scene, word)).write_bytes(view.png)
    both_ways = sorted(permutations(range(len(views)), 2), key=lambda pair: abs(pair[0] - pair[1]))
    for index0, index1 in both_ways[:num_pairs]:
        camera0, camera1 = views[index0].camera, views[index1].camera
        T_0to1 = relative_pose(camera0.T_camera_to_world, camera1.T_camera_to_world)
        overlap = 1 - 0.2 * abs(index0 - index1)
        line = pair_text(
            words[index0], words[index1], overlaps=(overlap, overlap), cameras=(camera0.K, camera1.K, T_0to1)
        )
        name = dataset.separator.join([scene, Path(words[index0]).stem, Path(words[index1]).stem])
        (place / f"{name}.txt").write_text(line + "\n", encoding="utf-8")
