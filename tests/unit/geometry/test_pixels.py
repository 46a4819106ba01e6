"""The half pixel: maps agree with what resampling does to pictures, and undo themselves."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.errors import InvalidInput
from gim.geometry.pixels import PixelMap, from_corner_origin, is_inside, to_corner_origin

SIDES = st.integers(1, 4000)


def centroid(image):
    weights = image.astype(np.float64)
    rows, columns = np.indices(weights.shape)
    return np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()


def blob(width, height, x, y):
    rows, columns = np.indices((height, width))
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 6.0**2)).astype(np.float32)


@pytest.mark.parametrize("new_size", [(240, 160), (60, 40), (40, 80), (360, 100)])
def test_resizing_moves_positions_as_opencv_moves_pictures(new_size):
    image = blob(120, 80, 51.3, 38.6)
    resized = cv2.resize(image, new_size, interpolation=cv2.INTER_AREA if new_size[0] < 120 else cv2.INTER_LINEAR)
    expected = PixelMap.resizing((120, 80), new_size).apply(centroid(image)[None])[0]
    np.testing.assert_allclose(centroid(resized), expected, atol=0.01)


def test_cropping_and_padding_move_positions_as_slicing_does():
    image = blob(120, 80, 51.3, 38.6)
    padded = np.pad(image, ((5, 1), (9, 2)))
    np.testing.assert_allclose(centroid(padded), PixelMap.padding(9, 5).apply(centroid(image)[None])[0], atol=1e-3)
    cropped = image[10:, 20:]
    np.testing.assert_allclose(centroid(cropped), PixelMap.cropping(20, 10).apply(centroid(image)[None])[0], atol=0.02)


@given(SIDES, SIDES, SIDES, SIDES, st.integers(-50, 50), st.integers(0, 50))
def test_inverse_undoes_a_chain_of_maps(width, height, new_width, new_height, x, left):
    chain = (
        PixelMap.cropping(x, 2)
        .then(PixelMap.resizing((width, height), (new_width, new_height)))
        .then(PixelMap.padding(left, 3))
    )
    keypoints = np.array([[0, 0], [17.25, 1000.5]], np.float32)
    there_and_back = chain.then(chain.inverse()).apply(keypoints)
    np.testing.assert_allclose(there_and_back, keypoints, atol=1e-3)
    step_by_step = PixelMap.cropping(x, 2).apply(keypoints)
    step_by_step = PixelMap.resizing((width, height), (new_width, new_height)).apply(step_by_step)
    step_by_step = PixelMap.padding(left, 3).apply(step_by_step)
    np.testing.assert_allclose(chain.apply(keypoints), step_by_step, rtol=1e-4, atol=1e-3)


def test_resizing_keeps_the_edges_of_the_image_at_its_edges():
    corners = np.array([[-0.5, -0.5], [639.5, 479.5]])
    np.testing.assert_allclose(
        PixelMap.resizing((640, 480), (100, 37)).apply(corners), [[-0.5, -0.5], [99.5, 36.5]], atol=1e-5
    )


def test_apply_to_intrinsics_projects_where_the_map_sends_the_pixel():
    K = np.array([[600, 0, 320], [0, 610, 240], [0, 0, 1.0]])
    pixel_map = PixelMap.resizing((640, 480), (400, 200)).then(PixelMap.cropping(7, 5))
    X = np.array([0.3, -0.2, 2.0])
    before, after = K @ X, pixel_map.apply_to_intrinsics(K) @ X
    np.testing.assert_allclose(after[:2] / after[2], pixel_map.apply(before[None, :2] / before[2])[0], rtol=1e-6)


def test_corner_origin_is_half_a_pixel_away():
    np.testing.assert_array_equal(to_corner_origin([[0, 1]]), [[0.5, 1.5]])
    np.testing.assert_array_equal(from_corner_origin([[0.5, 1.5]]), [[0, 1]])


def test_is_inside_counts_whole_pixels():
    keypoints = [[-0.5, 0], [-0.51, 0], [9.49, 4.49], [9.5, 0], [0, 4.5]]
    np.testing.assert_array_equal(is_inside(keypoints, 10, 5), [True, False, True, False, False])


@pytest.mark.parametrize("size", [(0, 5), (5, -1)])
def test_resizing_when_a_side_is_not_positive_says_so(size):
    with pytest.raises(InvalidInput, match="sides must be positive"):
        PixelMap.resizing(size, (10, 10))
