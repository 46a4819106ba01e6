"""Colours and sharpness: within the published ranges, exact, and nothing moves."""

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gim.training.augment.config import DARK, LIGHT, PhotometricConfig
from gim.training.augment.photometric import PhotometricDraw, apply_photometric, draw_photometric, motion_kernel
from tests.unit.training.augment.pairs import texture

NOTHING = PhotometricDraw()


def draws(config, count=3000):
    rng = np.random.default_rng(0)
    return [draw_photometric(config, rng) for _ in range(count)]


@pytest.mark.parametrize("config", [DARK, LIGHT])
def test_what_is_drawn_stays_in_its_range_and_comes_as_often_as_configured(config):
    drawn = draws(config)
    toned = [draw for draw in drawn if draw.contrast != 1]
    shares = {
        len(toned): config.brightness_contrast_probability,
        sum(draw.blur_px > 1 for draw in drawn): config.blur_probability,
        sum(draw.gamma != 1 for draw in drawn): config.gamma_probability,
        sum(draw.hsv != (0, 0, 0) for draw in drawn): config.hsv_probability,
    }
    for count, probability in shares.items():
        assert count / len(drawn) == pytest.approx(config.probability * probability, abs=0.03)
    for values, (low, high) in (
        ([draw.contrast - 1 for draw in toned], config.contrast),
        ([draw.brightness for draw in toned], config.brightness),
        ([draw.gamma for draw in drawn if draw.gamma != 1], config.gamma),
        ([draw.hsv[0] for draw in drawn if any(draw.hsv)], config.hue),
        ([draw.hsv[1] for draw in drawn if any(draw.hsv)], config.saturation),
        ([draw.hsv[2] for draw in drawn if any(draw.hsv)], config.value),
    ):
        span = high - low
        assert low <= min(values) < low + 0.2 * span
        assert high - 0.2 * span < max(values) <= high
    assert {draw.blur_px for draw in drawn} == {1, 3, 5, 7, 9}
    motions = np.array([draw.motion_px for draw in drawn])
    assert np.abs(motions).max() <= 24
    assert np.abs(motions).max() > 18


def test_the_dark_set_changes_three_eighths_of_the_images_at_most():
    changed = np.mean([draw != NOTHING for draw in draws(DARK)])
    assert 0.28 < changed < 0.375
    assert all(draw == NOTHING for draw in draws(PhotometricConfig(), 50))


def test_tones_follow_their_formula():
    levels = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    for draw, formula in (
        (PhotometricDraw(contrast=0.6, brightness=-0.2), lambda v: v * 0.6 - 51),
        (PhotometricDraw(contrast=1.3, brightness=0.1), lambda v: v * 1.3 + 25.5),
        (PhotometricDraw(gamma=0.3), lambda v: 255 * (v / 255) ** 0.3),
    ):
        result = apply_photometric(levels, draw)[0, :, 0]
        for level in range(256):
            assert abs(result[level] - min(max(formula(level), 0), 255)) <= 0.5 + 1e-9
    image = texture(60, 40)
    assert apply_photometric(image, NOTHING) is image


def test_hue_saturation_and_value_shift_in_opencvs_space_and_grey_stays_grey():
    image = texture(60, 40)
    before = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(int)
    result = apply_photometric(image, PhotometricDraw(hsv=(20.0, 0.0, -40.0)))
    after = cv2.cvtColor(result, cv2.COLOR_RGB2HSV).astype(int)
    colourful = (before[..., 1] > 60) & (before[..., 2] > 120)
    turned = (after[..., 0] - before[..., 0] - 20 + 90) % 180 - 90
    assert np.abs(turned[colourful]).max() <= 2
    np.testing.assert_allclose(after[..., 2], np.maximum(before[..., 2] - 40, 0), atol=1)
    grey = image[..., :1].repeat(3, axis=2)
    shifted = apply_photometric(grey, PhotometricDraw(hsv=(20.0, 30.0, -40.0)))
    np.testing.assert_array_equal(shifted, np.maximum(grey.astype(int) - 40, 0))


@settings(max_examples=60)
@given(x=st.floats(-24, 24), y=st.floats(-24, 24))
def test_motion_is_centred_and_as_long_as_it_was(x, y):
    kernel = motion_kernel(x, y).astype(np.float64)
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.sum() == pytest.approx(1)
    assert kernel.min() >= 0
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-7)
    rows, columns = np.indices(kernel.shape) - kernel.shape[0] // 2
    if max(abs(x), abs(y)) > 4:  # a line of length l has the variance l^2 / 12; a pixel adds its own
        variance = (kernel * (rows**2 + columns**2)).sum()
        assert variance == pytest.approx((x**2 + y**2) / 12, rel=0.2, abs=1)


def test_blur_and_motion_are_in_pixels_of_the_image_before_it_was_shrunk():
    image = texture(80, 60)
    boxed = apply_photometric(image, PhotometricDraw(blur_px=9), scale=1 / 3)
    np.testing.assert_array_equal(boxed, cv2.blur(image, (3, 3)))
    assert apply_photometric(image, PhotometricDraw(blur_px=3), scale=0.25) is image
    moved = apply_photometric(image, PhotometricDraw(motion_px=(8.0, 0.0)), scale=0.5)
    np.testing.assert_array_equal(moved, apply_photometric(image, PhotometricDraw(motion_px=(4.0, 0.0))))


def test_blurs_keep_their_place():
    dot = np.zeros((61, 61, 3), np.uint8)
    dot[28:33, 28:33] = 255
    rows, columns = np.indices((61, 61))
    everything = dataclasses.replace(DARK, probability=1.0, blur_probability=1.0, motion_blur_probability=1.0)
    for draw in draws(everything, 20):
        blurred = apply_photometric(dot, PhotometricDraw(blur_px=draw.blur_px, motion_px=draw.motion_px))[..., 0]
        centre = [(blurred * axis.astype(float)).sum() / blurred.sum() for axis in (rows, columns)]
        np.testing.assert_allclose(centre, 30, atol=0.05)


def test_images_are_not_written_to():
    image = texture(60, 40)
    before = image.copy()
    for draw in draws(dataclasses.replace(DARK, probability=1.0), 40):
        result = apply_photometric(image, draw)
        assert (result.shape, result.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(image, before)
