"""SuperPoint's steps against slow ones, and its arithmetic of cells and pixels against planted keypoints."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.inference.config import InferenceConfig
from gim.matchers.base import is_usable
from tests.matcher_files.superpoint_lightglue import superpoint_state

torch = pytest.importorskip("torch")

from gim.matchers.nn.superpoint import (  # noqa: E402 - needs torch
    SuperPoint,
    SuperPointExtractor,
    load_superpoint,
    sample_descriptors,
    strongest,
    suppress,
)

CPU = torch.device("cpu")


def extractor(network, **settings):
    defaults = {"max_keypoints": 500, "nms_radius_px": 3, "detection_threshold": 0.0, "max_side_px": 0}
    return SuperPointExtractor(network, InferenceConfig(), **(defaults | settings))


def extract(network, *items, **settings):
    with torch.inference_mode():
        return extractor(network, **settings).extract(
            [item if isinstance(item, tuple) else (item, None) for item in items]
        )


@pytest.fixture(scope="module")
def network():
    """With weights filled by rule."""
    return load_superpoint(superpoint_state(), source="filled", device=CPU)


@pytest.fixture(scope="module")
def noise():
    image = cv2.GaussianBlur(np.random.default_rng(3).random((256, 328), np.float32), None, 1.5)
    return cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


class Lamps(torch.nn.Module):
    """The image is its own heat map: keypoints lie where a test put light."""

    def __init__(self):
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        height, width = (side // 8 for side in images.shape[2:])
        descriptors = torch.ones(len(images), 256, height, width)
        return images[:, 0, : 8 * height, : 8 * width], descriptors / 16


# --- steps ------------------------------------------------------------------------------------------------------------


def square(scores, row, column, radius):
    """The neighbourhood of a place, cut off at the border."""
    return scores[max(row - radius, 0) : row + radius + 1, max(column - radius, 0) : column + radius + 1]


def greedy(scores, radius):
    """Places of the strongest first, each clearing its square."""
    left, kept = scores.copy(), set()
    while left.max() > 0:
        place = np.unravel_index(left.argmax(), left.shape)
        kept.add(tuple(map(int, place)))
        square(left, *place, radius)[:] = 0
    return kept


def greedy_in_rounds(scores, radius, num_rounds):
    """Places of what is largest in its square, all at once; then each clears its square, and again."""
    left, kept = scores.copy(), set()
    for _ in range(num_rounds):
        new = [place for place in np.ndindex(*left.shape) if 0 < left[place] == square(left, *place, radius).max()]
        for place in new:
            square(left, *place, radius)[:] = 0
        kept.update(new)
    return kept


@given(st.integers(0, 2**32 - 1), st.integers(0, 4))
def test_suppress_keeps_what_three_rounds_of_the_greedy_choice_do(seed, radius):
    scores = np.random.default_rng(seed).random((2, 24, 30), np.float32)
    found = suppress(torch.from_numpy(scores), radius).numpy()
    for ours, image in zip(found, scores, strict=True):
        expected = greedy_in_rounds(image, radius, 3)
        assert expected <= greedy(image, radius)
        inside = {(row, column) for row, column in expected if 4 <= row < 20 and 4 <= column < 26}
        assert {(int(row), int(column)) for row, column in zip(*ours.nonzero(), strict=True)} == inside
        assert all(ours[place] == image[place] for place in inside)


def test_suppress_of_separate_peaks_keeps_them_all_but_those_at_the_border():
    scores = torch.zeros(1, 24, 32)
    for row, column in ((4, 4), (4, 8), (19, 27), (3, 12), (12, 3), (20, 12), (12, 28)):
        scores[0, row, column] = 0.1 + 0.001 * row + 0.01 * column
    assert [tuple(place) for place in suppress(scores, 3)[0].nonzero().tolist()] == [(4, 4), (4, 8), (19, 27)]


@given(st.integers(0, 2**32 - 1), st.integers(1, 70))
def test_strongest_orders_equal_scores_by_place(seed, num):
    scores = (np.random.default_rng(seed).integers(0, 4, (2, 6, 10)) / 7).astype(np.float32)
    strengths, places = (tensor.numpy() for tensor in strongest(torch.from_numpy(scores), num))
    for image, strength, place in zip(scores.reshape(2, -1), strengths, places, strict=True):
        expected = np.lexsort((np.arange(image.size), -image))[:num]
        np.testing.assert_array_equal(place, expected)
        np.testing.assert_array_equal(strength, image[expected])


def interpolated(cells, x, y):
    """One descriptor by the definition: the grid spans from pixel 3.5 to the last pixel of each side."""
    size, height, width = cells.shape
    column, row = (x - 3.5) / (8 * width - 4.5) * (width - 1), (y - 3.5) / (8 * height - 4.5) * (height - 1)
    total = np.zeros(size)
    for j in range(height):
        for i in range(width):
            total += max(0, 1 - abs(column - i)) * max(0, 1 - abs(row - j)) * cells[:, j, i]
    return total / np.linalg.norm(total)


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(2, 5))
def test_sample_descriptors_is_bilinear_on_the_stretched_grid(seed, height, width):
    rng = np.random.default_rng(seed)
    cells = rng.normal(size=(2, 256, height, width)).astype(np.float32)
    positions = rng.uniform(4, (8 * width - 5, 8 * height - 5), (2, 7, 2)).astype(np.float32)
    found = sample_descriptors(torch.from_numpy(cells), torch.from_numpy(positions)).numpy()
    for ours, image, places in zip(found, cells, positions, strict=True):
        expected = [interpolated(image.astype(float), x, y) for x, y in places.astype(float)]
        np.testing.assert_allclose(ours, expected, atol=2e-5)


# --- cells and pixels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(201, 157), (160, 239), (64, 48), (71, 16)])
@pytest.mark.parametrize("channel", [0, 7, 13, 56, 63])
def test_each_channel_is_one_pixel_of_each_cell_whatever_the_size(size, channel):
    network = SuperPoint().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.convPb.bias[channel] = 5
        network.convDb.bias[:] = 1
    width, height = size
    (found,) = extract(network, np.zeros((height, width), np.uint8), max_keypoints=10_000, detection_threshold=0.1)
    cells_x, cells_y = width // 8, height // 8
    columns, rows = 8 * np.arange(cells_x) + channel % 8, 8 * np.arange(cells_y) + channel // 8
    columns = columns[(columns >= 4) & (columns < 8 * cells_x - 4)]
    rows = rows[(rows >= 4) & (rows < 8 * cells_y - 4)]
    expected = np.stack(np.meshgrid(columns, rows), axis=2).reshape(-1, 2)  # equal scores: by row, then by column
    np.testing.assert_array_equal(found.keypoints, expected.astype(np.float32))
    np.testing.assert_allclose(found.scores, np.exp(5) / (np.exp(5) + 64), rtol=1e-6)
    assert found.image_size == size


def test_light_is_found_at_its_pixel():
    image = np.zeros((157, 201), np.uint8)
    lamps = [(4, 4), (195, 147), (100, 75), (101, 90), (33, 8)]
    for number, (x, y) in enumerate(lamps):
        image[y, x] = 255 - number
    (found,) = extract(Lamps(), image, detection_threshold=0.5)
    np.testing.assert_array_equal(found.keypoints, np.array(lamps, np.float32))
    np.testing.assert_allclose(found.scores, (255 - np.arange(5)) / 255, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(("size", "max_side_px"), [((644, 484), 320), ((1000, 333), 400), ((333, 700), 280)])
def test_light_in_an_image_made_smaller_is_found_without_a_shift(size, max_side_px):
    width, height = size
    xs, ys = np.meshgrid(np.arange(40, width - 40, 24.25), np.arange(40, height - 40, 23.75))
    truth = np.column_stack([xs.ravel(), ys.ravel()])
    truth += np.random.default_rng(0).uniform(-3, 3, truth.shape)
    grid_y, grid_x = np.mgrid[:height, :width]
    image = np.zeros((height, width))
    for x, y in truth:
        image += 250 * np.exp(-((grid_x - x) ** 2 + (grid_y - y) ** 2) / (2 * 2.5**2))
    settings = {"max_keypoints": 2000, "nms_radius_px": 4, "detection_threshold": 0.5, "max_side_px": max_side_px}
    (found,) = extract(Lamps(), image.astype(np.uint8), **settings)
    offsets = found.keypoints[:, None] - truth[None]
    lamp_of = np.linalg.norm(offsets, axis=2).argmin(1)
    assert set(lamp_of) == set(range(len(truth)))
    nearest = offsets[np.arange(len(lamp_of)), lamp_of]
    scale = max(size) / max_side_px
    assert np.abs(nearest).max() <= 0.5 * scale + 0.3  # to the nearest pixel of the smaller image
    assert (np.abs(nearest.mean(0)) < 0.1 * scale).all()  # half a pixel forgotten would be 0.5 * (scale - 1)


def test_image_moved_by_whole_cells_has_its_keypoints_moved(network, noise):
    moved = extract(network, noise[:-16, :-8], noise[16:, 8:], max_keypoints=5000)
    inner = []
    for found, shift in zip(moved, ((8, 16), (0, 0)), strict=True):
        places = found.keypoints - shift
        # The network sees some 70 pixels around a keypoint; nearer to the border the zeros outside differ.
        is_inner = ((places > 100) & (places < (190, 110))).all(axis=1)
        inner.append({tuple(place) for place in places[is_inner]})
    assert len(inner[0]) > 10
    assert inner[0] == inner[1]


# --- what the extractor promises --------------------------------------------------------------------------------------


def test_batch_gives_what_each_image_gives(network, noise):
    images = [noise, noise[::-1].copy(), np.ascontiguousarray(noise[:, ::-1])]
    for alone, together in zip(
        (extract(network, image)[0] for image in images), extract(network, *images), strict=True
    ):
        np.testing.assert_array_equal(alone.keypoints, together.keypoints)
        np.testing.assert_array_equal(alone.scores, together.scores)
        np.testing.assert_array_equal(alone.descriptors, together.descriptors)


def test_strongest_come_first_and_never_more_than_asked(network, noise):
    (all_found,), (found,) = extract(network, noise, max_keypoints=10_000), extract(network, noise, max_keypoints=50)
    assert len(found.keypoints) == 50 < len(all_found.keypoints) < 10_000
    assert (np.diff(found.scores) <= 0).all()
    np.testing.assert_array_equal(found.keypoints, all_found.keypoints[:50])
    assert len(np.unique(all_found.keypoints, axis=0)) == len(all_found.keypoints)


def test_fewer_than_asked_are_not_made_up(network, noise):
    (found,) = extract(network, noise)
    threshold = float(found.scores[20])
    (few,) = extract(network, noise, detection_threshold=threshold)
    assert len(few.keypoints) == np.count_nonzero(found.scores > threshold)
    (none,) = extract(network, noise, detection_threshold=0.99)
    assert none.keypoints.shape == (0, 2)
    assert none.descriptors.shape == (0, 256)


@pytest.mark.parametrize("max_side_px", [0, 200])
def test_masked_places_make_room_for_others(network, noise, max_side_px):
    mask = np.zeros(noise.shape, np.uint8)
    mask[37:201, 51:250] = 255
    mask[100:140, 120:160] = 0
    settings = {"max_keypoints": 60, "max_side_px": max_side_px}
    free, masked = extract(network, noise, (noise, mask), **settings)
    assert len(free.keypoints) == len(masked.keypoints) == 60
    assert is_usable(masked.keypoints, noise.shape, mask).all()
    assert not is_usable(free.keypoints, noise.shape, mask).all()


def test_colour_is_seen_as_opencv_greys_it(network, noise):
    colour = np.stack([noise, noise[::-1], noise // 2], axis=2)
    (found,), (expected,) = extract(network, colour), extract(network, cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY))
    np.testing.assert_array_equal(found.keypoints, expected.keypoints)
    np.testing.assert_array_equal(found.descriptors, expected.descriptors)


def test_large_image_costs_no_more_than_its_limit():
    seen = []
    lamps = Lamps()
    lamps.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    (found,) = extract(lamps, np.full((3000, 4000), 9, np.uint8), max_side_px=320)
    assert seen == [(1, 1, 240, 320)]
    assert found.image_size == (4000, 3000)
