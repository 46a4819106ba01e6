"""MegaDepth-1500 in both of its forms: cameras that are right, and files that are not."""

from pathlib import Path

import numpy as np
import pytest

from gim.benchmarks.megadepth1500 import SCENE_INFO, read_megadepth1500, scene_of
from gim.errors import InvalidInput
from gim.geometry.pose import relative_pose
from gim.synthetic.camera import Camera, intrinsics
from tests.synthetic import world_and_path
from tests.two_view_sets import calibrated_line, grey_image, poses_of, write_scene_info

PATHS = [f"Undistorted_SfM/0022/images/{index}.jpg" for index in range(3)]


@pytest.fixture(scope="module")
def cameras() -> list[Camera]:
    _, path = world_and_path("room", 0)
    return [Camera(intrinsics(80 + index, 60, 65.0), path(0.4 * index), 80, 60) for index in range(3)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in PATHS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(grey_image(8, 6))
    return tmp_path


def write(root: Path, cameras: list[Camera], **changes: object) -> Path:
    given = {"paths": [*PATHS, None], "pairs": [(0, 1), (2, 0)], "name": "0022_0.1_0.3.npz"} | changes
    (root / SCENE_INFO).mkdir(exist_ok=True)
    return write_scene_info(
        root / SCENE_INFO,
        str(given["name"]),
        [*cameras, cameras[0]],
        given["paths"],
        given["pairs"],  # type: ignore[arg-type]
    )


def test_a_scene_of_loftr_has_its_pairs(root: Path, cameras: list[Camera]) -> None:
    write(root, cameras)
    write(root, cameras, name="0015_0.1_0.3.npz", pairs=[(1, 2)])
    pairs = read_megadepth1500(root)
    images = [(pair.image0, pair.image1) for pair in pairs]
    assert images == [(PATHS[1], PATHS[2]), (PATHS[0], PATHS[1]), (PATHS[2], PATHS[0])]
    poses = poses_of(cameras)
    np.testing.assert_allclose(pairs[2].T_0to1, relative_pose(poses[2], poses[0]), atol=1e-12)
    np.testing.assert_array_equal(pairs[2].K0, cameras[2].K)
    np.testing.assert_array_equal(pairs[2].K1, cameras[0].K)
    assert pairs[2].overlap == 0.25
    assert scene_of(pairs[2]) == "0022"


def test_scene_files_may_lie_elsewhere(root: Path, cameras: list[Camera]) -> None:
    write(root, cameras)
    elsewhere = root.parent / f"{root.name}-lists"
    (root / SCENE_INFO).rename(elsewhere)
    assert len(read_megadepth1500(root, elsewhere)) == 2
    with pytest.raises(InvalidInput, match=r"holds no .npz file of a scene"):
        read_megadepth1500(root, root)


@pytest.mark.parametrize("form", [32, 36, 38])
def test_a_calibrated_list_has_the_same_cameras(root: Path, cameras: list[Camera], form: int) -> None:
    line = calibrated_line("a.jpg", "b.jpg", cameras[0], cameras[1], form=form)
    (root / "pairs_calibrated.txt").write_text(line + "\n")
    (pair,) = read_megadepth1500(root)
    np.testing.assert_allclose(pair.T_0to1, relative_pose(*poses_of(cameras[:2])), atol=1e-12)
    np.testing.assert_array_equal((pair.K0, pair.K1), (cameras[0].K, cameras[1].K))
    assert (pair.image0, pair.overlap) == ("a.jpg", None)
    (root / "images").mkdir()
    assert read_megadepth1500(root)[0].image0 == "images/a.jpg"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.jpg b.jpg 1 2 3", "pairs_calibrated.txt, line 1: expected 32, 36, 38 words, got 5"),
        ("a.jpg", "line 1: expected 32, 36, 38 words, got 1"),
        ("a.jpg b.jpg " + "1 " * 36, "line 1: images that are to be turned are not read"),
        ("a.jpg b.jpg " + "x " * 34, "line 1: could not convert"),
        ("a.jpg b.jpg " + "0 " * 34, "line 1: intrinsics that no pinhole camera has"),
        ("# only a comment", "pairs_calibrated.txt: holds no pairs"),
    ],
)
def test_a_malformed_list_is_named_with_its_line(root: Path, line: str, said: str) -> None:
    (root / "pairs_calibrated.txt").write_text(line + "\n")
    with pytest.raises(InvalidInput) as caught:
        read_megadepth1500(root)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pairs": []}, "holds no pairs"),
        ({"pairs": [(0, 7)]}, "pair 0: index 7 is out of bounds"),
        ({"pairs": [(0, 1), (0, 3)]}, "pair 1: is of an image that has no path"),
        ({"paths": PATHS}, "image_paths, intrinsics and poses are not of the same images"),
        ({"paths": ["other/0.jpg", *PATHS]}, "is of other images, other/0.jpg is not in"),
    ],
)
def test_a_scene_that_is_wrong_is_named(
    root: Path, cameras: list[Camera], changes: dict[str, object], said: str
) -> None:
    write(root, cameras, **changes)
    with pytest.raises(InvalidInput, match=f"0022_0.1_0.3.npz.*{said}"):
        read_megadepth1500(root)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"holds neither pairs_calibrated.txt nor the .npz files"):
        read_megadepth1500(tmp_path)
