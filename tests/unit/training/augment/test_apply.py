"""Augmented pairs: the truth goes where the pixels go, whatever is drawn."""

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gim.errors import ShapeError
from gim.geometry.homography import apply_homography
from gim.training.augment.apply import augment_pair, synthetic_pair, warp_sample
from gim.training.augment.config import (
    DARK,
    NONE,
    PAPER,
    SYNTHETIC,
    UPSTREAM,
    AugmentConfig,
    GeometryConfig,
    PhotometricConfig,
    SyntheticConfig,
)
from gim.training.augment.geometry import draw_pair
from gim.training.samples import Homography, Labels, Posed, SampleSkipped
from tests.unit.training.augment.pairs import (
    dot_centre,
    ideal_dot,
    labelled,
    plane_pair,
    posed_position,
    sample_of,
    texture,
    with_dots,
)

SIZE = (96, 72)
SIDES = st.integers(24, 220)
SIZES = st.tuples(SIDES, SIDES)
COLOURLESS = dataclasses.replace(UPSTREAM, photometric=PhotometricConfig())


def augmented(sample, config, seed, **limits):
    return augment_pair(
        sample, config, SIZE, np.random.default_rng(seed), **{"min_labels": 1, "max_tries": 30} | limits
    )


@settings(max_examples=25)
@given(size0=SIZES, size1=SIZES, config=st.sampled_from([NONE, PAPER, UPSTREAM]), seed=st.integers(0, 2**32))
@example(size0=(24, 24), size1=(200, 100), config=UPSTREAM, seed=0)
def test_labels_map_onto_each_other_through_the_drawn_transform(size0, size1, config, seed):
    config = dataclasses.replace(config, photometric=PhotometricConfig())  # draws nothing after its first number
    sample = labelled(size0, size1)
    try:
        result = augmented(sample, config, seed, max_tries=1)
    except SampleSkipped:
        return
    rng = np.random.default_rng(seed)
    rng.random(2)
    A0, A1 = draw_pair(config.geometry, (size0, size1), SIZE, rng, labels=sample.truth.points)
    expected = []
    for x0, y0, x1, y1 in sample.truth.points.astype(np.float64):
        moved0, moved1 = A0 @ (x0, y0, 1), A1 @ (x1, y1, 1)
        u0, v0, u1, v1 = *(moved0[:2] / moved0[2]), *(moved1[:2] / moved1[2])
        if all(-0.5 <= u < SIZE[0] - 0.5 for u in (u0, u1)) and all(-0.5 <= v < SIZE[1] - 0.5 for v in (v0, v1)):
            expected.append((u0, v0, u1, v1))
    # Those within a pixel of an image's edge may lie on pixels whose centres are outside, and are left out.
    gaps = np.abs(np.array(expected)[:, None] - result.truth.points[None]).max(axis=2)
    assert gaps.min(axis=0).max() < 1e-3
    assert len(result.truth.points) <= len(expected)


@settings(max_examples=15)
@given(size0=SIZES, config=st.sampled_from([NONE, PAPER, UPSTREAM]), seed=st.integers(0, 2**32))
def test_images_are_of_the_size_and_black_where_not_valid_and_labels_lie_on_valid_pixels(size0, config, seed):
    try:
        result = augmented(labelled(size0, (150, 90)), config, seed)
    except SampleSkipped:
        return
    for image, valid, keypoints in (
        (result.image0, result.valid0, result.truth.points[:, :2]),
        (result.image1, result.valid1, result.truth.points[:, 2:]),
    ):
        assert image.shape == (SIZE[1], SIZE[0], 3)
        assert image.dtype == np.uint8
        assert valid.shape == (SIZE[1], SIZE[0])
        assert valid.dtype == np.bool_
        assert not image[~valid].any()
        column, row = np.floor(keypoints + 0.5).astype(int).T
        assert valid[row, column].all()
    assert result.truth.points.dtype == np.float32


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), size1=st.sampled_from([(300, 200), (150, 230), (96, 72), (60, 40)]))
def test_dots_painted_at_labels_are_found_at_the_warped_labels(seed, size1):
    """OpenCV's convention and that of the labels are one: no half pixel between them, at any scale."""
    rng = np.random.default_rng(seed)
    sizes = (240, 180), size1
    centres = [rng.uniform(0.3, 0.7, 2) * size for size in sizes]
    sigmas = [0.02 * max(size) for size in sizes]
    images = [with_dots(size, centre[None], sigma) for size, centre, sigma in zip(sizes, centres, sigmas, strict=True)]
    geometry = dataclasses.replace(UPSTREAM.geometry, corner_shift=0.1)  # tame, so that dots stay smooth and small
    labels = np.hstack(centres).astype(np.float32)[None]
    rng = np.random.default_rng(seed)
    rng.random(2)  # of the colours, which stay as they are
    maps = draw_pair(geometry, sizes, SIZE, rng, labels=labels)
    try:
        result = augmented(sample_of(*images, Labels(labels)), AugmentConfig(geometry=geometry), seed, max_tries=1)
    except SampleSkipped:
        return
    point = result.truth.points[0].astype(np.float64)
    for view, (image, keypoint) in enumerate(((result.image0, point[:2]), (result.image1, point[2:]))):
        if np.all((keypoint > 12) & (keypoint < np.array(SIZE) - 13)):  # the whole dot is in the image
            # What perspective does to the middle of a dot, a few hundredths of a pixel, is none of the convention's.
            tilt = dot_centre(ideal_dot(centres[view], sigmas[view], maps[view], SIZE), keypoint, 10) - keypoint
            assert np.linalg.norm(tilt) < 0.3
            assert np.linalg.norm(dot_centre(image, keypoint, 10) - keypoint - tilt) < 0.04


