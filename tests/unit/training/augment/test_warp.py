"""Images after a homography: empty pixels exact, interpolated only where needed, without patterns of sampling."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gim.geometry.pixels import PixelMap, resize_image
from gim.training.augment.config import UPSTREAM
from gim.training.augment.geometry import draw_homography, fitting, homography_between, image_corners
from gim.training.augment.photometric import PhotometricDraw, apply_photometric
from gim.training.augment.warp import enlargement, warp_photograph, warp_valid
from tests.unit.training.augment.pairs import slow_valid, texture

SIZE = (48, 36)


def warped(image, A, size=SIZE, draw=None):
    valid = warp_valid(np.ones(image.shape[:2], np.bool_), A, size)
    return warp_photograph(image, A, valid, draw), valid


@settings(max_examples=12)
@given(seed=st.integers(0, 2**32), image_size=st.sampled_from([(40, 30), (97, 55), (20, 61)]))
def test_valid_pixels_are_those_whose_centres_come_from_valid_pixels(seed, image_size):
    rng = np.random.default_rng(seed)
    A = draw_homography(UPSTREAM.geometry, SIZE, rng) @ fitting(image_size, SIZE, scale=rng.uniform(0.6, 1.4))
    valid = np.ones((image_size[1], image_size[0]), np.bool_)
    valid[3:9, 5:12] = False
    np.testing.assert_array_equal(warp_valid(valid, A, SIZE), slow_valid(valid, A, SIZE))


def test_corners_are_exact():
    """The outermost centres of a quadrangle's pixels are valid, those beyond its corners are not."""
    corners = np.array([[9.5, 7.5], [39.5, 7.5], [39.5, 27.5], [9.5, 27.5]])  # of pixels 10..39, 8..27
    valid = warp_valid(np.ones((60, 80), np.bool_), homography_between(image_corners((80, 60)), corners), SIZE)
    expected = np.zeros((36, 48), np.bool_)
    expected[8:28, 10:40] = True
    np.testing.assert_array_equal(valid, expected)
    image = np.full((60, 80, 3), 200, np.uint8)
    turned = homography_between(image_corners((80, 60)), np.roll(corners, 1, axis=0))
    result, valid = warped(image, turned)
    np.testing.assert_array_equal(valid, expected)
    assert (result[valid] == 200).all()  # no pixel of the rim is mixed with black
    assert not result[~valid].any()


@pytest.mark.parametrize("image_size", [(1023, 767), (399, 303), (97, 73)])
def test_rows_and_columns_left_out_by_halving_are_not_black(image_size):
    quadrangle = [[2.3, 1.2], [45.6, 3.1], [44.2, 33.7], [5.9, 30.4]]
    image = np.full((image_size[1], image_size[0], 3), 200, np.uint8)
    result, valid = warped(image, homography_between(image_corners(image_size), quadrangle))
    assert (result[valid] == 200).all()


@pytest.mark.parametrize("image_size", [(96, 72), (192, 108), (48, 36), (30, 20)])
def test_fitting_is_resizing(image_size):
    image = texture(*image_size)
    A = fitting(image_size, SIZE)
    result, valid = warped(image, A)
    scale = min(48 / image_size[0], 36 / image_size[1])
    width, height = round(image_size[0] * scale), round(image_size[1] * scale)
    assert (valid.sum(), valid[:height, :width].all()) == (width * height, True)
    expected = resize_image(image, (width, height))[0].astype(int)
    np.testing.assert_allclose(result[:height, :width].astype(int), expected, atol=1)


def test_shifts_by_whole_pixels_change_no_value():
    image = texture(70, 50)
    A = PixelMap.cropping(13, 9).apply_to_intrinsics(np.eye(3))
    np.testing.assert_array_equal(warped(image, A)[0], image[9:45, 13:61])
    A = PixelMap.padding(6, 4).apply_to_intrinsics(np.eye(3))
    np.testing.assert_array_equal(warped(image, A)[0][4:, 6:], image[:32, :42])


