"""Where LoFTR's matches lie, to a thousandth of a pixel: maps planted in place of the backbone's, transformers that add
nothing, and all the rest as it is - resizing, coarse matching, refinement, masks, the way back to the images as given.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gim.inference.config import InferenceConfig  # noqa: E402
from gim.matchers.network import ModelResources  # noqa: E402
from gim.matchers.nn.loftr import gim_loftr_network  # noqa: E402
from gim.matchers.registry import load_matcher  # noqa: E402
from tests.golden_weights import filled_like  # noqa: E402

BORDER = 2  # cells, the matcher's default


@pytest.fixture(scope="module")
def silent(tmp_path_factory):
    """A weight file whose transformer layers add zero to what they are given."""
    state = filled_like(gim_loftr_network(), gain=1.1)
    for name in state:
        if ".norm2." in name:
            state[name] = torch.zeros_like(state[name])
    path = tmp_path_factory.mktemp("silent") / "gim_loftr_50h.ckpt"
    torch.save(state, path)
    return str(path)


def features_of(places, num_channels, peak, width_px):
    """Random Fourier features: dot products are peak * exp(-(distance / width_px)^2 / 2), nearly."""
    frequencies = torch.randn(2, num_channels // 2, generator=torch.Generator().manual_seed(num_channels)) / width_px
    angles = places @ frequencies
    return (peak / angles.shape[-1]) ** 0.5 * torch.cat([angles.cos(), angles.sin()], dim=-1)


def grid(height, width, stride):
    """Positions [height, width, 2] of cells, counted from the corner of the top-left pixel."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return stride * torch.stack([columns, rows], dim=-1).float()


class PlantedMaps:
    """In place of the backbone: image 0 shows a scene, the bright image 1 the same, scaled and shifted."""

    def __init__(self, scale, shift):
        self.scale, self.shift = scale, torch.tensor(shift, dtype=torch.float32)

    def __call__(self, images):
        maps = [self.of(*image.shape[1:], is_second=bool(image.mean() > 0.5)) for image in images]
        return tuple(torch.stack(level) for level in zip(*maps, strict=True))

    def of(self, height, width, *, is_second):
        # Peaks are such that the soft-maxes, which divide by 256 * 0.1 and by sqrt(128), leave one winner.
        for stride, num_channels, peak, width_px in ((8, 256, 1024, 3.0), (2, 128, 2400, 0.5)):
            places = grid(height // stride, width // stride, stride)
            scene = (places - self.shift) / self.scale if is_second else places
            yield features_of(scene, num_channels, peak, width_px).permute(2, 0, 1)


def image_of(size, *, is_second):
    noise = np.random.default_rng(3).integers(0, 50, (size[1], size[0], 3))
    return (noise + 200 * is_second).astype(np.uint8)


def expected_matches(inputs, scale, shift):
    """All cells of image 0 whose counterpart is in image 1, both off the border: [M, 4] at the networks' sizes."""
    (width0, height0), (width1, height1) = (np.array(size) // 8 for size in inputs)
    rows = []
    for row in range(BORDER, height0 - BORDER):
        for column in range(BORDER, width0 - BORDER):
            x, y = scale * 8 * column + shift[0], scale * 8 * row + shift[1]
            if BORDER <= round(x / 8) < width1 - BORDER and BORDER <= round(y / 8) < height1 - BORDER:
                rows.append((8 * column, 8 * row, x, y))
    return np.array(rows, float)


def as_given(positions, size, given):
    """From the corner-counted positions of a resized image to the centre-counted ones of the image as given."""
    return positions * np.array(given) / np.array(size) - 0.5


def match_planted(monkeypatch, silent, given, scale, shift, masks=(None, None), max_side_px=1024, precision="float32"):
    resources = ModelResources(InferenceConfig(device="cpu", precision=precision))
    matcher = load_matcher("gim_loftr", {"weights": silent, "max_side_px": max_side_px}, resources)
    monkeypatch.setattr(matcher.network, "encode", PlantedMaps(scale, shift))
    images = [image_of(size, is_second=bool(side)) for side, size in enumerate(given)]
    inputs = [item.key for item in matcher.encode(images, [None, None])]
    expected = expected_matches(inputs, scale, shift)
    expected = np.hstack(
        [as_given(expected[:, :2], inputs[0], given[0]), as_given(expected[:, 2:], inputs[1], given[1])]
    )
    return matcher.match(*images, *masks), expected


def assert_holds(found, expected):
    """Each expected match is found, once and in order; cells whose counterpart is out of view may find others."""
    starts = {tuple(row) for row in np.round(expected[:, :2], 2).tolist()}
    is_expected = np.array([tuple(row) in starts for row in np.round(found.points[:, :2].astype(float), 2).tolist()])
    assert len(expected) > 50
    np.testing.assert_allclose(found.points[is_expected], expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("given", "scale", "shift", "max_side_px"),
    [
        (((160, 128), (160, 128)), 1, (10, -6), 1024),  # both in one batch, nothing resized
        (((301, 203), (333, 157)), 1, (-22, 18), 1024),  # sides rounded to multiples of 8
        (((150, 100), (301, 203)), 2, (2, -10), 1024),  # unequal sizes and scales
        (((1001, 667), (640, 481)), 1, (6, 10), 160),  # both much reduced, by different factors
    ],
)
def test_planted_matches_come_back_to_a_thousandth_of_a_pixel(
    monkeypatch, silent, given, scale, shift, max_side_px, precision
):
    found, expected = match_planted(
        monkeypatch, silent, given, scale, shift, max_side_px=max_side_px, precision=precision
    )
    assert_holds(found, expected)


def test_masks_take_away_what_lies_on_them_and_nothing_else(monkeypatch, silent):
    given, masks = ((301, 203), (333, 157)), []
    for (width, height), (x, y, end_x, end_y) in zip(given, ((50, 0, 110, 203), (200, 60, 260, 100)), strict=True):
        masks.append(np.full((height, width), 255, np.uint8))
        masks[-1][y:end_y, x:end_x] = 0
    found, expected = match_planted(monkeypatch, silent, given, 1, (-22, 18), masks)
    for side in (0, 1):
        columns, rows = np.rint(found.points[:, 2 * side : 2 * side + 2]).astype(int).T
        assert masks[side][rows, columns].all()
    # A cell counts by the pixel it starts at; a match also by where its refined end lies.
    places = np.rint(expected).astype(int)
    cell = np.rint((expected[:, 2:] + 0.5) * np.array([336, 160]) / np.array(given[1]) / 8) * 8
    cell = np.rint(as_given(cell, (336, 160), given[1])).astype(int)
    is_free = (
        (masks[0][places[:, 1], places[:, 0]] > 0)
        & (masks[1][places[:, 3], places[:, 2]] > 0)
        & (masks[1][cell[:, 1], cell[:, 0]] > 0)
    )
    assert 0.5 < is_free.mean() < 0.9
    assert_holds(found, expected[is_free])
