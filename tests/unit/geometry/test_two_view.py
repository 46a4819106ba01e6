import cv2
import numpy as np
import pytest

from gim.errors import InvalidInput
from gim.geometry.pose import as_pose, rotation_error_deg, translation_error_deg
from gim.geometry.robust import RobustFitConfig, fit_fundamental
from gim.geometry.two_view import TwoViewConfig, guess_intrinsics, reconstruct

K0 = np.array([[900.0, 0, 511.5], [0, 880.0, 383.5], [0, 0, 1]])
K1 = np.array([[1200.0, 0, 480.0], [0, 1190.0, 400.0], [0, 0, 1]])


def pose(rotation, translation):
    """Of a rotation vector in degrees and a direction, the translation of unit length."""
    R = cv2.Rodrigues(np.deg2rad(np.array(rotation, np.float64)))[0]
    t = np.array(translation, np.float64)
    return as_pose(np.column_stack([R, t / max(np.linalg.norm(t), 1)]))


def project(K, scene):
    seen = scene @ K.T
    return seen[:, :2] / seen[:, 2:]


def seen_by_both(scene, T_0to1):
    moved = scene @ T_0to1[:3, :3].T + T_0to1[:3, 3]
    return np.hstack([project(K0, scene), project(K1, moved)]).astype(np.float32)


def true_angles_deg(scene, T_0to1):
    to0, to1 = -scene, -T_0to1[:3, :3].T @ T_0to1[:3, 3] - scene
    cosine = np.einsum("ni,ni->n", to0, to1) / np.linalg.norm(to0, axis=1) / np.linalg.norm(to1, axis=1)
    return np.rad2deg(np.arccos(cosine))


def box(count=500, seed=0):
    return np.random.default_rng(seed).uniform([-3, -2, 4], [3, 2, 12], (count, 3))


SIDEWAYS = pose([3, -15, 1], [5, 0.5, 1])


@pytest.mark.parametrize(
    "T_0to1", [SIDEWAYS, pose([0, 0, 0], [0, 0, -1]), pose([-10, 40, 20], [-4, 1, 2]), pose([0, 0, 90], [1, 3, 0])]
)
def test_points_and_pose_are_recovered_in_units_of_the_baseline(T_0to1):
    scene = box()
    found = reconstruct(seen_by_both(scene, T_0to1), K0, K1)
    assert rotation_error_deg(found.T_0to1[:3, :3], T_0to1[:3, :3]) < 1e-3
    assert translation_error_deg(found.T_0to1[:3, 3], T_0to1[:3, 3]) < 1e-2
    assert np.linalg.norm(found.T_0to1[:3, 3]) == pytest.approx(1)
    angles_deg = true_angles_deg(scene, T_0to1)  # forward motion sees the middle under none
    assert set(np.flatnonzero(angles_deg > 1.01)) <= set(found.rows) <= set(np.flatnonzero(angles_deg > 0.99))
    np.testing.assert_allclose(found.points, scene[found.rows], rtol=2e-3)


def test_angles_are_those_between_the_rays():
    scene = box()
    found = reconstruct(seen_by_both(scene, SIDEWAYS), K0, K1)
    np.testing.assert_allclose(found.angles_deg, true_angles_deg(scene[found.rows], SIDEWAYS), atol=1e-3)


def test_noise_moves_the_points_by_little_and_outliers_are_dropped():
    rng = np.random.default_rng(1)
    scene = box(800)
    rows = seen_by_both(scene, SIDEWAYS)
    rows += rng.normal(0, 0.5, rows.shape).astype(np.float32)
    wrong = rng.permutation(800)[:200]
    rows[wrong, 2:] = rng.uniform([0, 0], [1024, 768], (200, 2))
    found = reconstruct(rows, K0, K1)
    assert rotation_error_deg(found.T_0to1[:3, :3], SIDEWAYS[:3, :3]) < 0.5
    right = ~np.isin(found.rows, wrong)
    assert right.mean() > 0.97
    assert np.isin(np.setdiff1d(np.arange(800), wrong), found.rows).mean() > 0.95
    distance = np.linalg.norm(found.points - scene[found.rows], axis=1) / np.linalg.norm(scene[found.rows], axis=1)
    assert np.median(distance[right]) < 0.02


