"""Patch alignment on textures that are known between the pixels, and the local maps it starts from."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from gim.labels.config import RefineConfig
from gim.labels.local_motion import LocalMotion
from gim.labels.refine import PatchFit, align_patches, refine_points
from tests.unit.labels.textures import HEIGHT, WIDTH, about_the_middle, grid, moved, picture, waves

# Numbers of our own: what is promised here does not depend on the recipe's.
CONFIG = replace(
    RefineConfig(),
    radius_px=7,
    steps=4,
    neighbours=8,
    min_correlation=0.85,
    max_shift_px=1.5,
    max_error_px=0.1,
    max_deviation=1.0,
    max_plausible_deviation=3.0,
)


def turned(angle_deg: float, zoom: float = 1.0) -> np.ndarray:
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return zoom * np.array([[c, -s], [s, c]])


def strayed(points1: np.ndarray, most_px: float, seed: int = 0) -> np.ndarray:
    return points1 + np.random.default_rng(seed).uniform(-most_px, most_px, points1.shape)


def rows(points0: np.ndarray, points1: np.ndarray) -> np.ndarray:
    return np.hstack([points0, points1]).astype(np.float32)


def same_warp(A: np.ndarray, num: int) -> np.ndarray:
    return np.broadcast_to(A, (num, 2, 2)).astype(np.float32)


def align(grey0: np.ndarray, grey1: np.ndarray, points: np.ndarray, A: np.ndarray | None = None) -> PatchFit:
    return align_patches(grey0, grey1, points, same_warp(np.eye(2) if A is None else A, len(points)), CONFIG)


@pytest.mark.parametrize(
    ("A", "shift"),
    [
        (np.eye(2), (4.0, -3.0)),
        (np.eye(2), (4.25, -2.6)),
        (np.eye(2), (0.5, 0.5)),
        (turned(10), (1.3, 0.4)),
        (turned(-25, 0.85), (0.2, 1.7)),
        (turned(5, 1.25), (-1.5, 0.1)),
        (np.array([[1.2, 0.2], [-0.1, 0.9]]), (2.3, 3.1)),
    ],
)
def test_alignment_recovers_known_maps_to_a_twentieth_of_a_pixel(A: np.ndarray, shift: tuple[float, float]) -> None:
    texture, H = waves(3), about_the_middle(A, shift)
    points0 = grid(24)
    truth = moved(H, points0)
    start = strayed(truth, 0.7)
    fit = align(picture(texture), picture(texture, H), rows(points0, start), A)
    error_px = np.linalg.norm(fit.positions1 - truth, axis=1)
    assert np.median(error_px) < 0.02
    assert (error_px < 0.05).mean() > 0.97
    assert np.percentile(fit.correlation, 3) > 0.999
    np.testing.assert_allclose(fit.shift_px, np.linalg.norm(fit.positions1 - start, axis=1), atol=1e-4)


@pytest.mark.parametrize(("gain", "offset"), [(0.6, 0.0), (1.0, 25.0), (0.7, -30.0), (1.15, 5.0)])
def test_another_exposure_changes_nothing(gain: float, offset: float) -> None:
    texture, H = waves(4, contrast=28), about_the_middle(np.eye(2), (2.4, 1.3))
    points0 = grid(20)
    fit = align(picture(texture), picture(texture, H, gain=gain, offset=offset), rows(points0, moved(H, points0) + 0.4))
    error_px = np.linalg.norm(fit.positions1 - moved(H, points0), axis=1)
    assert (error_px < 0.05).mean() > 0.97
    assert np.percentile(fit.correlation, 3) > 0.99


def test_the_predicted_error_is_that_of_noisy_pictures() -> None:
    texture, rng = waves(5, contrast=20), np.random.default_rng(1)
    clean = picture(texture).astype(float)
    noisy = [np.clip(np.rint(clean + rng.normal(0, 6, clean.shape)), 0, 255).astype(np.uint8) for _ in range(2)]
    points0 = grid(16, 6.0)
    fit = align(*noisy, rows(points0, points0))
    error_px = np.linalg.norm(fit.positions1 - points0, axis=1)
    assert 0.3 < np.median(error_px) / np.median(fit.error_px) < 2.0
    assert np.percentile(error_px, 90) < 4 * np.median(fit.error_px)


def noisy(image: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 2, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def test_flat_patches_and_lone_edges_pin_nothing_down() -> None:
    flat = np.full((HEIGHT, WIDTH), 128.0)
    edge = flat.copy()
    edge[:, WIDTH // 2 :] = 180
    edge = cv2.GaussianBlur(edge, (0, 0), 1.5)
    places = {
        "flat": (flat, grid(20)),
        "edge": (edge, np.column_stack([np.full(9, WIDTH / 2), np.arange(20, 101, 10)])),
    }
    for image, points0 in places.values():
        fit = align(noisy(image, 0), noisy(image, 1), rows(points0, points0))
        good = (fit.correlation > CONFIG.min_correlation) & (fit.error_px < CONFIG.max_error_px)
        assert not good.any()
    # The edge does correlate: only the predicted error tells that the position along it is free.
    fit = align(noisy(edge, 0), noisy(edge, 1), rows(places["edge"][1], places["edge"][1]))
    assert (fit.correlation > CONFIG.min_correlation).all()
    corner = waves(6)
    points0 = grid(20)
    fit = align(noisy(picture(corner), 0), noisy(picture(corner), 1), rows(points0, points0))
    assert (fit.error_px < CONFIG.max_error_px).mean() > 0.95


def test_an_edge_without_any_noise_pins_nothing_down_either() -> None:
    edge = np.full((HEIGHT, WIDTH), 128, np.uint8)
    edge[:, WIDTH // 2 :] = 180
    points0 = np.column_stack([np.full(9, WIDTH / 2), np.arange(20, 101, 10)])
    fit = align(edge, edge, rows(points0, np.add(points0, [0.3, 0.9])))
    assert (fit.correlation > CONFIG.min_correlation).all()
    assert (fit.error_px > CONFIG.max_error_px).all()


def test_pictures_of_one_colour_without_any_noise_are_no_match() -> None:
    flat = np.full((HEIGHT, WIDTH), 90, np.uint8)
    points = rows(grid(20), grid(20))
    for other in (flat, np.full_like(flat, 200)):
        fit = align(flat, other, points)
        assert np.isfinite(fit.positions1).all()
        assert not (fit.correlation > CONFIG.min_correlation).any()


def test_refining_moves_what_aligns_confirms_what_is_right_and_refutes_what_strays() -> None:
    texture, H = waves(8), about_the_middle(turned(6, 1.08), (3.4, -1.2))
    points0 = grid(20, 7.0)
    truth = moved(H, points0)
    points = rows(points0, strayed(truth, 0.4))
    inside = np.flatnonzero((np.abs(points0 - points0.mean(axis=0)) < [40, 25]).all(axis=1))
    wrong = inside[::15]
    points[wrong, 2:] += np.random.default_rng(2).choice([-1, 1], (len(wrong), 2)) * 20
    before = points.copy()
    found = refine_points(picture(texture), picture(texture, H), points, CONFIG)
    np.testing.assert_array_equal(points, before)
    np.testing.assert_array_equal(found.points[:, :2], points[:, :2])
    confirmed = found.is_confirmed
    assert (found.points.dtype, confirmed.dtype, confirmed.shape) == (np.float32, np.bool_, (len(points),))
    assert not confirmed[wrong].any()
    assert not found.is_plausible[wrong].any()
    assert np.delete(confirmed, wrong).mean() > 0.5
    assert np.delete(found.is_plausible, wrong).mean() > 0.9
    error_px = np.linalg.norm(found.points[confirmed, 2:] - truth[confirmed], axis=1)
    assert np.median(error_px) < 0.05  # the local maps are those of strayed points
    assert np.percentile(error_px, 85) < 0.15


def test_points_at_the_border_give_finite_numbers_and_the_inner_ones_are_unharmed() -> None:
    texture, H = waves(9), about_the_middle(np.eye(2), (1.5, 0.5))
    rim = np.array([[0, 0], [WIDTH - 1, 0], [0, HEIGHT - 1], [WIDTH - 1, HEIGHT - 1], [-0.4, 50], [WIDTH - 0.6, 60]])
    points0 = np.vstack([rim, grid(20)])
    points = rows(points0, moved(H, points0) + 0.3)
    fit = align(picture(texture), picture(texture, H), points)
    for values in (fit.positions1, fit.correlation, fit.shift_px, fit.error_px):
        assert np.isfinite(values).all()
    alone = align(picture(texture), picture(texture, H), points[len(rim) :])
    np.testing.assert_allclose(fit.positions1[len(rim) :], alone.positions1, atol=1e-3)


@pytest.mark.parametrize("num", [0, 1, 2, CONFIG.neighbours])
def test_few_points_are_neither_confirmed_nor_refuted(num: int) -> None:
    points = rows(grid(20)[:num], grid(20)[:num])
    image = picture(waves(1))
    found = refine_points(image, image, points, CONFIG)
    np.testing.assert_array_equal(found.points, points)
    assert (found.is_confirmed.tolist(), found.is_plausible.tolist()) == ([False] * num, [True] * num)


def test_how_points_are_gathered_changes_no_point() -> None:
    texture, H = waves(10), about_the_middle(turned(4), (2.2, 0.7))
    points0 = grid(20, 3.0)
    assert len(points0) > 600  # more than are aligned together
    points = rows(points0, strayed(moved(H, points0), 0.5))
    warps = LocalMotion(points[:, :2], 8).warps(points[:, 2:])
    whole = align_patches(picture(texture), picture(texture, H), points, warps, CONFIG)
    for part in (slice(0, 7), slice(100, 101), slice(200, None), slice(None, None, -1)):
        alone = align_patches(picture(texture), picture(texture, H), points[part], warps[part], CONFIG)
        np.testing.assert_allclose(alone.positions1, whole.positions1[part], atol=1e-3)


def test_patches_that_stop_early_are_where_many_more_steps_would_take_them(monkeypatch: pytest.MonkeyPatch) -> None:
    texture, H = waves(11), about_the_middle(turned(3, 1.05), (2.2, 0.7))
    points0 = grid(20, 5.0)
    points = rows(points0, strayed(moved(H, points0), 0.7, seed=3))
    images, warps = (picture(texture), picture(texture, H, gain=0.9)), same_warp(turned(3, 1.05), len(points))
    few = align_patches(*images, points, warps, CONFIG)
    monkeypatch.setattr("gim.labels.refine._SETTLED_PX", 0.0)
    many = align_patches(*images, points, warps, replace(CONFIG, steps=12))
    assert (few.positions1 != many.positions1).any()
    gap_px = np.linalg.norm(few.positions1 - many.positions1, axis=1)
    assert np.percentile(gap_px, 95) < 0.005
    np.testing.assert_allclose(few.correlation, many.correlation, atol=1e-3)


def test_patches_that_are_given_up_are_never_accepted() -> None:
    points0 = grid(20, 5.0)
    points = rows(points0, np.add(points0, [0.4, -0.3]))
    fit = align(picture(waves(12)), picture(waves(13)), points)
    is_moving = fit.shift_px < CONFIG.max_shift_px
    assert (fit.correlation < CONFIG.min_correlation)[is_moving].mean() > 0.9
    found = refine_points(picture(waves(12)), picture(waves(13)), points, CONFIG)
    assert found.is_aligned.mean() < 0.02
    np.testing.assert_array_equal(found.points[~found.is_aligned], points[~found.is_aligned])
