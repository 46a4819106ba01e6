"""ScanNet-1500 in both of its forms: cameras that are right at every size of image, and files that are not."""

from pathlib import Path

import numpy as np
import pytest

from gim.benchmarks.scannet1500 import SIZE, read_scannet1500, scene_of
from gim.errors import InvalidInput
from gim.geometry.pose import relative_pose
from gim.synthetic.camera import Camera, intrinsics
from tests.synthetic import world_and_path
from tests.two_view_sets import calibrated_line, grey_image, poses_of, write_scannet

K = intrinsics(*SIZE, 65.0)


@pytest.fixture(scope="module")
def cameras() -> list[Camera]:
    _, path = world_and_path("room", 0)
    return [Camera(K, path(0.4 * index), *SIZE) for index in range(3)]


def write(root: Path, cameras: list[Camera], size: tuple[int, int] = SIZE) -> Path:
    return write_scannet(root, cameras, [grey_image(*size)] * len(cameras), K=K)


def test_the_release_of_loftr_has_its_pairs(tmp_path: Path, cameras: list[Camera]) -> None:
    pairs = read_scannet1500(write(tmp_path, cameras))
    images = [(pair.image0, pair.image1) for pair in pairs]
    names = [f"scene0707_00/color/{frame}.jpg" for frame in (0, 15, 30)]
    assert images == [(names[0], names[1]), (names[1], names[2])]
    poses = poses_of(cameras)
    np.testing.assert_allclose(pairs[1].T_0to1, relative_pose(poses[1], poses[2]), atol=1e-9)
    np.testing.assert_array_equal(pairs[1].K0, K)
    assert scene_of(pairs[0]) == "scene0707_00"


def test_intrinsics_follow_larger_images(tmp_path: Path, cameras: list[Camera]) -> None:
    pair = read_scannet1500(write(tmp_path, cameras, (1296, 968)))[0]
    np.testing.assert_allclose(pair.K0[0], K[0] * 1296 / 640)
    np.testing.assert_allclose(pair.K1[1], K[1] * 968 / 480)


def test_poses_of_the_list_do_where_there_is_no_folder_of_them(tmp_path: Path, cameras: list[Camera]) -> None:
    root = write(tmp_path / "given", cameras)
    expected = [pair.T_0to1 for pair in read_scannet1500(root)]
    rows = np.load(root / "test.npz")["name"]
    np.savez(root / "test.npz", name=rows, rel_pose=np.array([T[:3].ravel() for T in expected]))
    for path in (root / "scene0707_00/pose").iterdir():
        path.unlink()
    (root / "scene0707_00/pose").rmdir()
    (root / "scans_test").mkdir()
    (root / "scene0707_00").rename(root / "scans_test/scene0707_00")
    pairs = read_scannet1500(root)
    np.testing.assert_array_equal([pair.T_0to1 for pair in pairs], expected)
    assert pairs[0].image0 == "scans_test/scene0707_00/color/0.jpg"


def test_a_calibrated_list_is_read(tmp_path: Path, cameras: list[Camera]) -> None:
    line = calibrated_line("scene0707_00/color/0.jpg", "scene0707_00/color/15.jpg", cameras[0], cameras[1])
    (tmp_path / "pairs_calibrated.txt").write_text(line)
    (pair,) = read_scannet1500(tmp_path)
    np.testing.assert_allclose(pair.T_0to1, relative_pose(*poses_of(cameras[:2])), atol=1e-12)


def test_lists_may_lie_elsewhere(tmp_path: Path, cameras: list[Camera]) -> None:
    root = write(tmp_path / "data", cameras)
    (tmp_path / "lists").mkdir()
    for name in ("test.npz", "intrinsics.npz"):
        (root / name).rename(tmp_path / "lists" / name)
    assert len(read_scannet1500(root, tmp_path / "lists")) == 2
    with pytest.raises(InvalidInput, match=r"holds no test.npz of ScanNet-1500"):
        read_scannet1500(root, root)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: np.savez(root / "test.npz", pairs=np.eye(4)), "test.npz: has no array 'name'"),
        (lambda root: np.savez(root / "test.npz", name=np.zeros((0, 4), int)), "test.npz: holds no pairs"),
        (lambda root: np.savez(root / "test.npz", name=np.zeros((2, 3), int)), r"test.npz: name is \(2, 3\)"),
        (
            lambda root: np.savez(root / "test.npz", name=np.array([[708, 0, 0, 15]])),
            "test.npz: is of other scenes, scene0708_00 is not in",
        ),
        (lambda root: np.savez(root / "intrinsics.npz", scene0001_00=K), "has no array 'scene0707_00'"),
        (lambda root: np.savez(root / "intrinsics.npz", scene0707_00=np.eye(4)), r"scene0707_00 are \(4, 4\)"),
        (lambda root: (root / "scene0707_00/pose/15.txt").write_text("1 0 0 0"), "15.txt: expected 16 finite numbers"),
        (lambda root: (root / "scene0707_00/pose/15.txt").write_text("one"), "15.txt: not a pose"),
        (lambda root: (root / "scene0707_00/pose/15.txt").unlink(), "15.txt: cannot be read"),
        (lambda root: (root / "scene0707_00/color/0.jpg").unlink(), "pair 0: the image .*0.jpg cannot be read"),
        (lambda root: (root / "test.npz").unlink(), r"holds neither pairs_calibrated.txt nor test.npz"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, cameras: list[Camera], spoil: object, said: str) -> None:
    root = write(tmp_path, cameras)
    spoil(root)  # type: ignore[operator]
    with pytest.raises(InvalidInput, match=said):
        read_scannet1500(root)
