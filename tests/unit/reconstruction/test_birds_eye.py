import json

import cv2
import numpy as np
import pytest

from gim import codecs
from gim.cli.main import run_command
from gim.errors import InvalidInput
from gim.geometry.homography import apply_homography
from gim.reconstruction.birds_eye import BirdsEyeConfig, agreement, draw_birds_eye, find_ground, map_size, top_view

SIZE = (640, 300)
K = np.array([[400.0, 0, 319.5], [0, 400.0, 100.0], [0, 0, 1]])
PITCH, ROLL = np.radians([2.0, 1.0])
NORMAL = np.array([np.sin(ROLL), np.cos(ROLL) * np.cos(PITCH), np.cos(ROLL) * np.sin(PITCH)])  # down, camera 0's axes
TURN, _ = cv2.Rodrigues(np.array([0.002, 0.01, -0.003]))
STEP = np.array([0.05, 0.0, -0.6])  # of camera 1's origin, in heights of the camera
H01 = K @ (TURN + np.outer(STEP, NORMAL)) @ np.linalg.inv(K)


def ground_matches(num=200, seed=0):
    """Exact matches of points on the ground 2 to 12 heights ahead, seen by both."""
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform((0, 130), (SIZE[0], SIZE[1]), (num, 2))
    return np.hstack([keypoints, apply_homography(keypoints, H01)]).astype(np.float32)


def wall_matches(num=400, seed=1):
    """Exact matches of a wall at the right that stands upright, more of them than of the ground."""
    rng = np.random.default_rng(seed)
    normal = np.array([1.0, 0.0, 0.1]) / 2.0
    H = K @ (TURN + np.outer(STEP, normal)) @ np.linalg.inv(K)
    keypoints = rng.uniform((400, 150), (SIZE[0], SIZE[1]), (num, 2))
    return np.hstack([keypoints, apply_homography(keypoints, H)]).astype(np.float32)


def test_the_ground_of_a_known_plane_is_found():
    rng = np.random.default_rng(2)
    noisy = ground_matches() + rng.normal(scale=0.2, size=(200, 4)).astype(np.float32)
    wrong = rng.uniform(0, 300, (100, 4)).astype(np.float32)
    plane = find_ground(np.vstack([noisy, wrong]), K, K, SIZE[1])
    assert plane.inliers[:200].mean() > 0.95
    assert plane.inliers[200:].mean() < 0.1
    assert np.degrees(np.arccos(plane.normal @ NORMAL)) < 0.5
    corners = np.array([[0, 299], [639, 299], [100, 160], [540, 160]], float)
    assert np.abs(apply_homography(corners, plane.H01) - apply_homography(corners, H01)).max() < 0.5


def test_a_wall_with_more_matches_is_not_the_ground():
    matches = np.vstack([ground_matches(), wall_matches()])
    plane = find_ground(matches, K, K, SIZE[1])
    assert plane.inliers[:200].all()
    assert plane.inliers[200:].mean() < 0.1


def test_without_ground_there_is_none():
    with pytest.raises(InvalidInput, match="no ground: of 400 matches"):
        find_ground(wall_matches(), K, K, SIZE[1])
    with pytest.raises(InvalidInput, match="no ground: of 0 matches"):
        find_ground(np.empty((0, 4), np.float32), K, K, SIZE[1])
    sky = ground_matches()
    sky[:, 1] -= 150
    with pytest.raises(InvalidInput, match="no ground: of 0 matches"):
        find_ground(sky, K, K, SIZE[1])


def test_a_place_on_the_map_is_where_its_point_on_the_ground_is_seen():
    config = BirdsEyeConfig(width_px=201, aside=5.0, ahead=10.0)
    width, height = map_size(config)
    assert (width, height) == (201, 201)
    ahead = np.array([0, 0, 1.0]) - NORMAL[2] * NORMAL
    ahead /= np.linalg.norm(ahead)
    aside = np.cross(NORMAL, ahead)
    for x, z in ((0.0, 4.0), (-2.0, 6.0), (3.0, 8.0)):
        point = K @ (NORMAL + x * aside + z * ahead)  # one height below the camera
        on_map = [[100 + x * 201 / 10, 200 - z * 201 / 10]]
        np.testing.assert_allclose(apply_homography(on_map, top_view(K, NORMAL, config))[0], point[:2] / point[2])
    assert aside[0] > 0.99  # right is right


def road_views():
    """Both views of a textured road, rendered from a map of it by the true geometry."""
    config = BirdsEyeConfig()
    width, height = map_size(config)
    noise = np.random.default_rng(0).integers(0, 256, (height // 6, width // 6), dtype=np.uint8)
    road = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    road = cv2.cvtColor(cv2.GaussianBlur(road, (0, 0), 1.5), cv2.COLOR_GRAY2RGB)
    H_top_to_0 = top_view(K, NORMAL, config)
    return road, [cv2.warpPerspective(road, H, SIZE) for H in (H_top_to_0, H01 @ H_top_to_0)]


def test_both_views_lie_on_each_other_on_the_map():
    _, (image0, image1) = road_views()
    plane = find_ground(ground_matches(), K, K, SIZE[1])
    config = BirdsEyeConfig()
    width, height = map_size(config)
    H = top_view(K, plane.normal, config)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    views = [
        cv2.warpPerspective(image, M, (width, height), flags=flags)
        for image, M in ((image0, H), (image1, plane.H01 @ H))
    ]
    seen = (views[0].max(axis=2) > 0) & (views[1].max(axis=2) > 0)
    seen[: height // 2] = False  # what is far is smeared
    assert agreement(views[0], views[1], seen) > 0.9
    assert agreement(views[0], np.roll(views[1], 8, axis=0), seen) < 0.6

    drawn = draw_birds_eye(image0, image1, plane, K)
    assert drawn.shape[1] == 3 * width + 2 * 8
    assert drawn.shape[0] < height + 150


def test_the_command_draws_the_road_from_above(tmp_path, capsys):
    _, images = road_views()
    paths = [tmp_path / f"{view}.png" for view in (0, 1)]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(codecs.encode_png(image))
    out = tmp_path / "above.png"
    words = ["birds-eye", *map(str, paths), str(out), "--k0", "400,400,319.5,100"]
    assert run_command([*words, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["on_ground"] > 50
    assert facts["slant_deg"] == pytest.approx(np.degrees(np.arccos(NORMAL[1])), abs=1)
    assert codecs.decode_image(out.read_bytes()).shape[1] == 3 * 500 + 16
    corners = np.array([[100, 299], [540, 299], [200, 180], [440, 180]], float)
    assert np.abs(apply_homography(corners, facts["H01"]) - apply_homography(corners, H01)).max() < 3


def test_views_that_share_no_road_leave_no_picture(tmp_path, capsys):
    blank = tmp_path / "blank.png"
    blank.write_bytes(codecs.encode_png(np.full((60, 80), 128, np.uint8)))
    assert run_command(["birds-eye", str(blank), str(blank), str(tmp_path / "out.png")]) == 2
    assert "no ground: of 0 matches" in capsys.readouterr().err
    assert run_command(["birds-eye", str(blank), str(blank), str(tmp_path / "out.txt")]) == 2
    assert "expected a .png file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["blank.png"]
