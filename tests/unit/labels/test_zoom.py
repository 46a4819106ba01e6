"""A second, enlarged look at what two images share."""

import cv2
import numpy as np
import pytest

from gim.geometry.pixels import is_inside
from gim.labels.config import ZoomConfig
from gim.labels.zoom import match_zoomed, shared_box
from gim.matchers.registry import load_matcher
from gim.records import Correspondences, ImagePair

CONFIG = ZoomConfig()


def picture(seed: int, width: int, height: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(128, 60, (height, width))
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 1.2) * 3 - 256, 0, 255).astype(np.uint8)


def a_small_copy(offset: tuple[int, int], scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Image 0, and an image 1 of something else with image 0's middle in it, shrunk."""
    image0, image1 = picture(1, 480, 360), picture(2, 480, 360)
    shrunk = cv2.resize(image0, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    image1[offset[1] : offset[1] + shrunk.shape[0], offset[0] : offset[0] + shrunk.shape[1]] = shrunk
    return image0, image1


def test_zooming_finds_more_and_puts_it_in_the_right_place():
    scale, offset = 0.4, (210, 130)
    image0, image1 = a_small_copy(offset, scale)
    matcher = load_matcher("rootsift")
    first = matcher.match(image0, image1)
    truth = lambda points: (points + 0.5) * scale - 0.5 + offset  # noqa: E731
    right = np.linalg.norm(first.points[:, 2:] - truth(first.points[:, :2]), axis=1) < 2
    assert right.sum() >= CONFIG.min_matches
    found = match_zoomed(
        ImagePair(image0, image1), first.points[right], lambda pair: matcher.match_pairs([pair])[0], CONFIG
    )
    error = found.points[:, 2:] - truth(found.points[:, :2])
    is_near = np.linalg.norm(error, axis=1) < 2
    assert is_near.sum() > 1.5 * right.sum()
    assert (np.abs(np.median(error[is_near], axis=0)) < 0.05).all()
    assert is_inside(found.points[:, 2:], 480, 360).all()


def test_the_matcher_sees_the_shared_part_enlarged_with_its_mask():
    image0, image1 = picture(1, 200, 100), picture(2, 200, 100)
    mask1 = np.full((100, 200), 255, np.uint8)
    mask1[:, 60:] = 0
    grid = np.stack(np.meshgrid(np.arange(40, 81, 4), np.arange(20, 61, 4)), axis=-1).reshape(-1, 2)
    points = np.hstack([grid, grid]).astype(np.float32)
    seen = []

    def match(pair):
        seen.append(pair)
        return Correspondences(np.array([[0, 0, 0, 0], [10, 6, 10, 6]], np.float32), np.ones(2, np.float32))

    found = match_zoomed(ImagePair(image0, image1, None, mask1), points, match, CONFIG)
    (pair,) = seen
    box = shared_box(points[:, :2], image0.shape, CONFIG.margin_share)
    scale = pair.image0.shape[1] / box.width
    assert 2 < scale <= CONFIG.max_enlargement
    assert pair.mask0 is None
    assert set(np.unique(pair.mask1)) == {0, 255}
    assert pair.mask1.shape == pair.image1.shape
    # The corner of the window's first pixel stays where it was.
    np.testing.assert_allclose(found.points[0, :2], [box.x + 0.5 / scale - 0.5, box.y + 0.5 / scale - 0.5], atol=0.02)
    np.testing.assert_allclose(found.points[1] - found.points[0], np.array([10, 6, 10, 6]) / scale, atol=0.05)


@pytest.mark.parametrize("num", [0, 1, CONFIG.min_matches - 1])
def test_too_few_points_say_nothing_of_what_is_shared(num):
    pair = ImagePair(picture(1, 60, 60), picture(2, 60, 60))
    assert match_zoomed(pair, np.zeros((num, 4), np.float32), pytest.fail, CONFIG) is None


def test_images_that_share_nearly_everything_are_not_zoomed():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 59, (200, 4)).astype(np.float32)
    assert match_zoomed(ImagePair(picture(1, 60, 60), picture(2, 60, 60)), points, pytest.fail, CONFIG) is None


def test_the_box_stays_inside_and_has_at_least_a_pixel():
    at_the_edge = np.array([[-0.4, -0.4]] * 9, np.float32)
    box = shared_box(at_the_edge, (50, 40), 0.1)
    assert (box.x, box.y) == (0, 0)
    assert box.width >= 1
    assert box.height >= 1
    far = shared_box(np.array([[39.4, 49.4]] * 9, np.float32), (50, 40), 0.1)
    assert far.x + far.width <= 40
    assert far.y + far.height <= 50
