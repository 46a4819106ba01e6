"""What DKM and RoMa do around their networks, with a network in their place that says a warp known in closed form."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from gim.errors import ConfigError
from gim.matchers.nn.pyramid import Pyramid
from gim.matchers.nn.refiner import WarpEstimate
from gim.matchers.registry import load_matcher
from gim.records import ImagePair

SIZES = {"width_px": 96, "height_px": 64, "fine_width_px": 131, "fine_height_px": 97}
AFFINE = np.array([[0.9, 0.12], [-0.1, 0.95]])  # of what is seen, as shares of the images


@dataclass
class PlantedNetwork:
    """Says that the point p of image 0 lies at `matrix` p + `offset` in image 1, both in pixels."""

    matrix: np.ndarray
    offset: np.ndarray
    size0: tuple[int, int]
    size1: tuple[int, int]
    logit: float = 3.0
    coarse_logit: float = 1.0

    def coarse_pyramid(self, images):
        return Pyramid(images.shape[-2:], {1: images}, {})

    fine_pyramid = coarse_pyramid

    def first_pass(self, pairs):
        yield self._estimate(16, (4, 6), self.coarse_logit)
        yield self._estimate(1, pairs.size, self.logit)

    def second_pass(self, pairs, start):
        assert start.scale == 1
        yield self._estimate(1, pairs.size, self.logit)

    def _estimate(self, scale, size, logit):
        back = np.linalg.inv(self.matrix)
        ways = (
            (self.size0, self.size1, self.matrix, self.offset),
            (self.size1, self.size0, back, -back @ self.offset),
        )
        flow = torch.stack([self._flow(size, *way) for way in ways])
        return WarpEstimate(scale, flow, torch.full_like(flow[:, :1], logit))

    @staticmethod
    def _flow(grid, start_size, end_size, matrix, offset):
        """From pixels to [-1, 1], where -1 and 1 are the image's edges, written out here once more."""
        rows, columns = np.mgrid[: grid[0], : grid[1]]
        x = (columns + 0.5) / grid[1] * start_size[0] - 0.5
        y = (rows + 0.5) / grid[0] * start_size[1] - 0.5
        ends = np.stack([x, y], 2) @ matrix.T + offset
        normalised = (ends + 0.5) / end_size * 2 - 1
        return torch.from_numpy(normalised.astype(np.float32)).movedim(2, 0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "empty.pth"
    torch.save({}, path)
    return path


@pytest.fixture
def planted(weights):
    """A matcher for images of given sizes, whose network is planted."""

    def make(size0, size1, matrix=None, offset=(0, 0), settings=SIZES, **network):
        matcher = load_matcher("dkm", {"weights": str(weights), "num_matches": 500, **settings})
        if matrix is None:
            matrix = np.diag(np.array(size1) / size0)
            offset = np.diag(matrix) / 2 - 0.5
        matcher.__dict__["_network"] = PlantedNetwork(np.asarray(matrix), np.asarray(offset), size0, size1, **network)
        return matcher

    return make


def noise(size, seed=0):
    return np.random.default_rng(seed).integers(40, 255, (size[1], size[0], 3)).astype(np.uint8)


SIZE_PAIRS = [((320, 240), (320, 240)), ((201, 157), (333, 97)), ((96, 181), (240, 131)), ((1920, 1080), (1080, 1919))]


@pytest.mark.parametrize(("size0", "size1"), SIZE_PAIRS)
@pytest.mark.parametrize("fine", [True, False])
def test_positions_are_those_the_network_says_whatever_the_sizes(planted, size0, size1, fine):
    scale = np.array(size1)[:, None] / np.array(size0)[None]
    matrix, offset = AFFINE * scale, np.array([3.25, -1.5])
    settings = SIZES if fine else {"width_px": 96, "height_px": 64, "fine_width_px": 0, "fine_height_px": 0}
    matcher = planted(size0, size1, matrix, offset, settings)
    images = noise(size0), noise(size1, 1)
    found = matcher.match(*images)
    assert len(found.points) == 500
    np.testing.assert_allclose(found.points[:, 2:], found.points[:, :2] @ matrix.T + offset, rtol=0, atol=1e-3)
    grid = matcher.grid_size
    for number, warp in enumerate(matcher.warps([ImagePair(*images)])[0]):
        assert warp.points.shape == (grid[1], grid[0], 4)
        assert warp.points.dtype == warp.certainty.dtype == np.float32
        sure = warp.points[warp.certainty > 0]
        assert len(sure) > 1000
        np.testing.assert_allclose(sure[:, 2:], sure[:, :2] @ matrix.T + offset, rtol=0, atol=1e-3)
        cell = np.array((size0, size1)[number]) / grid
        start = warp.points[..., 2 * number : 2 * number + 2]
        np.testing.assert_allclose(start[0, 0], cell / 2 - 0.5, rtol=0, atol=1e-4)
        np.testing.assert_allclose(start[-1, -1], (np.array(grid) - 0.5) * cell - 0.5, rtol=0, atol=1e-3)


def test_certainty_is_zero_where_the_warp_leaves_the_image(planted):
    matcher = planted((320, 240), (320, 240), np.eye(2), (100.0, 0.0))
    first, second = matcher.warps([ImagePair(noise((320, 240)), noise((320, 240)))])[0]
    for warp, start in ((first, 0), (second, 2)):
        inside = (warp.points[..., start] < 219.5) if start == 0 else (warp.points[..., start] > 99.5)
        assert (warp.certainty[~inside] == 0).all()
        assert (warp.certainty[inside] > 0.9).mean() > 0.98


@pytest.mark.parametrize(("coarse_logit", "expected"), [(2.0, 1.0), (-3.0, 1.0 + 1.5)])
def test_half_of_the_coarse_doubt_is_taken_out_of_the_certainty(planted, coarse_logit, expected):
    matcher = planted((320, 240), (320, 240), logit=1.0, coarse_logit=coarse_logit)
    found = matcher.match(noise((320, 240)), noise((320, 240)))
    np.testing.assert_allclose(found.confidence, 1 / (1 + np.exp(-expected)), rtol=1e-5)


def test_masked_pixels_have_no_certainty_at_either_end(planted):
    size = (320, 240)
    matcher = planted(size, size, np.eye(2), (17.3, 0.0))
    mask0, mask1 = np.full((240, 320), 255, np.uint8), np.full((240, 320), 1, np.uint8)
    mask0[:, :140] = 0
    mask1[150:] = 0
    pair = ImagePair(noise(size), noise(size), mask0, mask1)
    points = matcher.match_pairs([pair])[0].points
    warps = matcher.warps([pair])[0]
    sure = np.concatenate([points, *(warp.points[warp.certainty > 0] for warp in warps)])
    x0, _, _, y1 = np.rint(sure).T
    assert len(points) == 500
    assert (x0 >= 140).all()
    assert (y1 < 150).all()
    # Nothing else is lost: of the open part almost all cells are certain.
    open_cells = (warps[0].points[..., 0] > 141) & (warps[0].points[..., 2] < 318) & (warps[0].points[..., 3] < 148)
    assert (warps[0].certainty[open_cells] > 0).all()


@pytest.mark.parametrize(("size", "at_least"), [((48, 48), 400), ((96, 96), 0), ((144, 144), 400)])
def test_correspondences_of_masks_of_every_second_column_are_all_open(planted, size, at_least):
    """Rounded as callers round: pixels of two cells, of half a cell with all centres on pixels' borders, of a third."""
    fine = {"width_px": 48, "height_px": 48, "fine_width_px": 0, "fine_height_px": 0, "num_matches": 2000}
    matcher = planted(size, size, settings=fine)
    mask = np.zeros(size[::-1], np.uint8)
    mask[:, 1::2] = 1
    pair = ImagePair(noise(size), noise(size), mask, mask)
    warps = [warp.points[warp.certainty > 0] for warp in matcher.warps([pair])[0]]
    points = matcher.match_pairs([pair])[0].points
    assert len(points) >= at_least
    for found in (points, *warps):
        columns, rows = np.rint(found).astype(int).reshape(-1, 2).T
        assert mask[rows, columns].all()


def test_black_pixels_have_no_certainty(planted):
    size = (320, 240)
    matcher = planted(size, size)
    image = noise(size)
    image[60:120, 100:200] = 7
    image[150:200, 100:200] = (8, 0, 0)
    first, second = matcher.warps([ImagePair(image, noise(size))])[0]
    x, y = first.points[..., 0], first.points[..., 1]

    def within(top, bottom, margin):
        return (x > 100 + margin) & (x < 199 - margin) & (y > top + margin) & (y < bottom - 1 - margin)

    assert (first.certainty[within(60, 120, 3)] == 0).all()
    assert (first.certainty[within(150, 200, -4)] > 0).all()
    assert (second.certainty > 0).mean() > 0.99


def test_black_image_has_no_correspondences(planted):
    size = (64, 48)
    black = np.zeros((48, 64, 3), np.uint8)
    black[0, 0] = 7  # not of one colour
    assert len(planted(size, size).match(black, black).points) == 0


def test_another_seed_draws_others(planted):
    size = (320, 240)
    images = noise(size), noise(size)
    first, second = (planted(size, size, settings=SIZES | {"seed": seed}).match(*images).points for seed in (0, 1))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    ("name", "wrong", "says"),
    [
        ("dkm", {"width_px": 8}, "width_px and height_px must be at least 32"),
        ("dkm", {"fine_width_px": 0}, "or both 0"),
        ("dkm", {"num_matches": 0}, "num_matches"),
        ("dkm", {"certainty_threshold": 1.5}, "certainty_threshold"),
        ("roma", {"height_px": 100}, "divisible by 14"),
        ("roma", {"fine_height_px": 8}, "fine_height_px"),
    ],
)
def test_config_that_cannot_be_is_refused(name, wrong, says):
    with pytest.raises(ConfigError, match=says):
        load_matcher(name, wrong)
