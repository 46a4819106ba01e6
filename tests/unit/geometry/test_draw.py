import cv2
import numpy as np
import pytest

from gim.geometry.draw import draw_certainty, draw_correspondences
from gim.records import DenseWarp

GREY0 = np.full((300, 500, 3), 90, np.uint8)
GREY1 = np.full((400, 250, 3), 110, np.uint8)
LEFT = 500 + 8  # where image 1 begins


def is_green(pixels):
    red, green, blue = np.moveaxis(pixels.astype(int), -1, 0)
    return (green > red + 25) & (green > blue + 25)


def is_red(pixels):
    red, green, blue = np.moveaxis(pixels.astype(int), -1, 0)
    return (red > green + 25) & (red > blue + 25)


def draw(rows, inliers, **options):
    return draw_correspondences(GREY0, GREY1, np.array(rows, np.float32), np.array(inliers), **options)


def test_images_lie_side_by_side_and_untouched_where_no_line_runs():
    canvas = draw_correspondences(GREY0, GREY1, np.empty((0, 4), np.float32), np.empty(0, bool))
    assert canvas.shape == (400, LEFT + 250, 3)
    np.testing.assert_array_equal(canvas[:300, :500], GREY0)
    np.testing.assert_array_equal(canvas[:, LEFT:], GREY1)


def test_a_line_joins_the_two_places():
    canvas = draw([[100, 150, 50, 150]], [True])
    changed = np.abs(canvas[150, :500].astype(int) - 90).max(axis=1) > 20
    assert changed[100:].all()
    assert not changed[:90].any()
    changed = np.abs(canvas[150, LEFT:].astype(int) - 110).max(axis=1) > 20
    assert changed[:50].all()
    assert not changed[60:].any()


def test_inliers_are_green_and_outliers_red():
    assert is_green(draw([[100, 150, 50, 150]], [True])[150, 110:490]).all()
    assert is_red(draw([[100, 150, 50, 150]], [False])[150, 110:490]).all()
    # Who cannot tell the colours apart tells the lightness.
    lightness = [cv2.cvtColor(draw([[100, 150, 50, 150]], [kind]), cv2.COLOR_RGB2GRAY)[150, 300] for kind in (1, 0)]
    assert lightness[0] > int(lightness[1]) + 40


def test_outliers_lie_below_inliers():
    crossing = [[100, 100, 50, 200], [100, 200, 50, 100]]  # both meet halfway
    canvas = draw(crossing, [True, False])
    middle = canvas[147:153, 322:332].reshape(-1, 3)
    assert is_green(middle).any()
    swapped = draw(crossing[::-1], [False, True])
    np.testing.assert_array_equal(canvas, swapped)  # whatever the order of the rows


def test_the_picture_shines_through_the_lines():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (300, 500, 3), np.uint8)
    rows = np.array([[x, 150, x, 150] for x in range(20, 60)], np.float32)
    canvas = draw_correspondences(image, image, rows, np.ones(40, bool))
    line = canvas[150, 100:480].astype(float).mean(axis=1)
    assert np.corrcoef(line, image[150, 100:480].astype(float).mean(axis=1))[0, 1] > 0.9


def test_many_correspondences_are_thinned_out_evenly_and_the_title_says_so():
    rng = np.random.default_rng(0)
    # Nine tenths in one corner; the others everywhere.
    corner = rng.uniform([0, 0], [60, 60], (1800, 2))
    elsewhere = rng.uniform([0, 0], [499, 299], (200, 2))
    rows = np.hstack([np.vstack([corner, elsewhere]), np.full((2000, 2), 120)])
    plain = draw(rows, np.ones(2000, bool), max_lines=100)
    green = is_green(plain[:300, :500])
    assert green[200:, :250].any()
    assert green[:, :60].mean() < 6 * green[:, 60:].mean()
    few = draw(rows[:100], np.ones(100, bool), max_lines=100, title="a title")
    many = draw(rows, np.ones(2000, bool), max_lines=100, title="a title")
    said = [picture[: len(picture) - 400] for picture in (few, many)]
    assert (said[1] > 200).sum() > 2 * (said[0] > 200).sum()


def test_a_thinned_picture_shows_as_many_lines_as_it_says():
    rows = [[10, y, 10, y] for y in range(5, 295, 5)]
    canvas = draw(rows, np.ones(len(rows), bool), max_lines=20)
    crossings = is_green(canvas[:300, 504:505])[:, 0]
    assert np.count_nonzero(np.diff(np.concatenate([[False], crossings]).astype(int)) == 1) == 20


