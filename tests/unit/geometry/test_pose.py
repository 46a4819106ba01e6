"""Relative poses, their errors, and the way back from an epipolar geometry."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.errors import ShapeError
from gim.geometry.epipolar import fundamental_from_pose
from gim.geometry.pose import as_pose, recover_pose, relative_pose, rotation_error_deg, translation_error_deg


def random_pose(rng):
    return as_pose(np.column_stack([cv2.Rodrigues(rng.normal(0, 0.5, 3))[0], rng.normal(0, 2, 3)]))


@given(st.integers(0, 2**32 - 1))
def test_relative_pose_moves_points_from_camera_0_to_camera_1(seed):
    rng = np.random.default_rng(seed)
    T_0toworld, T_1toworld = random_pose(rng), random_pose(rng)
    X0 = np.array([*rng.normal(0, 5, 3), 1])
    np.testing.assert_allclose(T_1toworld @ relative_pose(T_0toworld, T_1toworld) @ X0, T_0toworld @ X0, atol=1e-9)


def test_as_pose_takes_a_line_of_kitti_text():
    line = "1 0 0 5 0 1 0 6 0 0 1 7"
    pose = as_pose(np.array([float(word) for word in line.split()]))
    np.testing.assert_array_equal(pose, [[1, 0, 0, 5], [0, 1, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]])
    with pytest.raises(ShapeError, match="12 or 16"):
        as_pose(np.zeros(9))


@pytest.mark.parametrize("angle_deg", [0, 1e-6, 0.1, 30, 179.9, 180])
def test_rotation_error_is_the_angle(angle_deg):
    first = cv2.Rodrigues(np.array([0.3, -0.2, 0.5]))[0]
    axis = np.array([1, 2, -2]) / 3
    second = cv2.Rodrigues(axis * np.deg2rad(angle_deg))[0] @ first
    assert rotation_error_deg(first, second) == pytest.approx(angle_deg, rel=1e-5, abs=1e-10)


def test_translation_error_is_the_angle_of_directions():
    assert translation_error_deg([2, 0, 0], [5, 0, 0]) == 0
    assert translation_error_deg([1, 0, 0], [0, 3, 0]) == pytest.approx(90)
    assert translation_error_deg([1, 0, 0], [-1, 0, 0]) == pytest.approx(180)
    assert translation_error_deg([1, 1e-8, 0], [1, 0, 0]) == pytest.approx(np.rad2deg(1e-8))
    assert translation_error_deg([1, 0, 0], [0, 0, 0]) == 0


@given(st.integers(0, 2**32 - 1))
def test_recover_pose_finds_the_pose_the_points_came_from(seed):
    rng = np.random.default_rng(seed)
    K = np.array([[700, 0, 500], [0, 700, 350], [0, 0, 1.0]])
    T = as_pose(np.column_stack([cv2.Rodrigues(rng.normal(0, 0.1, 3))[0], rng.normal(0, 0.7, 3)]))
    X0 = np.column_stack([rng.uniform(-3, 3, (40, 2)), rng.uniform(6, 15, 40)])
    x0, x1 = X0 @ K.T, (X0 @ T[:3, :3].T + T[:3, 3]) @ K.T
    points = np.hstack([x0[:, :2] / x0[:, 2:], x1[:, :2] / x1[:, 2:]])
    recovered = recover_pose(points, fundamental_from_pose(K, K, T), K, K)
    assert rotation_error_deg(recovered.T_0to1[:3, :3], T[:3, :3]) < 1e-3
    assert translation_error_deg(recovered.T_0to1[:3, 3], T[:3, 3]) < 1e-2
    assert recovered.is_in_front.mean() > 0.9
