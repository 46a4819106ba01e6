"""Homographies applied to positions and pictures."""

import numpy as np
import pytest

from gim.errors import ShapeError
from gim.geometry.homography import apply_homography, transfer_distance_px, warp_image

H01 = np.array([[1.1, 0.05, 12], [-0.04, 0.95, 7], [1e-4, -5e-5, 1]])


def test_apply_homography_equals_slow_loop():
    keypoints = np.random.default_rng(0).uniform(0, 500, (20, 2))
    expected = []
    for x, y in keypoints:
        u, v, w = H01 @ (x, y, 1)
        expected.append((u / w, v / w))
    np.testing.assert_allclose(apply_homography(keypoints, H01), expected)


def test_transfer_distance_is_zero_on_the_plane_and_inf_at_infinity():
    keypoints = np.random.default_rng(0).uniform(0, 500, (20, 2))
    points = np.hstack([keypoints, apply_homography(keypoints, H01) + np.array([3, 4])])
    np.testing.assert_allclose(transfer_distance_px(points, H01), 5)
    to_infinity = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert transfer_distance_px(points, to_infinity).min() == np.inf


def test_warp_image_puts_pixels_of_image_1_where_they_are_in_image_0():
    rows, columns = np.indices((300, 400))
    image1 = np.stack([columns % 256, rows % 256, columns // 2], axis=2).astype(np.uint8)
    warped = warp_image(image1, [[1, 0, 30], [0, 1, 20], [0, 0, 1]], width=350, height=250)
    np.testing.assert_array_equal(warped, image1[20:270, 30:380])
    assert not warp_image(image1, [[1, 0, 5000], [0, 1, 0], [0, 0, 1]], width=40, height=30).any()


def test_warp_image_is_right_to_a_tenth_of_a_pixel():
    columns = np.indices((300, 400))[1]
    ramp = (columns * 0.5).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    warped = warp_image(ramp, H01, width=200, height=200)
    inside = np.array([[50.0, 60.0], [150.0, 100.0]])
    expected = apply_homography(inside, H01)[:, 0] * 0.5
    np.testing.assert_allclose(warped[[60, 100], [50, 150], 0], expected, atol=1)


@pytest.mark.parametrize("function", [apply_homography, transfer_distance_px])
def test_wrong_shape_says_so(function):
    with pytest.raises(ShapeError, match="expected"):
        function(np.zeros((3, 3)), H01)
