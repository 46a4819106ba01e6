"""What the quality numbers of a pair mean, on pairs whose answer is known."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.geometry.homography import apply_homography
from gim.labels.quality import GRID, assess_pair, coverage, median_displacement_px, median_parallax_px
from tests.synthetic import random_tracks

WIDTH, HEIGHT = 641, 363  # no multiple of the grid


def rows(points0: np.ndarray, points1: np.ndarray) -> np.ndarray:
    return np.hstack([points0, points1]).astype(np.float32)


def slow_coverage(points: np.ndarray, width: int, height: int) -> float:
    cells = set()
    for x, y in points.tolist():
        for column in range(GRID):
            for row in range(GRID):
                left, right = column * width / GRID - 0.5, (column + 1) * width / GRID - 0.5
                top, bottom = row * height / GRID - 0.5, (row + 1) * height / GRID - 0.5
                if left <= x < right and top <= y < bottom:
                    cells.add((column, row))
    return len(cells) / GRID**2


@given(seed=st.integers(0, 2**32), num=st.integers(0, 60))
def test_coverage_counts_cells_with_a_point(seed: int, num: int) -> None:
    points = np.random.default_rng(seed).uniform((-0.4, -0.4), (WIDTH - 0.6, HEIGHT - 0.6), (num, 2)).astype(np.float32)
    assert coverage(points, WIDTH, HEIGHT) == slow_coverage(points, WIDTH, HEIGHT)


def test_coverage_of_whole_picture_one_place_and_places_just_outside() -> None:
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    assert coverage(np.column_stack([x.ravel(), y.ravel()]).astype(np.float32), WIDTH, HEIGHT) == 1.0
    assert coverage(np.full((50, 2), 7.0, np.float32), WIDTH, HEIGHT) == 1 / GRID**2
    assert coverage(np.array([[-3, -3], [WIDTH + 9, HEIGHT]], np.float32), WIDTH, HEIGHT) == 2 / GRID**2
    assert coverage(np.empty((0, 2), np.float32), WIDTH, HEIGHT) == 0.0


def test_displacement_is_the_median_length() -> None:
    points = np.array([[0, 0, 3, 4], [1, 1, 1, 1], [2, 2, 14, 7]], np.float32)
    assert median_displacement_px(points) == 5.0
    assert median_displacement_px(np.empty((0, 4), np.float32)) == 0.0


@pytest.mark.parametrize(
    "H", [np.eye(3), [[1, 0, 40], [0, 1, -9], [0, 0, 1]], [[1.1, 0.1, 5], [-0.2, 0.9, 3], [2e-4, -1e-4, 1]]]
)
def test_parallax_of_a_plane_or_a_turning_camera_is_none(H: object) -> None:
    points0 = np.random.default_rng(0).uniform(0, 400, (200, 2))
    assert median_parallax_px(rows(points0, apply_homography(points0, H))) < 0.02


def test_parallax_is_what_depth_adds_and_grows_with_the_baseline() -> None:
    tracks = random_tracks(3, num_points=800, num_frames=12)
    near, far = (median_parallax_px(tracks.correspondences(0, frame).astype(np.float32)) for frame in (2, 10))
    assert 0.2 < near < far
    assert far > 2 * near
    assert far < median_displacement_px(tracks.correspondences(0, 10).astype(np.float32))


def test_parallax_without_any_homography_is_the_displacement() -> None:
    points = np.array([[0, 0, 3, 4], [9, 9, 9, 19], [5, 1, 5, 9]], np.float32)
    assert median_parallax_px(points) == 8.0


def test_a_pair_says_everything_and_says_it_in_json() -> None:
    tracks = random_tracks(5, num_points=900, num_frames=8)
    exact = tracks.correspondences(0, 6)
    points = exact.astype(np.float32)
    quality = assess_pair(
        points,
        tracks.fundamental(0, 6),
        width=640,
        height=480,
        interval_frames=30,
        interval_seconds=1.2000000004,
        num_links=3,
        guided_share=0.33333333,
        confirmed_share=0.66666666,
        num_matchers=2,
    )
    assert (quality.num_correspondences, quality.interval_frames, quality.num_links, quality.num_matchers) == (
        len(points), 30, 3, 2
    )  # fmt: skip
    assert (quality.interval_seconds, quality.guided_share, quality.confirmed_share) == (1.2, 0.3333, 0.6667)
    assert quality.coverage == min(coverage(points[:, :2], 640, 480), coverage(points[:, 2:], 640, 480))
    assert quality.epipolar_residual_px < 0.001
    assert quality.median_parallax_px == round(median_parallax_px(points), 3)
    assert json.loads(json.dumps(asdict(quality), allow_nan=False)) == asdict(quality)


def test_the_residual_is_the_distance_from_the_lines() -> None:
    tracks = random_tracks(6, num_points=900, num_frames=8, path=None)
    exact = tracks.correspondences(0, 6)
    exact[:, 3] += np.where(np.arange(len(exact)) % 2, 1.0, -1.0)  # the camera moves sideways: lines are level
    quality = assess_pair(
        exact.astype(np.float32), tracks.fundamental(0, 6), width=640, height=480, interval_frames=1,
        interval_seconds=1.0, num_links=0, guided_share=0.0, confirmed_share=0.0, num_matchers=1,
    )  # fmt: skip
    assert quality.epipolar_residual_px == pytest.approx(1.0, abs=0.01)
