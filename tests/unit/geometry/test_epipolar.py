"""Epipolar functions against OpenCV, slow loops, and points whose truth is known."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.errors import ShapeError
from gim.geometry.epipolar import (
    cross_product_matrix,
    epipolar_lines,
    epipole0,
    essential_from_fundamental,
    essential_from_pose,
    fundamental_from_pose,
    sampson_distance_px,
    symmetric_epipolar_distance_px,
)

SEEDS = st.integers(0, 2**32 - 1)


def two_cameras(seed):
    """Intrinsics, a pose, and 30 correspondences that fit them exactly."""
    rng = np.random.default_rng(seed)
    K0 = np.array([[600, 0, 320], [0, 610, 240], [0, 0, 1.0]])
    K1 = np.array([[800, 0.5, 400], [0, 790, 300], [0, 0, 1.0]])
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(rng.normal(0, 0.2, 3))[0], rng.normal(0, 1, 3)
    X0 = np.column_stack([rng.uniform(-3, 3, (30, 2)), rng.uniform(5, 15, 30)])
    x0, x1 = X0 @ K0.T, (X0 @ T[:3, :3].T + T[:3, 3]) @ K1.T
    return K0, K1, T, np.hstack([x0[:, :2] / x0[:, 2:], x1[:, :2] / x1[:, 2:]])


def line_distances(point, F01):
    """Distances of x1 to the line of x0, and of x0 to the line of x1, by the school formula."""
    x0, x1 = np.array([*point[:2], 1]), np.array([*point[2:], 1])
    a, b, c = F01 @ x0
    in1 = abs(a * x1[0] + b * x1[1] + c) / np.hypot(a, b)
    a, b, c = F01.T @ x1
    return abs(a * x0[0] + b * x0[1] + c) / np.hypot(a, b), in1


@given(SEEDS)
def test_cross_product_matrix_is_the_cross_product(seed):
    v, w = np.random.default_rng(seed).normal(size=(2, 3))
    np.testing.assert_allclose(cross_product_matrix(v) @ w, np.cross(v, w))


@given(SEEDS)
def test_fundamental_from_pose_holds_for_projected_points(seed):
    K0, K1, T, points = two_cameras(seed)
    F01 = fundamental_from_pose(K0, K1, T)
    assert symmetric_epipolar_distance_px(points, F01).max() < 1e-6
    assert sampson_distance_px(points, F01).max() < 1e-6
    assert np.linalg.norm(F01) == pytest.approx(1)
    E01 = essential_from_fundamental(F01, K0, K1)
    np.testing.assert_allclose(
        E01 / np.linalg.norm(E01), essential_from_pose(T) / np.linalg.norm(essential_from_pose(T)), atol=1e-9
    )


def test_fundamental_from_pose_of_one_centre_is_zero():
    K0, K1, T, _ = two_cameras(0)
    T[:3, 3] = 0
    assert not fundamental_from_pose(K0, K1, T).any()


@given(SEEDS)
def test_epipolar_lines_equal_opencv(seed):
    K0, K1, T, points = two_cameras(seed)
    F01 = fundamental_from_pose(K0, K1, T)
    for which, keypoints, F in ((1, points[:, :2], F01), (2, points[:, 2:], F01.T)):
        expected = cv2.computeCorrespondEpilines(keypoints[:, None], which, F01)[:, 0]
        np.testing.assert_allclose(epipolar_lines(keypoints, F), expected, rtol=1e-6, atol=1e-6)


@given(SEEDS)
def test_distances_equal_slow_loops_and_opencv(seed):
    K0, K1, T, points = two_cameras(seed)
    points = points + np.random.default_rng(seed).normal(0, 3, points.shape)
    F01 = fundamental_from_pose(K0, K1, T)
    slow = [np.mean(line_distances(point, F01)) for point in points]
    np.testing.assert_allclose(symmetric_epipolar_distance_px(points, F01), slow, rtol=1e-9)
    squared = [cv2.sampsonDistance(np.array([*p[:2], 1.0]), np.array([*p[2:], 1.0]), F01) for p in points]
    np.testing.assert_allclose(sampson_distance_px(points, F01) ** 2, squared, rtol=1e-6)


@given(SEEDS, st.floats(0.01, 1000))
def test_distances_do_not_depend_on_scale_nor_on_order_of_views(seed, scale):
    K0, K1, T, points = two_cameras(seed)
    points = points + np.random.default_rng(seed).normal(0, 3, points.shape)
    F01 = fundamental_from_pose(K0, K1, T)
    for distance in (symmetric_epipolar_distance_px, sampson_distance_px):
        expected = distance(points, F01)
        np.testing.assert_allclose(distance(points, -scale * F01), expected)
        np.testing.assert_allclose(distance(points[:, [2, 3, 0, 1]], F01.T), expected)


def test_sampson_distance_is_the_distance_to_the_nearest_exact_correspondence():
    K0, K1, T, points = two_cameras(4)
    F01 = fundamental_from_pose(K0, K1, T)
    moved = points + np.random.default_rng(4).normal(0, 0.5, points.shape)
    corrected = np.concatenate(cv2.correctMatches(F01, moved[None, :, :2], moved[None, :, 2:]), axis=2)[0]
    np.testing.assert_allclose(
        sampson_distance_px(moved, F01), np.linalg.norm(corrected - moved, axis=1), rtol=2e-2, atol=1e-3
    )


def test_distances_in_pure_sideways_motion_are_differences_of_rows():
    T = np.eye(4)
    T[0, 3] = 1
    F01 = fundamental_from_pose(np.eye(3), np.eye(3), T)
    points = np.array([[3, 10, 40, 10], [3, 10, 40, 12.5]])
    np.testing.assert_allclose(symmetric_epipolar_distance_px(points, F01), [0, 2.5])
    np.testing.assert_allclose(sampson_distance_px(points, F01), [0, 2.5 / np.sqrt(2)])


def test_epipole0_is_where_the_other_camera_is_seen():
    K0, K1, T, _ = two_cameras(9)
    centre1 = K0 @ (-T[:3, :3].T @ T[:3, 3])
    epipole = epipole0(fundamental_from_pose(K0, K1, T))
    np.testing.assert_allclose(epipole / epipole[2], centre1 / centre1[2], rtol=1e-6)


def test_distances_at_the_epipole_are_finite_and_zero():
    T = np.eye(4)
    T[2, 3] = 1  # forwards: both epipoles at the origin
    F01 = fundamental_from_pose(np.eye(3), np.eye(3), T)
    points = np.array([[0, 0, 0, 0], [0, 0, 5, 5.0]])
    np.testing.assert_array_equal(symmetric_epipolar_distance_px(points, F01), [0, 0])
    np.testing.assert_array_equal(sampson_distance_px(points, F01), [0, 0])
    np.testing.assert_array_equal(epipolar_lines(points[:, :2], F01), np.zeros((2, 3)))


@pytest.mark.parametrize("function", [symmetric_epipolar_distance_px, sampson_distance_px])
def test_distances_of_none_and_of_a_wrong_shape(function):
    assert function(np.empty((0, 4)), np.eye(3)).shape == (0,)
    with pytest.raises(ShapeError, match=r"\[N, 4\]"):
        function(np.zeros((3, 2)), np.eye(3))
    with pytest.raises(ShapeError, match=r"\[N, 2\]"):
        epipolar_lines(np.zeros((3, 4)), np.eye(3))
