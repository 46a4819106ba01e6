"""Every format says the same of one scene: intrinsics, poses and what its images share."""

import json

import numpy as np
import pytest

from gim.benchmarks.building.pinhole import pinhole_view
from gim.benchmarks.building.sources import SourceOptions, read_scenes
from gim.errors import InvalidInput
from gim.geometry.pose import relative_pose
from tests.unit.benchmarks.building.posed_sources import (
    NUM_VIEWS,
    SIZE,
    room,
    tracked_points,
    write_colmap,
    write_depth,
    write_kitti,
    write_transforms,
    write_tum,
)

CAMERA = ",".join(repr(float(room().cameras[0].K[place])) for place in ((0, 0), (1, 1), (0, 2), (1, 2)))


def source(kind, folder):
    write = {"colmap": write_colmap, "tum": write_tum, "kitti": write_kitti, "transforms": write_transforms}[kind]
    write(folder / "room")
    depth = write_depth(folder / "depth", 256.0) if kind == "kitti" else None
    return folder / "room", SourceOptions(depth=depth, camera=CAMERA if kind == "tum" else "")


@pytest.mark.parametrize("kind", ["colmap", "tum", "kitti", "transforms"])
def test_intrinsics_and_relative_poses_are_the_true_ones(kind, tmp_path):
    folder, options = source(kind, tmp_path)
    (scene,) = read_scenes(folder, kind, options)
    assert scene.name == "room"
    assert len(scene.images) == NUM_VIEWS
    for index, (image, camera) in enumerate(zip(scene.images, room().cameras, strict=True)):
        np.testing.assert_allclose(image.lens.K, camera.K, atol=1e-9)
        expected = relative_pose(room().cameras[0].T_camera_to_world, camera.T_camera_to_world)
        found = relative_pose(scene.images[0].T_camera_to_world, image.T_camera_to_world)
        if kind == "kitti":  # the pictures are said to be of camera 1, whose place is that of the view
            np.testing.assert_allclose(image.T_camera_to_world, camera.T_camera_to_world, atol=1e-6)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert image.name.endswith(f"{index:03d}.png")
        assert image.path.is_file()


def test_tracks_of_a_model_are_those_that_were_seen(tmp_path):
    (scene,) = read_scenes(write_colmap(tmp_path / "room"), "colmap", SourceOptions())
    seen = tracked_points(400)[1]
    in_two = seen.sum(axis=0) > 1
    assert [len(image.points) for image in scene.images] == [int((row & in_two).sum()) for row in seen]


def test_a_folder_of_scenes_is_read_scene_by_scene(tmp_path):
    for name in ("b", "a"):
        write_transforms(tmp_path / name)
    assert [scene.name for scene in read_scenes(tmp_path, "transforms", SourceOptions())] == ["a", "b"]


def test_a_lens_that_bends_is_undone(tmp_path):
    coefficients = {"k1": 0.08, "k2": -0.02, "p1": 0.002, "p2": -0.001}
    (scene,) = read_scenes(write_transforms(tmp_path / "room", **coefficients), "transforms", SourceOptions())
    lens = scene.images[0].lens
    view = pinhole_view(lens, SIZE)
    assert view.width < SIZE[0]  # a cushion leaves its corners unseen, so they are cut off
    assert view.places.min() >= 0
    assert (view.places.max(axis=(0, 1)) <= np.array(SIZE) - 1).all()
    ramp = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(SIZE[0]), np.arange(SIZE[1])[:, None]
    straight = view.straighten(ramp).astype(np.float64)
    ray = np.linalg.inv(view.K) @ (40.0, 70.0, 1.0)
    assert straight[70, 40, :2] == pytest.approx(lens.distort(ray[None, :2])[0], abs=0.6)


def test_both_ways_to_say_a_lens_bend_alike(tmp_path):
    (one,) = read_scenes(write_colmap(tmp_path / "colmap", model="OPENCV"), "colmap", SourceOptions())
    (other,) = read_scenes(write_transforms(tmp_path / "nerf", k1=0.1), "transforms", SourceOptions())
    rays = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 2))
    found = [scene.images[0].lens.distort(rays) for scene in (one, other)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def edit_transforms(folder, change):
    path = write_transforms(folder) / "transforms.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["frames"][1].update(file_path="images/none.png"), "names 1 images that are absent"),
        (lambda d: d["frames"][1]["transform_matrix"][0].__setitem__(0, 7.0), "frame 1 .*no rotation"),
        (lambda d: d["frames"][1].pop("transform_matrix"), "frame 1 .*transform_matrix"),
        (lambda d: d.pop("fl_x"), "camera_angle_x"),
        (lambda d: d.update(frames=[]), "has no frames"),
    ],
)
def test_a_wrong_transforms_file_is_one_line(tmp_path, change, said):
    folder = edit_transforms(tmp_path / "room", change)
    with pytest.raises(InvalidInput, match=said) as caught:
        read_scenes(folder, "transforms", SourceOptions())
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_said_with_the_way_out(tmp_path):
    kitti = write_kitti(tmp_path / "kitti")
    with pytest.raises(InvalidInput, match=r"--depth DIR .*--tracks DIR"):
        read_scenes(kitti, "kitti", SourceOptions())
    with pytest.raises(InvalidInput, match="did you mean colmap"):
        read_scenes(kitti, "colamp", SourceOptions())
    with pytest.raises(InvalidInput, match="give --camera"):
        read_scenes(write_tum(tmp_path / "tum"), "tum", SourceOptions())
    with pytest.raises(InvalidInput, match="nothing of the format"):
        read_scenes(tmp_path / "tum", "colmap", SourceOptions())
    colmap = write_colmap(tmp_path / "colmap")
    (colmap / "images" / "003.png").unlink()
    with pytest.raises(InvalidInput, match=r"1 of 6 images .*003\.png; --images"):
        read_scenes(colmap, "colmap", SourceOptions())
    (kitti / "image_1" / "005.png").unlink()
    with pytest.raises(InvalidInput, match="6 poses for 5 pictures"):
        read_scenes(kitti, "kitti", SourceOptions())