@pytest.mark.parametrize("width", [3000, 5000])
def test_large_images_are_shrunk_and_the_lines_with_them(width):
    image = np.full((100, width, 3), 90, np.uint8)
    rows = np.array([[width / 2, 50, width / 2, 50]], np.float32)
    canvas = draw_correspondences(image, image, rows, np.array([True]))
    scale = 4088 / (2 * width)
    assert abs(canvas.shape[1] - 4096) < 16
    line = np.abs(canvas[round(50 * scale), :, :].astype(int) - 90).max(axis=1) > 20
    assert abs(np.flatnonzero(line).min() - scale * width / 2) < 8


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (31, 57), (319, 200)])
def test_small_images_are_enlarged_by_a_whole_number(size):
    width, height = size
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    canvas = draw_correspondences(image, image, np.empty((0, 4), np.float32), np.empty(0, bool))
    times = canvas.shape[0] // height
    assert canvas.shape[0] == times * height
    assert canvas.shape[1] >= 640
    np.testing.assert_array_equal(canvas[:, : times * width], np.kron(image, np.ones((times, times, 1), np.uint8)))


@pytest.mark.parametrize("size", [(1, 9000), (9000, 1), (2, 500), (100, 30_000)])
def test_pictures_of_odd_shape_stay_within_reason(size):
    image = np.full((size[1], size[0], 3), 90, np.uint8)
    ends = np.array([[0, 0, size[0] - 1, size[1] - 1]], np.float32)
    canvas = draw_correspondences(image, image, ends, np.array([True]), title="narrow")
    assert 640 <= canvas.shape[1] <= 4096
    assert canvas.shape[0] <= 4096 + 100
    assert is_green(canvas).any()


@pytest.mark.parametrize("width", [1, 100, 320, 1000, 2500])
def test_a_title_is_legible_above_pictures_of_any_size(width):
    image = np.full((width, width, 3), 90, np.uint8)
    nothing = np.empty((0, 4), np.float32), np.empty(0, bool)
    title = "superpoint_lightglue: 1234 inliers of 5678 matches, 12.34 s on cuda:0"
    plain = draw_correspondences(image, image, *nothing)
    titled = draw_correspondences(image, image, *nothing, title=title)
    band = titled[: len(titled) - len(plain)]
    np.testing.assert_array_equal(titled[len(band) :], plain)
    ink = band.max(axis=2) > 120
    assert not ink[:, -2:].any()  # nothing is cut off at the right
    assert not ink[[0, -1]].any()
    rows = ink.any(axis=1)
    starts = np.flatnonzero(np.diff(np.concatenate([[0], rows.astype(int)])) == 1)
    ends = np.flatnonzero(np.diff(np.concatenate([rows.astype(int), [0]])) == -1)
    assert (ends - starts + 1).max() >= max(9, titled.shape[1] / 100)  # letters of that many pixels


def warp_by(shift, size=(320, 240), grid=(40, 30), certainty=1.0):
    """A regular grid over image 0, each place shifted."""
    x = (np.arange(grid[0]) + 0.5) * size[0] / grid[0] - 0.5
    y = (np.arange(grid[1]) + 0.5) * size[1] / grid[1] - 0.5
    x, y = np.meshgrid(x, y)
    points = np.stack([x, y, x + shift[0], y + shift[1]], axis=-1).astype(np.float32)
    return DenseWarp(points, np.broadcast_to(np.float32(certainty), points.shape[:2]).copy())


@pytest.fixture(scope="module")
def textured():
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC), np.uint8)


def halves(picture):
    return picture[-240:, :320].astype(int), picture[-240:, 328:648].astype(int)


def test_a_certain_warp_brings_image_1_onto_image_0(textured):
    image1 = np.roll(textured, (5, 9), axis=(0, 1))
    _, right = halves(draw_certainty(textured, image1, warp_by((9, 5))))
    inner = np.s_[8:-16, 8:-16]
    assert np.abs(right[inner] - textured[inner].astype(int)).mean() < 3
    assert np.abs(np.roll(right, 2, axis=1)[inner] - textured[inner].astype(int)).mean() > 10


def test_certainty_is_seen_in_colour_and_as_light(textured):
    certainty = np.linspace(0, 1, 40, dtype=np.float32)[None].repeat(30, axis=0)
    left, right = halves(draw_certainty(textured, textured, warp_by((0, 0), certainty=certainty), title="dkm"))
    columns = right.mean(axis=(0, 2))
    assert columns[:8].max() < 10
    assert columns[150:170].mean() == pytest.approx(textured[:, 150:170].mean() / 2, rel=0.1)
    assert columns[-8:].mean() == pytest.approx(textured[:, -8:].mean(), rel=0.05)
    lightness = left.mean(axis=(0, 2)).reshape(8, 40).mean(axis=1)
    assert (np.diff(lightness) > 0).all()


def test_a_warp_of_nothing_is_certain_of_nothing(textured):
    nothing = DenseWarp(np.empty((0, 0, 4), np.float32), np.empty((0, 0), np.float32))
    _, right = halves(draw_certainty(textured, textured, nothing))
    assert right.max() == 0
