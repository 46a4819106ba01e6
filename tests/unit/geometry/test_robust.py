"""Robust fits: right on known scenes, repeatable, and None where there is no model."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from gim.errors import ShapeError
from gim.geometry.epipolar import fundamental_from_pose, sampson_distance_px, symmetric_epipolar_distance_px
from gim.geometry.homography import apply_homography
from gim.geometry.pose import as_pose
from gim.geometry.robust import RobustFitConfig, fit_fundamental, fit_homography

ESTIMATORS = ["magsac", "poselib"]
H01 = np.array([[1.05, 0.08, 20], [-0.06, 0.97, -11], [8e-5, 3e-5, 1]])


def scene(seed, num=400, wrong_share=0.4, is_turning=False):
    """Matches with 0.3 px of noise, which are right, and the true fundamental matrix."""
    rng = np.random.default_rng(seed)
    K = np.array([[700, 0, 500], [0, 700, 350], [0, 0, 1.0]])
    pose = as_pose(
        np.column_stack([cv2.Rodrigues(rng.normal(0, 0.06, 3))[0], [0, 0, 0] if is_turning else [0.4, 0.1, 0.3]])
    )
    x0 = rng.uniform((20, 20), (980, 680), (num, 2))
    X0 = np.column_stack([x0, np.ones(num)]) @ np.linalg.inv(K).T * rng.uniform(3, 15, (num, 1))
    x1 = (X0 @ pose[:3, :3].T + pose[:3, 3]) @ K.T
    points = np.hstack([x0, x1[:, :2] / x1[:, 2:]]) + rng.normal(0, 0.3, (num, 4))
    is_right = rng.random(num) >= wrong_share
    points[~is_right, 2:] = rng.uniform((0, 0), (1000, 700), (np.count_nonzero(~is_right), 2))
    return points.astype(np.float32), is_right, fundamental_from_pose(K, K, pose)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_fit_fundamental_finds_the_right_matches_and_the_true_geometry(estimator):
    for seed in range(3):
        points, is_right, _ = scene(seed)
        fit = fit_fundamental(points, RobustFitConfig(estimator=estimator))
        assert fit.inliers[is_right].mean() > 0.97
        assert is_right[fit.inliers].mean() > 0.97
        assert np.median(symmetric_epipolar_distance_px(points[is_right], fit.F01)) < 0.4
        assert abs(np.linalg.det(fit.F01)) < 1e-12
        assert np.linalg.norm(fit.F01) == pytest.approx(1)


def test_fit_fundamental_finds_a_quarter_of_right_matches_among_many():
    for seed in range(4):
        points, is_right, _ = scene(seed, num=1500, wrong_share=0.75)
        fit = fit_fundamental(points, RobustFitConfig(), seed=seed)
        assert fit.inliers[is_right].mean() > 0.97
        assert is_right[fit.inliers].mean() > 0.95


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("threshold_px", [0.5, 1.5])
def test_fit_fundamental_inliers_are_those_below_the_threshold(estimator, threshold_px):
    points, _, _ = scene(0)
    fit = fit_fundamental(points, RobustFitConfig(estimator=estimator, threshold_px=threshold_px))
    np.testing.assert_array_equal(fit.inliers, sampson_distance_px(points, fit.F01) < threshold_px)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_fit_fundamental_is_the_same_each_time_and_in_every_thread(estimator):
    points, _, _ = scene(1, wrong_share=0.6)
    config = RobustFitConfig(estimator=estimator, max_iterations=500)
    alone = fit_fundamental(points, config, seed=5)
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda _: fit_fundamental(points, config, seed=5), range(6)))
    for fit in together:
        np.testing.assert_array_equal(fit.F01, alone.F01)
        np.testing.assert_array_equal(fit.inliers, alone.inliers)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_fit_fundamental_follows_its_seed(estimator):
    points, _, _ = scene(1, wrong_share=0.8)
    config = RobustFitConfig(estimator=estimator, max_iterations=60)
    fits = [fit_fundamental(points, config, seed=seed) for seed in range(6)]
    assert len({fit.F01.tobytes() for fit in fits if fit}) > 1
    from_config = fit_fundamental(points, RobustFitConfig(estimator=estimator, max_iterations=60, seed=3))
    np.testing.assert_array_equal(from_config.F01, fits[3].F01)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_fit_fundamental_leaves_its_input_and_takes_any_layout(estimator):
    points, _, _ = scene(2)
    before = points.copy()
    fit = fit_fundamental(points, RobustFitConfig(estimator=estimator))
    np.testing.assert_array_equal(points, before)
    reversed_twice = np.asfortranarray(points[::-1])[::-1]
    np.testing.assert_array_equal(fit_fundamental(reversed_twice, RobustFitConfig(estimator=estimator)).F01, fit.F01)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_fit_fundamental_when_the_camera_only_turns_keeps_the_right_matches(estimator):
    points, is_right, _ = scene(0, is_turning=True)
    fit = fit_fundamental(points, RobustFitConfig(estimator=estimator))
    assert fit.inliers[is_right].mean() > 0.97
    assert is_right[fit.inliers].mean() > 0.93


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("num", [0, 1, 6, 7])
def test_fit_fundamental_of_too_few_is_none(estimator, num):
    assert fit_fundamental(scene(0)[0][:num], RobustFitConfig(estimator=estimator)) is None


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_fit_fundamental_of_degenerate_input_is_none_or_well_formed(estimator):
    rng = np.random.default_rng(0)
    line = np.linspace(0, 100, 50)
    for points in (
        np.zeros((50, 4)),
        np.full((50, 4), 300.0),
        np.column_stack([line, 2 * line, line + 5, 2 * line + 9]),
        np.tile(rng.uniform(0, 500, (3, 4)), (20, 1)),
        rng.uniform(0, 1000, (9, 4)),
        np.column_stack([rng.uniform(0, 500, (30, 2)), np.zeros((30, 2))]),
    ):
        fit = fit_fundamental(points.astype(np.float32), RobustFitConfig(estimator=estimator, max_iterations=200))
        assert fit is None or (np.isfinite(fit.F01).all() and fit.inliers.sum() >= 8)


def test_fit_fundamental_when_shape_is_wrong_says_so():
    with pytest.raises(ShapeError, match=r"\[N, 4\]"):
        fit_fundamental(np.zeros((10, 2), np.float32), RobustFitConfig())


def test_fit_homography_finds_the_plane():
    rng = np.random.default_rng(0)
    x0 = rng.uniform(0, 600, (200, 2))
    points = np.hstack([x0, apply_homography(x0, H01) + rng.normal(0, 0.3, x0.shape)])
    points[:80, 2:] = rng.uniform(0, 600, (80, 2))
    fit = fit_homography(points.astype(np.float32), threshold_px=2.0)
    assert fit.inliers[80:].mean() > 0.97
    assert fit.inliers[:80].mean() < 0.05
    corners = np.array([[0, 0], [600, 0], [600, 600], [0, 600.0]])
    np.testing.assert_allclose(apply_homography(corners, fit.H01), apply_homography(corners, H01), atol=0.5)


def test_fit_homography_of_nothing_and_of_a_line_is_none_or_well_formed():
    assert fit_homography(np.zeros((0, 4), np.float32)) is None
    assert fit_homography(np.zeros((3, 4), np.float32)) is None
    line = np.linspace(0, 100, 50)
    for points in (np.zeros((50, 4)), np.column_stack([line, line, line, line])):
        fit = fit_homography(points.astype(np.float32))
        assert fit is None or np.isfinite(fit.H01).all()
