"""Sizes at which images are matched, and the way back: spots at known places, found again after resizing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.benchmarks.zeb import DATASETS, dataset_named
from gim.evaluation.image_size import ResizedImage, SizeRule, matched_size, resized, to_original
from gim.records import Float64Array, Uint8Array

SPOT_PX = 6.0  # standard deviation


def rule_of(name: str) -> SizeRule:
    dataset = dataset_named(name)
    return SizeRule(dataset.longest_side, dataset.multiple_of, dataset.padded_to)


def spots(width: int, height: int) -> tuple[Uint8Array, Float64Array]:
    """An image with bright spots on black, and their centres [N, 2], pixels with the origin in a pixel's centre."""
    places = [(0.2, 0.25), (0.5, 0.5), (0.8, 0.3), (0.3, 0.8), (0.75, 0.75)]
    centres = np.array([[x * width + 0.3, y * height + 0.7] for x, y in places])
    columns, rows = np.arange(width)[None, :, None], np.arange(height)[:, None, None]
    squared = (columns - centres[:, 0]) ** 2 + (rows - centres[:, 1]) ** 2
    bright = 255 * np.exp(-squared / (2 * SPOT_PX**2)).sum(axis=2)
    return np.repeat(bright.round().astype(np.uint8)[:, :, None], 3, axis=2), centres


def centres_near(image: Uint8Array, guesses: Float64Array, reach: float) -> Float64Array:
    """Centres of gravity of what is bright around each guess."""
    rows, columns = np.indices(image.shape[:2])
    found = []
    for x, y in guesses:
        weight = image[:, :, 0] * ((columns - x) ** 2 + (rows - y) ** 2 < reach**2)
        found.append([(weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()])
    return np.array(found)


@pytest.mark.parametrize(
    "rule",
    [
        SizeRule(),
        SizeRule(multiple_of=8),
        SizeRule(longest_side=200),
        SizeRule(longest_side=217, multiple_of=8),
        SizeRule(longest_side=211, padded_to=(220, 200)),
        SizeRule(longest_side=640, is_enlarged=True),
    ],
)
def test_what_is_found_in_the_resized_image_lies_where_it_was(rule: SizeRule) -> None:
    image0, truth0 = spots(403, 301)
    image1, truth1 = spots(301, 403)
    small0, small1 = resized(image0, rule), resized(image1, rule)
    sides = []
    for small, truth in ((small0, truth0), (small1, truth1)):
        scale = np.divide(small.size, small.original)
        sides.append(centres_near(small.pixels, truth * scale, 5 * SPOT_PX * scale.max()))
    back = to_original(np.hstack(sides).astype(np.float32), small0, small1)
    assert back.dtype == np.float32
    assert back == pytest.approx(np.hstack([truth0, truth1]), abs=0.06)


def test_half_a_pixel_is_minded() -> None:
    half = ResizedImage(np.zeros((10, 20, 3), np.uint8), (20, 10), (40, 20), None)
    whole = ResizedImage(np.zeros((20, 40, 3), np.uint8), (40, 20), (40, 20), None)
    corners = np.array([[-0.5, -0.5, 3, 4], [0, 0, 0, 0], [19.5, 9.5, 1, 1]], np.float32)
    assert to_original(corners, half, whole).tolist() == [[-0.5, -0.5, 3, 4], [0.5, 0.5, 0, 0], [39.5, 19.5, 1, 1]]
    assert to_original(np.empty((0, 4), np.float32), half, whole).shape == (0, 4)


@pytest.mark.parametrize(
    ("name", "given", "filled", "whole"),
    [
        # Sizes of gim.md 4a and 4b; the sequences of KITTI and the cameras of ETH3D are not all of one size.
        ("KITTI", (1226, 370), (1226, 370), (1240, 384)),
        ("KITTI", (1241, 376), (1240, 376), (1240, 384)),
        ("KITTI", (1242, 375), (1240, 374), (1240, 384)),
        ("ETH3DI", (6048, 4032), (1600, 1064), (1600, 1072)),
        ("ETH3DO", (6205, 4135), (1600, 1064), (1600, 1072)),
        ("GL3D", (1000, 1000), (1000, 1000), (1000, 1000)),
        ("RobotcarNight", (1280, 960), (1280, 960), (1280, 960)),
        ("Multi-FoV", (640, 480), (640, 480), (640, 480)),
        ("SceneNetRGBD", (320, 240), (320, 240), (320, 240)),
        ("BlendedMVS", (1003, 770), (1000, 768), (1000, 768)),
    ],
)
def test_images_of_zeb_are_as_large_as_the_original_has_them(
    name: str, given: tuple[int, int], filled: tuple[int, int], whole: tuple[int, int]
) -> None:
    rule = rule_of(name)
    assert matched_size(*given, rule) == filled
    image = np.full((given[1], given[0], 3), 200, np.uint8)
    found = resized(image, rule)
    assert (found.size, found.original) == (filled, given)
    assert found.pixels.shape == (whole[1], whole[0], 3)
    if whole == filled:
        assert found.mask is None
        return
    assert found.mask is not None
    assert found.mask.shape == (whole[1], whole[0])
    assert (found.mask[: filled[1], : filled[0]] == 255).all()
    assert np.count_nonzero(found.mask) == filled[0] * filled[1]
    assert (found.pixels[found.mask == 255] == 200).all()
    assert not found.pixels[found.mask == 0].any()


def test_rules_of_zeb_are_the_originals() -> None:
    assert {
        dataset.name: (dataset.longest_side, dataset.multiple_of, dataset.padded_to)
        for dataset in DATASETS
        if (dataset.longest_side, dataset.multiple_of, dataset.padded_to) != (9999, 8, None)
    } == {
        "KITTI": (1240, 1, (1240, 384)),
        "ETH3DI": (1600, 8, (1600, 1072)),
        "ETH3DO": (1600, 8, (1600, 1072)),
    }


def test_an_image_at_its_size_is_left_alone() -> None:
    image = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    assert resized(image, SizeRule(9999, 8)).pixels is image
    wide = np.zeros((24, 100, 3), np.uint8)
    assert resized(wide, SizeRule(padded_to=(64, 48))).pixels.shape == (48, 100, 3)  # never cut to the padding


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 2000), st.sampled_from([1, 8, 14]), st.booleans())
def test_sizes_keep_the_shape_and_the_rule(width: int, height: int, longest: int, step: int, is_enlarged: bool) -> None:
    found = matched_size(width, height, SizeRule(longest, step, None, is_enlarged))
    scale = longest / max(width, height)
    scale = scale if is_enlarged else min(scale, 1)
    for side, original in zip(found, (width, height), strict=True):
        assert side % step == 0
        assert side >= step
        # At most one multiple is cut away, and half a pixel is rounded.
        assert original * scale - step - 0.5 <= side <= max(original * scale + 0.5, step)
