"""Local maps and strays against one point at a time, and what they promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gim.labels.local_motion import LocalMotion, deviation


def turned(angle_deg: float, zoom: float = 1.0) -> np.ndarray:
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return zoom * np.array([[c, -s], [s, c]])


def rows(points0: np.ndarray, points1: np.ndarray) -> np.ndarray:
    return np.hstack([points0, points1]).astype(np.float32)


def local_warps(points: np.ndarray, neighbours: int) -> np.ndarray:
    return LocalMotion(points[:, :2], neighbours).warps(points[:, 2:])


def offsets_of(points: np.ndarray, index: int, neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """From one point to its neighbours in image 0 and in image 1, float64 [k, 2] each."""
    points = points.astype(float)
    others = np.argsort(np.linalg.norm(points[:, :2] - points[index, :2], axis=1))[1 : neighbours + 1]
    return points[others, :2] - points[index, :2], points[others, 2:] - points[index, 2:]


def reference_warp(offset0: np.ndarray, offset1: np.ndarray) -> np.ndarray:
    """Ridge regression of the change of the offsets, as extra equations: 4 px from the centre, along x and along y."""
    offset0, change = offset0 - offset0.mean(axis=0), (offset1 - offset0) - (offset1 - offset0).mean(axis=0)
    return np.eye(2) + np.linalg.lstsq(np.vstack([offset0, 4 * np.eye(2)]), np.vstack([change, np.zeros((2, 2))]))[0].T


def reference_deviation(offset0: np.ndarray, offset1: np.ndarray) -> float:
    residual = offset1 - offset0 @ reference_warp(offset0, offset1).T
    median = np.median(residual, axis=0)
    return float(np.linalg.norm(median) / (np.median(np.linalg.norm(residual - median, axis=1)) + 0.3))


@given(
    seed=st.integers(0, 2**32),
    neighbours=st.integers(1, 13),
    side_px=st.sampled_from([5.0, 60.0, 900.0]),
    noise_px=st.sampled_from([0.0, 0.4, 30.0]),
)
@settings(max_examples=60)
def test_maps_and_strays_equal_the_reference(seed: int, neighbours: int, side_px: float, noise_px: float) -> None:
    rng = np.random.default_rng(seed)
    points0 = rng.uniform(0, side_px, (30, 2))
    points = rows(points0, points0 @ turned(8, 1.1).T + [40, -9] + rng.normal(0, noise_px, points0.shape))
    warps, strays = local_warps(points, neighbours), deviation(points, neighbours)
    assert (warps.dtype, strays.dtype) == (np.float32, np.float32)
    for index in range(len(points)):
        offsets = offsets_of(points, index, neighbours)
        np.testing.assert_allclose(warps[index], reference_warp(*offsets), atol=1e-3)
        np.testing.assert_allclose(strays[index], reference_deviation(*offsets), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("num", [0, 1, 12])
def test_strays_are_infinite_without_enough_neighbours(num: int) -> None:
    points = np.random.default_rng(0).uniform(0, 100, (num, 4)).astype(np.float32)
    np.testing.assert_array_equal(deviation(points, 12), np.full(num, np.inf))


@pytest.mark.parametrize("where", ["inside", "at the rim"])
def test_a_point_far_from_the_motion_of_all_its_neighbours_is_never_plausible(where: str) -> None:
    rng = np.random.default_rng(0)
    points0 = rng.uniform(0, 600, (600, 2))
    points1 = points0 * 1.05 + [20, 3] + rng.normal(0, 0.3, points0.shape)
    from_the_middle = np.linalg.norm(points0 - 300, axis=1) if where == "inside" else points0[:, 0]
    for index in np.argsort(from_the_middle)[:20]:
        strayed1 = points1.copy()
        strayed1[index] += 20 * rng.permutation([0.6, 0.8])
        assert deviation(rows(points0, strayed1), 12)[index] > 3.0


@given(seed=st.integers(0, 2**32), angle_deg=st.floats(-40, 40), zoom=st.floats(0.7, 1.4))
@settings(max_examples=25)
def test_local_maps_are_the_map_of_the_points_as_far_as_the_ridge_allows(
    seed: int, angle_deg: float, zoom: float
) -> None:
    rng = np.random.default_rng(seed)
    points0 = rng.uniform(0, 400, (60, 2))
    A = turned(angle_deg, zoom)
    warps = local_warps(rows(points0, points0 @ A.T + [7, -3]), 10)
    assert warps.shape == (60, 2, 2)
    assert np.median(np.abs(warps - A)) < 0.02


@given(seed=st.integers(0, 2**32), neighbours=st.integers(3, 12))
@settings(max_examples=25)
def test_local_maps_equal_plain_least_squares_on_wide_neighbourhoods(seed: int, neighbours: int) -> None:
    rng = np.random.default_rng(seed)
    points0 = rng.uniform(0, 40_000, (30, 2))  # so wide that a ridge of a few pixels is nothing
    points1 = points0 @ turned(3).T + rng.normal(0, 300, (30, 2))
    points = rows(points0, points1)
    warps = local_warps(points, neighbours)
    for index in range(len(points)):
        offset0, offset1 = (part - part.mean(axis=0) for part in offsets_of(points, index, neighbours))
        expected = np.linalg.lstsq(offset0, offset1)[0].T
        if np.linalg.svd(offset0)[1].min() > 1000:
            np.testing.assert_allclose(warps[index], expected, atol=5e-3)


def test_neighbours_in_one_place_say_nothing() -> None:
    points0 = np.array([[50.0, 40.0]] * 9)
    points = rows(points0, points0 + np.random.default_rng(0).uniform(-1, 1, points0.shape))
    np.testing.assert_allclose(local_warps(points, 8), np.broadcast_to(np.eye(2), (9, 2, 2)), atol=1e-6)