def test_photographs_are_closer_to_a_much_finer_warp_than_without_smoothing():
    """Against 8 x 8 interpolated samples in every pixel, averaged."""
    image = texture(200, 150)
    errors, plain_errors = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        A = draw_homography(UPSTREAM.geometry, SIZE, rng) @ fitting((200, 150), SIZE, scale=rng.uniform(0.6, 1.4))
        result, valid = warped(image, A)
        fine = replicated(image, PixelMap.scaling(8, 8).apply_to_intrinsics(A), (48 * 8, 36 * 8))
        expected = fine.reshape(36, 8, 48, 8, 3).mean(axis=(1, 3))
        errors.append(np.abs(result - expected)[valid].mean())
        plain_errors.append(np.abs(replicated(image, A, SIZE) - expected)[valid].mean())
    assert np.mean(errors) < 0.9 * np.mean(plain_errors)
    assert np.max(np.subtract(errors, plain_errors)) < 3


def replicated(image, A, size):
    return cv2.warpPerspective(image, A, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(float)


def test_what_shrinks_much_is_smoothed_first():
    stripes = (255 * (np.indices((400, 600))[1] % 2)).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    corners = np.array([[2, 1], [45, 3], [44, 33], [5, 30.0]])
    A = homography_between(image_corners((600, 400)), corners)
    result, valid = warped(stripes, A)
    inner = cv2.erode(valid.view(np.uint8), np.ones((3, 3))) > 0
    assert np.abs(result[inner].astype(float) - 127.5).max() < 3
    aliased = cv2.warpPerspective(stripes, A, SIZE)
    assert np.abs(aliased[inner].astype(float) - 127.5).max() > 60  # without smoothing


def test_enlargement_is_that_of_most_of_the_image():
    assert enlargement((100, 100), np.diag([0.5, 0.5, 1.0]), SIZE) == 0.5
    assert enlargement((100, 100), 3 * np.diag([2.0, 0.5, 1.0]), SIZE) == pytest.approx(1)
    assert enlargement((10, 10), PixelMap.padding(500, 0).apply_to_intrinsics(np.eye(3)), SIZE) == 1
    tilted = homography_between(image_corners((100, 100)), [[0, 0], [40, 0], [24, 30], [16, 30]])
    assert 0.08 < enlargement((100, 100), tilted, SIZE) < 0.4


def test_only_what_is_seen_and_blurs_reach_is_computed():
    image = texture(500, 400)
    A = homography_between([[200, 150], [230, 145], [233, 170], [197, 172]], image_corners(SIZE))
    draw = PhotometricDraw(contrast=0.8, blur_px=9, motion_px=(24.0, -24.0))
    scale = 1 / enlargement((500, 400), A, SIZE)
    assert 0.5 < scale < 1  # enlarged: nothing is smoothed, so that the whole image can be blurred first
    whole = apply_photometric(image, draw, scale=scale)
    np.testing.assert_array_equal(warped(image, A, draw=draw)[0], warped(whole, A)[0])
    far = np.zeros_like(image)
    far[100:220, 150:280] = image[100:220, 150:280]
    np.testing.assert_array_equal(warped(far, A, draw=draw)[0], warped(image, A, draw=draw)[0])


def test_tiny_images_and_views_of_nothing_are_warped():
    for width, height in ((1, 1), (2, 1), (1, 5)):
        image = np.full((height, width, 3), 77, np.uint8)
        for A in (
            fitting((width, height), SIZE),
            np.diag([0.1, 0.1, 1.0]),
            np.array([[0.3, 0.1, 0], [0, 0.2, 0], [0, 0, 1]]),
        ):
            result, valid = warped(image, A)
            assert (result[valid] == 77).all()
    result, valid = warped(texture(20, 20), PixelMap.padding(100, 0).apply_to_intrinsics(np.eye(3)))
    assert not valid.any()
    assert not result.any()


def test_colours_change_before_the_warp():
    image = texture(96, 72)
    draw = PhotometricDraw(contrast=0.5, brightness=0.3, gamma=0.5)
    result, _ = warped(image, fitting((96, 72), SIZE), draw=draw)
    expected = apply_photometric(resize_image(image, SIZE)[0], draw)
    np.testing.assert_array_equal(result, expected)
    padded, valid = warped(image, fitting((96, 72), SIZE, scale=0.5), draw=draw)
    assert not padded[~valid].any()  # black stays black, however bright the rest becomes