def test_dots_stay_at_their_labels_whatever_happens_to_the_colours():
    centre = np.array([[61.3, 44.6]])
    sample = sample_of(*[with_dots((120, 90), centre, 3.0)] * 2, Labels(np.hstack([centre, centre]).astype(np.float32)))
    strong = dataclasses.replace(
        DARK, probability=1.0, brightness=(0.0, 0.0), blur_probability=0.5, motion_blur_probability=1.0
    )
    plain = augmented(sample, NONE, 0).truth.points
    for seed in range(30):
        result = augmented(sample, AugmentConfig(strong), seed)
        np.testing.assert_array_equal(result.truth.points, plain)
        found = dot_centre(result.image0, plain[0, :2].astype(np.float64), 20)
        assert np.linalg.norm(found - plain[0, :2]) < 0.1


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32))
def test_homography_and_posed_truth_agree_with_labels_made_from_them(seed):
    rng = np.random.default_rng(seed)
    posed, H01 = plane_pair((120, 90))
    keypoints = rng.uniform((20, 20), (100, 70), (50, 2))
    points = np.hstack([keypoints, apply_homography(keypoints, H01)])
    A0, A1 = draw_pair(UPSTREAM.geometry, ((120, 90), (120, 90)), SIZE, rng)
    images = texture(120, 90), texture(120, 90, 1)
    truths = [
        warp_sample(sample_of(*images, truth), A0, A1, SIZE).truth
        for truth in (Labels(points.astype(np.float32)), Homography(H01), posed)
    ]
    for x0, y0, x1, y1 in truths[0].points.astype(np.float64):
        np.testing.assert_allclose(apply_homography([[x0, y0]], truths[1].H01)[0], (x1, y1), atol=2e-3)
        np.testing.assert_allclose(posed_position(truths[2], (x0, y0), 4.0), (x1, y1), atol=2e-3)


def test_other_truths_have_no_limit_of_labels_and_are_warped_by_what_is_drawn_for_them():
    posed, H01 = plane_pair((120, 90))
    images = texture(120, 90), texture(120, 90, 1)
    for truth in (Homography(H01), posed):
        result = augmented(sample_of(*images, truth), COLOURLESS, 3, min_labels=1000)
        rng = np.random.default_rng(3)
        rng.random(2)
        A0, A1 = draw_pair(UPSTREAM.geometry, ((120, 90), (120, 90)), SIZE, rng)
        expected = truth.warped(A0, A1)
        if isinstance(truth, Posed):
            np.testing.assert_array_equal(result.truth.view1.to_image, expected.view1.to_image)
        else:
            np.testing.assert_array_equal(result.truth.H01, expected.H01)
    only_labelled = augmented(sample_of(*images, Homography(H01)), PAPER, 0)
    assert only_labelled.valid1.all()  # `paper` warps video frames alone


