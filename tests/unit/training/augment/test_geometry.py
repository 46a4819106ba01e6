"""What is drawn stays within what the recipes say."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gim.errors import ConfigError
from gim.geometry.homography import apply_homography
from gim.training.augment.config import NONE, PAPER, SYNTHETIC, UPSTREAM, GeometryConfig, augment_recipe
from gim.training.augment.geometry import (
    draw_homography,
    draw_pair,
    draw_view,
    draw_views,
    fitting,
    homography_between,
    image_corners,
    view_overlap,
)

SIZE = (640, 480)
FRAME = (1280, 720)


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def scale_of(A):
    return A[0, 0] * FRAME[0] / 640


def pairs(config, count=200, labels=None):
    return [draw_pair(config, (FRAME, FRAME), SIZE, rng_of(seed), labels=labels) for seed in range(count)]


LABELS = np.array([[100, 80, 300, 200], [1100, 600, 1000, 500]], np.float32)


def test_each_corner_moves_by_at_most_a_quarter_and_by_all_of_it():
    config = dataclasses.replace(UPSTREAM.geometry, rotation_deg=0)
    corners = image_corners(SIZE)
    shifts = (
        np.array([apply_homography(corners, draw_homography(config, SIZE, rng_of(i))) for i in range(400)]) - corners
    )
    shares = shifts / SIZE
    assert np.abs(shares).max() <= 0.25 + 1e-6
    assert np.abs(shares.mean(axis=0)).max() < 0.03
    np.testing.assert_allclose(shares.std(axis=0), 0.5 / np.sqrt(12), atol=0.02)  # uniform
    correlation = np.corrcoef(shares.reshape(400, 8).T) - np.eye(8)
    assert np.abs(correlation).max() < 0.25


def test_rotation_is_about_the_centre_either_way_and_uniform():
    config = GeometryConfig(rotation_deg=180.0)
    centre = image_corners(SIZE).mean(axis=0)
    angles = []
    for seed in range(400):
        H = draw_homography(config, SIZE, rng_of(seed))
        moved = apply_homography([centre, np.add(centre, (100, 0))], H)
        np.testing.assert_allclose(moved[0], centre, atol=1e-6)
        assert np.linalg.norm(moved[1] - moved[0]) == pytest.approx(100)
        angles.append(np.degrees(np.arctan2(*(moved[1] - moved[0])[::-1])))
    counts = np.histogram(angles, bins=6, range=(-180, 180))[0]
    assert counts.min() > 400 / 6 * 0.6


def test_upstream_scales_the_left_image_down_and_the_right_up_and_warps_nine_tenths_of_the_right():
    flat = dataclasses.replace(UPSTREAM.geometry, perspective_labelled=0.0, fill_probability=0.0)
    inner = np.array([[10, 10, 10, 10], [700, 400, 700, 400]], np.float32)
    drawn = pairs(flat, labels=inner)
    scales0, scales1 = (np.array([scale_of(pair[view]) for pair in drawn]) for view in (0, 1))
    for scales, low, high in ((scales0, 0.6, 1.0), (scales1, 1.0, 1.4)):
        assert scales.min() > low - 2e-3
        assert scales.max() < high + 2e-3
        moved = scales[np.abs(scales - 1) > 2e-3]
        assert 0.4 < len(moved) / len(scales) < 0.6
        assert moved.min() < low + 0.05
        assert moved.max() > high - 0.05
    tilted = [A1[2, :2].any() for _, A1 in pairs(UPSTREAM.geometry, labels=LABELS)]
    assert 0.8 < np.mean(tilted) < 0.97
    assert not any(A0[2, :2].any() for A0, _ in pairs(UPSTREAM.geometry, labels=LABELS))


def test_others_are_scaled_both_ways_on_both_sides():
    flat = dataclasses.replace(UPSTREAM.geometry, perspective_other=0.0, fill_probability=0.0)
    for view in (0, 1):
        scales = [scale_of(pair[view]) for pair in pairs(flat)]
        assert 0.6 <= min(scales) + 2e-3 < 0.65
        assert 1.35 < max(scales) <= 1.4 + 2e-3
    assert 0.8 < np.mean([A1[2, :2].any() for _, A1 in pairs(UPSTREAM.geometry)]) < 0.97


@settings(max_examples=100)
@given(seed=st.integers(0, 2**32), box=st.tuples(*[st.integers(0, 1279), st.integers(0, 719)] * 2), fill=st.booleans())
def test_crops_keep_the_labels_first_corner_and_scaling_up_keeps_the_last(seed, box, fill):
    low, high = np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])
    labels = np.array([[*low, *low], [*high, *high]], np.float64)
    config = dataclasses.replace(UPSTREAM.geometry, perspective_labelled=0.0, fill_probability=float(fill))
    A0, A1 = draw_pair(
        dataclasses.replace(config, rescale_probability=1.0), (FRAME, FRAME), SIZE, rng_of(seed), labels=labels
    )
    for A in (A0, A1):
        first = apply_homography(low[None], A)[0]
        assert np.all(first >= -0.5 - 1e-6)
    assert np.all(apply_homography(high[None], A1)[0] < np.array(SIZE) + 0.5)  # to the rounding of the size
    if not fill:
        assert np.all(apply_homography(high[None], A0)[0] < np.array(SIZE) - 0.5)


def test_recipes_differ_as_their_sources_do():
    fit = fitting(FRAME, SIZE)
    for A in np.reshape(pairs(NONE.geometry, 3, labels=LABELS), (-1, 3, 3)):
        np.testing.assert_array_equal(A, fit)
    drawn = pairs(PAPER.geometry, labels=LABELS)
    assert all(np.array_equal(A0, fit) for A0, _ in drawn)
    assert 0.8 < np.mean([A1[2, :2].any() for _, A1 in drawn]) < 0.97
    rolls = [np.degrees(np.arctan2(A1[1, 0], A1[0, 0])) for _, A1 in drawn]
    assert np.abs(rolls).max() < 70  # corners alone turn no image over
    assert all(np.array_equal(A1, fit) for _, A1 in pairs(PAPER.geometry))
    assert [augment_recipe(name) for name in ("none", "paper", "upstream")] == [NONE, PAPER, UPSTREAM]
    with pytest.raises(ConfigError, match="'dark': use one of none, paper, upstream"):
        augment_recipe("dark")


def test_fitting_keeps_the_aspect_and_lies_at_the_top_left():
    for frame, expected in (
        ((1280, 720), (640, 360)),
        ((480, 854), (270, 480)),
        ((64, 48), (640, 480)),
        ((3, 3000), (1, 480)),
    ):
        corners = apply_homography(image_corners(frame), fitting(frame, SIZE))
        np.testing.assert_allclose(corners, image_corners(expected), atol=1e-9)


def test_homographies_are_positive_inside_what_they_map():
    quadrangle = np.array([[600, 300], [640, 250], [640, 390], [600, 330.0]])  # the origin lies beyond its horizon
    H01 = homography_between(quadrangle, image_corners(SIZE))
    np.testing.assert_allclose(apply_homography(quadrangle, H01), image_corners(SIZE), atol=1e-6)
    assert (np.column_stack([quadrangle, np.ones(4)]) @ H01[2] > 0).all()


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), frame=st.sampled_from([FRAME, (480, 854), (40, 30)]), difficulty=st.floats(0, 0.95))
def test_views_lie_inside_the_frame(seed, frame, difficulty):
    config = dataclasses.replace(SYNTHETIC, difficulty=difficulty)
    A = draw_view(config, frame, SIZE, rng_of(seed))
    seen = apply_homography(image_corners(SIZE), np.linalg.inv(A))
    low, high = image_corners(frame)[[0, 2]]
    assert np.all((seen >= low - 1e-3) & (seen <= high + 1e-3))
    sides = np.roll(seen, -1, axis=0) - seen
    after = np.roll(sides, -1, axis=0)
    assert (sides[:, 0] * after[:, 1] - sides[:, 1] * after[:, 0] > 0).all()  # convex, and not mirrored


def test_views_without_difficulty_are_the_largest_of_their_aspect_and_turn_nothing():
    A = draw_view(dataclasses.replace(SYNTHETIC, difficulty=0.0, translation=0.0), FRAME, SIZE, rng_of(0))
    seen = apply_homography(image_corners(SIZE), np.linalg.inv(A))
    np.testing.assert_allclose(seen, np.add(image_corners((960, 720)), (160, 0)), atol=1e-3)


def test_views_turn_and_overlap_as_configured():
    angles, overlaps = [], []
    for seed in range(100):
        A0, A1 = draw_views(SYNTHETIC, FRAME, SIZE, rng_of(seed))
        H01 = A1 @ np.linalg.inv(A0)
        overlaps.append(min(view_overlap(H01, SIZE), view_overlap(np.linalg.inv(H01), SIZE)))
        quadrangle = apply_homography(image_corners(SIZE), np.linalg.inv(A0))
        across = (quadrangle[1] + quadrangle[2]) / 2 - (quadrangle[0] + quadrangle[3]) / 2
        angles.append(np.degrees(np.arctan2(across[1], across[0])))
    assert min(overlaps) >= SYNTHETIC.min_overlap
    assert np.std(angles) > 8
    assert draw_views(dataclasses.replace(SYNTHETIC, min_overlap=1.1), FRAME, SIZE, rng_of(0)) is None


def test_overlap_counts_what_is_in_front_and_inside():
    assert view_overlap(np.eye(3), SIZE) == 1
    half = np.array([[1, 0, 320], [0, 1, 0], [0, 0, 1.0]])
    assert view_overlap(half, SIZE) == pytest.approx(0.5, abs=0.04)
    assert view_overlap(-np.eye(3), SIZE) == 0
