from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gim.errors import CorruptObject, InvalidInput, ShapeError
from gim.records import Float64Array
from gim.synthetic import camera as cameras
from gim.synthetic.camera import Camera, intrinsics
from gim.synthetic.truth import ClipTruth, Overlay, SceneTruth, ShotTruth, correspondence_error_px, transfer

WIDTH, HEIGHT = 320, 240
WALL = [[20.0, -20.0, -10.0], [0.0, 40.0, 0.0], [0.0, 0.0, 20.0]]  # across the view, 20 m ahead
BOARD = [[5.0, -1.0, 0.6], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]]  # 5 m ahead, in the middle
SURFACES = np.array([WALL, BOARD])


def two_shots(overlays: tuple[Overlay, ...] = ()) -> ClipTruth:
    path = cameras.strafe((0.0, 0.0, 1.6), speed=0.5)
    poses = np.stack([path(frame / 10) for frame in range(20)])
    still = np.stack([path(0.0)] * 5)
    scene = SceneTruth("made", 0, {}, 1.0, SURFACES)
    shots = (ShotTruth("moving", 0, 0, poses), ShotTruth("still", 20, 0, still))
    return ClipTruth(10.0, WIDTH, HEIGHT, intrinsics(WIDTH, HEIGHT, 60.0), (scene,), shots, overlays)


def exact(truth: ClipTruth, frame0: int, frame1: int, points0: Float64Array) -> Float64Array:
    cameras_ = truth.camera(frame0), truth.camera(frame1)
    points1, visible = transfer(truth.surfaces(frame0), *cameras_, points0)
    return np.hstack([points0, points1])[visible]


def grid(step: int = 13) -> Float64Array:
    x, y = np.meshgrid(np.arange(2.0, WIDTH, step), np.arange(2.0, HEIGHT, step))
    return np.column_stack([x.ravel(), y.ravel()])


def test_transfer_of_a_sideways_camera_moves_points_by_focal_times_baseline_over_depth() -> None:
    truth = two_shots()
    focal_px = truth.K[0, 0]
    points1, visible = transfer(SURFACES, truth.camera(0), truth.camera(10), np.array([[160.0, 120.0], [160.0, 20.0]]))
    np.testing.assert_allclose(points1[0], (160.0 - focal_px * 0.5 / 5.0, 120.0), atol=1e-9)
    np.testing.assert_allclose(points1[1], (160.0 - focal_px * 0.5 / 20.0, 20.0), atol=1e-9)
    assert visible.all()


def test_transfer_back_and_forth_returns_to_the_start() -> None:
    truth = two_shots()
    there = exact(truth, 0, 15, grid())
    back, visible = transfer(SURFACES, truth.camera(15), truth.camera(0), there[:, 2:])
    assert visible.all()
    np.testing.assert_allclose(back, there[:, :2], atol=1e-8)


def test_transfer_when_the_board_hides_the_wall_says_hidden() -> None:
    truth = two_shots()
    focal_px = truth.K[0, 0]
    board_left_px = truth.camera(0).K[0, 2] - focal_px * 1.0 / 5.0
    beside = np.array([[board_left_px - 5.0, 120.0], [board_left_px - 60.0, 120.0]])
    _, visible = transfer(SURFACES, truth.camera(0), truth.camera(19), beside)
    np.testing.assert_array_equal(visible, [False, True])


def test_transfer_of_sky_and_of_points_leaving_the_image_is_not_visible() -> None:
    camera = Camera(intrinsics(WIDTH, HEIGHT, 60.0), cameras.strafe((0.0, 0.0, 1.6))(0.0), WIDTH, HEIGHT)
    turned = Camera(camera.K, cameras.pan((0.0, 0.0, 1.6))(3.0), WIDTH, HEIGHT)
    points1, visible = transfer(SURFACES[1:], camera, turned, np.array([[2.0, 2.0], [160.0, 120.0]]))
    assert np.isnan(points1[0]).all()
    assert not visible.any()


def test_error_of_exact_correspondences_is_zero_and_of_shifted_ones_the_shift() -> None:
    truth = two_shots()
    correspondences = exact(truth, 2, 12, grid())
    assert len(correspondences) > 200
    np.testing.assert_allclose(correspondence_error_px(truth, 2, 12, correspondences), 0.0, atol=1e-8)
    shifted = np.add(correspondences, (0.0, 0.0, 0.3, -0.4))
    np.testing.assert_allclose(correspondence_error_px(truth, 2, 12, shifted), 0.5, atol=0.05)