@pytest.mark.parametrize("config", [NONE, PAPER, UPSTREAM])
def test_equal_generators_give_equal_bytes_and_leave_the_sample_as_it_was(config):
    sample = labelled((150, 100), (150, 100))
    before = [array.copy() for array in (sample.image0, sample.image1, sample.truth.points)]
    first, second = augmented(sample, config, 5), augmented(sample, config, 5)
    for name in ("image0", "image1", "valid0", "valid1"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert first.truth.points.tobytes() == second.truth.points.tobytes()
    for array, was in zip((sample.image0, sample.image1, sample.truth.points), before, strict=True):
        np.testing.assert_array_equal(array, was)
    if config is not NONE:
        assert first.image1.tobytes() != augmented(sample, config, 6).image1.tobytes()


def test_tries_end_and_say_so():
    sample = labelled((96, 72), (96, 72), count=100)
    with pytest.raises(SampleSkipped, match=r"too_few_labels: film/7_9: fewer than 100 of 100") as skipped:
        # A turn by anything loses a corner, where labels are.
        augmented(
            sample, AugmentConfig(geometry=GeometryConfig(perspective_labelled=1, rotation_deg=90)), 0, min_labels=100
        )
    assert skipped.value.reason == "too_few_labels"
    for labels, limit, tries in ((0, 1, 30), (0, 0, 30), (5, 6, 30), (5, 5, 0)):
        with pytest.raises(SampleSkipped):
            augmented(labelled((96, 72), (96, 72), count=labels), UPSTREAM, 0, min_labels=limit, max_tries=tries)


def test_each_try_draws_anew():
    sample = labelled((96, 72), (96, 72), count=100)
    outcomes = []
    for tries in (1, 30):
        given_up = 0
        for seed in range(20):
            try:
                augmented(sample, COLOURLESS, seed, min_labels=75, max_tries=tries)
            except SampleSkipped:
                given_up += 1
        outcomes.append(given_up)
    assert outcomes[0] > 5
    assert outcomes[1] == 0


def test_labels_outside_their_image_or_on_empty_pixels_or_not_numbers_are_left_out():
    sample = labelled((96, 72), (96, 72), count=4)
    points = np.array([[10, 10, 20, 20], [200, 10, 20, 20], [10, np.nan, 20, 20], [10, 10, 80, 60]], np.float32)
    valid1 = sample.valid1.copy()
    valid1[50:, 70:] = False
    sample = dataclasses.replace(sample, truth=Labels(points), valid1=valid1)
    for result in (augmented(sample, NONE, 0), warp_sample(sample, np.eye(3), np.eye(3), SIZE)):
        np.testing.assert_allclose(result.truth.points, points[:1])
        np.testing.assert_array_equal(result.valid1, valid1)


def test_grey_images_come_out_as_colour_images_without_colour():
    sample = labelled((150, 100), (130, 100))
    grey = dataclasses.replace(sample, image0=sample.image0[..., 0], image1=sample.image1[..., 0])
    for seed in range(10):
        result = augmented(grey, AugmentConfig(dataclasses.replace(DARK, probability=1.0), UPSTREAM.geometry), seed)
        assert np.ptp(result.image0.astype(int), axis=2).max() == 0
        assert np.ptp(result.image1.astype(int), axis=2).max() == 0


def test_wrong_arrays_say_so():
    sample = labelled((96, 72), (96, 72))
    for wrong in (
        {"image0": sample.image0.astype(np.float32)},
        {"valid1": sample.valid1[:-1]},
        {"valid0": sample.valid0.astype(np.uint8)},
    ):
        with pytest.raises(ShapeError, match="expected"):
            augmented(dataclasses.replace(sample, **wrong), NONE, 0)


@settings(max_examples=15)
@given(size=SIZES, seed=st.integers(0, 2**32), difficulty=st.floats(0, 0.9))
def test_synthetic_views_are_full_and_overlap_and_their_homography_is_true(size, seed, difficulty):
    config = SyntheticConfig(difficulty=difficulty, min_overlap=0.3)
    columns = np.linspace(0, 255, size[0])[None, :].repeat(size[1], axis=0)
    rows = np.linspace(0, 255, size[1])[:, None].repeat(size[0], axis=1)
    ramp = np.rint(np.stack([columns, rows, rows], axis=2)).astype(np.uint8)
    try:
        result = synthetic_pair(ramp, "film/3", config, SIZE, np.random.default_rng(seed))
    except SampleSkipped:
        return  # difficult views of little overlap
    assert (result.name, result.part) == ("film/3", "homography")
    assert result.valid0.all()
    assert result.valid1.all()
    grid = np.argwhere(result.valid0[4:-4:9, 4:-4:9])[:, ::-1] * 9.0 + 4
    there = apply_homography(grid, result.truth.H01)
    seen = np.all((there > 1) & (there < np.array(SIZE) - 2), axis=1)
    assert seen.any()
    # A ramp's value is its position: what both views show at corresponding pixels came from one place of the frame.
    column, row = np.rint(there[seen]).astype(int).T
    value0 = result.image0[grid[seen][:, 1].astype(int), grid[seen][:, 0].astype(int)].astype(int)
    steepest = 255 / min(size) + 255 / 24
    assert np.median(np.abs(value0 - result.image1[row, column].astype(int))) <= steepest


def test_synthetic_pair_takes_grey_images_and_gives_equal_bytes_for_equal_generators():
    image = texture(150, 110)
    pairs = [synthetic_pair(image, "a", SYNTHETIC, SIZE, np.random.default_rng(4)) for _ in range(2)]
    assert pairs[0].image1.tobytes() == pairs[1].image1.tobytes()
    np.testing.assert_array_equal(pairs[0].truth.H01, pairs[1].truth.H01)
    assert pairs[0].image0.tobytes() != pairs[0].image1.tobytes()
    grey = synthetic_pair(image[..., 0], "a", SYNTHETIC, SIZE, np.random.default_rng(4))
    assert grey.image0.shape == (72, 96, 3)
    impossible = dataclasses.replace(SYNTHETIC, min_overlap=1.01)
    with pytest.raises(SampleSkipped, match="too_little_overlap: a: 30 tries"):
        synthetic_pair(image, "a", impossible, SIZE, np.random.default_rng(4))