def test_points_are_where_they_are_seen_and_in_front_of_both_cameras():
    rng = np.random.default_rng(2)
    rows = seen_by_both(box(), SIDEWAYS) + rng.normal(0, 0.4, (500, 4)).astype(np.float32)
    found = reconstruct(rows, K0, K1, TwoViewConfig(threshold_px=1.0, min_angle_deg=5.0))
    moved = found.points @ found.T_0to1[:3, :3].T + found.T_0to1[:3, 3]
    assert found.points[:, 2].min() > 0
    assert moved[:, 2].min() > 0
    assert np.linalg.norm(project(K0, found.points) - rows[found.rows, :2], axis=1).max() < 1.01
    assert np.linalg.norm(project(K1, moved) - rows[found.rows, 2:], axis=1).max() < 1.01
    assert found.angles_deg.min() >= 5
    assert (np.diff(found.rows) > 0).all()


def test_the_same_input_gives_the_same_scene():
    rows = seen_by_both(box(), SIDEWAYS) + np.random.default_rng(3).normal(0, 1, (500, 4)).astype(np.float32)
    first, second = reconstruct(rows, K0, K1), reconstruct(rows, K0, K1)
    np.testing.assert_array_equal(first.points, second.points)
    np.testing.assert_array_equal(first.T_0to1, second.T_0to1)


def noisy(rows, sigma_px):
    return rows + np.random.default_rng(4).normal(0, sigma_px, rows.shape).astype(np.float32)


@pytest.mark.parametrize("sigma_px", [0, 0.5])
@pytest.mark.parametrize("rotation", [[0, 0, 0], [2, 8, 1], [0, 0, 170]])
def test_a_camera_that_only_turned_is_named(rotation, sigma_px):
    rows = noisy(seen_by_both(box(), pose(rotation, [0, 0, 0])), sigma_px)
    with pytest.raises(InvalidInput, match="one viewpoint"):
        reconstruct(rows, K0, K1)


@pytest.mark.parametrize("sigma_px", [0, 0.5])
def test_a_plane_is_named(sigma_px):
    flat = box()
    flat[:, 2] = 6 + 0.3 * flat[:, 0] - 0.2 * flat[:, 1]
    with pytest.raises(InvalidInput, match="one plane"):
        reconstruct(noisy(seen_by_both(flat, SIDEWAYS), sigma_px), K0, K1)


def test_a_plane_with_something_before_it_is_no_plane():
    scene = box()
    scene[:400, 2] = 12
    found = reconstruct(noisy(seen_by_both(scene, SIDEWAYS), 0.3), K0, K1)
    assert rotation_error_deg(found.T_0to1[:3, :3], SIDEWAYS[:3, :3]) < 1


def test_a_scene_too_far_away_is_named():
    far = box() * [20, 20, 20]
    with pytest.raises(InvalidInput, match=r"parallax|viewpoint"):
        reconstruct(noisy(seen_by_both(far, SIDEWAYS), 0.2), K0, K1, TwoViewConfig(plane_px=0.5, min_angle_deg=2))


@pytest.mark.parametrize("count", [0, 1, 15])
def test_too_few_correspondences_are_named(count):
    with pytest.raises(InvalidInput, match=f"16 correspondences that agree, got {count}"):
        reconstruct(seen_by_both(box(), SIDEWAYS)[:count], K0, K1)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("count", [30, 100, 300])
def test_matches_of_unrelated_images_make_no_scene(seed, count):
    rows = np.random.default_rng(seed).uniform(0, [1024, 768, 1024, 768], (count, 4)).astype(np.float32)
    with pytest.raises(InvalidInput, match="no relative pose"):
        reconstruct(rows, K0, K1)
    fit = fit_fundamental(rows, RobustFitConfig())
    if fit:
        with pytest.raises(InvalidInput, match=r"no relative pose|two views need"):
            reconstruct(rows[fit.inliers], K0, K1)


def test_one_place_for_all_is_refused():
    with pytest.raises(InvalidInput):
        reconstruct(np.full((50, 4), 100, np.float32), K0, K1)


def test_a_guessed_camera_looks_at_the_middle():
    np.testing.assert_array_equal(guess_intrinsics(640, 480), [[768, 0, 319.5], [0, 768, 239.5], [0, 0, 1]])
    assert guess_intrinsics(480, 640, 500.0)[0, 0] == 500