def test_error_is_symmetric_in_the_frames() -> None:
    truth = two_shots()
    rng = np.random.default_rng(0)
    correspondences = exact(truth, 2, 12, grid()) + rng.normal(0, 1, (1, 4))
    swapped = correspondences[:, [2, 3, 0, 1]]
    forward = correspondence_error_px(truth, 2, 12, correspondences)
    np.testing.assert_allclose(forward, correspondence_error_px(truth, 12, 2, swapped))


def test_error_at_a_depth_edge_forgives_half_a_pixel_of_noise_but_not_the_wrong_surface() -> None:
    truth = two_shots()
    right_px = truth.K[0, 2] + truth.K[0, 0] * 1.0 / 5.0
    moved_px = truth.K[0, 0] * 0.5 / 5.0  # of the board in one second
    on_edge = np.array([[right_px + 0.4, 120.0, right_px + 0.4 - moved_px, 120.0]])  # falls just beside the board
    assert correspondence_error_px(truth, 0, 10, on_edge)[0] < 1e-6
    assert correspondence_error_px(truth, 0, 10, on_edge, edge_px=0.0)[0] > 10
    beside = np.add(on_edge, (3.0, 0.0, 3.0, 0.0))  # the wall, moved as if it were the board
    assert correspondence_error_px(truth, 0, 10, beside)[0] > 10


def test_error_on_overlays_sky_hidden_points_and_across_cuts_is_infinite() -> None:
    truth = two_shots((Overlay(0, 20, (10, 10, 40, 30)),))
    logo = np.array([[20.0, 20.0, 20.0, 20.0]])
    assert np.isinf(correspondence_error_px(truth, 0, 5, logo)).all()
    assert np.isinf(correspondence_error_px(truth, 0, 22, np.array([[160.0, 120.0, 160.0, 120.0]]))).all()
    without_wall = replace(truth, scenes=(replace(truth.scenes[0], surfaces=SURFACES[1:]),))
    assert np.isinf(correspondence_error_px(without_wall, 0, 5, np.array([[2.0, 200.0, 2.0, 200.0]]))).all()


def test_error_of_a_still_camera_is_the_distance() -> None:
    truth = two_shots()
    assert truth.shots[1].is_still
    assert not truth.shots[0].is_still
    error = correspondence_error_px(truth, 20, 24, np.array([[160.0, 20.0, 163.0, 24.0]]))
    np.testing.assert_allclose(error, 5.0, atol=1e-6)


def test_error_with_wrong_input_names_it() -> None:
    truth = two_shots()
    with pytest.raises(ShapeError, match=r"\[N, 4\]"):
        correspondence_error_px(truth, 0, 1, np.zeros((3, 2)))
    with pytest.raises(InvalidInput, match="25 frames"):
        correspondence_error_px(truth, 0, 99, np.zeros((3, 4)))
    assert correspondence_error_px(truth, 0, 1, np.zeros((0, 4))).shape == (0,)


def test_truth_when_saved_and_loaded_is_the_same_and_small(tmp_path: Path) -> None:
    truth = two_shots((Overlay(0, 20, (10, 10, 40, 30)),))
    truth.save(tmp_path / "truth.json")
    loaded = ClipTruth.load(tmp_path / "truth.json")
    assert loaded.overlays == truth.overlays
    assert [shot.first_frame for shot in loaded.shots] == [0, 20]
    for frame in (0, 7, 24):
        np.testing.assert_allclose(
            loaded.camera(frame).T_camera_to_world, truth.camera(frame).T_camera_to_world, atol=1e-9
        )
    np.testing.assert_array_equal(loaded.surfaces(0), SURFACES)
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "truth.json").read_bytes()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"gim_clip_truth": 99}', '{"gim_clip_truth": 1, "fps": "x"}'])
def test_load_of_anything_else_is_one_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "truth.json"
    path.write_text(text)
    with pytest.raises(CorruptObject, match=r"truth\.json"):
        ClipTruth.load(path)
    with pytest.raises(InvalidInput, match=r"none\.json"):
        ClipTruth.load(tmp_path / "none.json")
