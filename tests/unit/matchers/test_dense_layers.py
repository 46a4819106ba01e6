"""The layers DKM and RoMa share, against the obvious way to compute the same."""

import math

import pytest
import torch
from torch.nn import functional

from gim.geometry.pixels import PixelMap, interpolate_image
from gim.matchers.nn.gaussian_process import GaussianProcess
from gim.matchers.nn.local_correlation import local_correlation
from gim.matchers.nn.pyramid import PairPyramid, Pyramid
from gim.matchers.nn.refiner import ConvRefiner, WarpEstimate, refined, texture_grid


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("size", "new_size"), [((37, 23), (16, 9)), ((20, 31), (45, 31)), ((12, 8), (12, 8))])
def test_interpolated_image_is_the_one_the_weights_were_used_on(size, new_size, generator):
    image = torch.randint(0, 256, (size[1], size[0], 3), generator=generator).byte()
    found, pixels = interpolate_image(image.numpy(), new_size)
    maps = image.permute(2, 0, 1)[None].float() / 255
    expected = functional.interpolate(maps, size=new_size[::-1], mode="bilinear", align_corners=False)
    torch.testing.assert_close(torch.from_numpy(found).permute(2, 0, 1)[None], expected, rtol=0, atol=1e-5)
    assert pixels == PixelMap.resizing(size, new_size)


def naive_correlation(query, support, flow, radius):
    """Sample the support at every place of every window, then multiply."""
    height, width = support.shape[-2:]
    similarities = []
    for row in range(-radius, radius + 1):
        for column in range(-radius, radius + 1):
            step = torch.tensor([2 * column / width, 2 * row / height], dtype=flow.dtype)
            places = flow.movedim(1, 3) + step
            sampled = functional.grid_sample(support, places, align_corners=False)
            similarities.append((query * sampled).sum(1) / math.sqrt(query.shape[1]))
    return torch.stack(similarities, 1)


@pytest.mark.parametrize(("radius", "size"), [(7, (5, 8)), (3, (9, 6)), (1, (30, 33))])
def test_local_correlation_equals_sampling_first(radius, size, generator):
    """Both ways of computing it (by all places, by gathering), in and out of the image."""
    query, support = (torch.randn(2, 6, *size, generator=generator) for _ in range(2))
    flow = texture_grid(size, query.device) + 0.8 * torch.randn(2, 2, *size, generator=generator)
    flow[0, :, 0, 0] = torch.tensor([40.0, -1e6])
    found = local_correlation(query, support, flow, radius)
    expected = naive_correlation(query.double(), support.double(), flow.double(), radius)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=3e-5)


def test_local_correlation_needs_no_window_of_features_in_memory(generator, monkeypatch):
    """The result does not depend on how much is worked on at a time."""
    size = (20, 24)
    query, support = (torch.randn(1, 4, *size, generator=generator) for _ in range(2))
    flow = texture_grid(size, query.device)[None] * 0.9
    whole = local_correlation(query, support, flow, 1)
    monkeypatch.setattr("gim.matchers.nn.local_correlation._CHUNK_BYTES", {"cpu": 1000})
    torch.testing.assert_close(local_correlation(query, support, flow, 1), whole, rtol=0, atol=1e-6)


def test_gaussian_process_equals_the_textbook_posterior(generator):
    """K(x, y) (K(y, y) + 0.1)^-1 f(y) with a matrix inverse, in double precision."""
    process = GaussianProcess(8)
    query, support = (torch.randn(2, 16, 4, 5, generator=generator) for _ in range(2))
    with torch.inference_mode():
        found = process(query, support, process.solve(support))

    def kernel(first, second):
        cosine = functional.cosine_similarity(first[:, :, None], second[:, None], dim=3)
        return ((cosine - 1) / 0.2).exp()

    x, y = (features.double().flatten(2).mT for features in (query, support))
    grid = texture_grid((4, 5), query.device).double()
    weight, bias = (item.detach().double() for item in (process.pos_conv.weight, process.pos_conv.bias))
    positions = torch.cos(8 * math.pi * functional.conv2d(grid[None], weight, bias)).flatten(2).mT
    mean = kernel(x, y) @ torch.linalg.inv(kernel(y, y) + 0.1 * torch.eye(20)) @ positions
    torch.testing.assert_close(found.double(), mean.mT.unflatten(2, (4, 5)), rtol=0, atol=1e-4)


def test_gaussian_process_of_black_images_is_finite():
    process = GaussianProcess(4)
    black = torch.zeros(1, 8, 3, 3)
    with torch.inference_mode():
        assert process(black, black, process.solve(black)).isfinite().all()


@pytest.mark.parametrize("certainty_first", [False, True])
def test_fused_refiner_equals_the_refiner(certainty_first, generator):
    torch.manual_seed(0)
    refiner = ConvRefiner(5, 3, radius=1, widening=2, certainty_first=certainty_first).eval().requires_grad_(False)
    for name, item in refiner.state_dict().items():
        if "running" in name:
            item.copy_(1 + 0.3 * torch.rand(item.shape, generator=generator))
    query, support = (torch.randn(2, 5, 6, 7, generator=generator) for _ in range(2))
    flow = 0.5 * torch.randn(2, 2, 6, 7, generator=generator)
    expected = refiner(query, support, flow, 1.25)
    assert expected[0].shape[1] == 2
    assert expected[1].shape[1] == 1
    refiner.fuse()
    torch.testing.assert_close(refiner(query, support, flow, 1.25), expected, rtol=1e-5, atol=1e-6)


class Constant(torch.nn.Module):
    def forward(self, query, support, flow, gain):
        return torch.ones_like(flow) * torch.tensor([4.0, 8.0]).view(1, 2, 1, 1), torch.ones_like(flow[:, :1])


def test_refined_moves_by_quarters_of_the_stride_and_adds_up_certainty():
    """4 and 8 quarters of a stride are 1 and 2 strides: in units of half an image, 2 and 4 over the size."""
    features = {scale: torch.zeros(1, 32 // scale, 64 // scale) for scale in (2, 1)}
    pyramid = Pyramid((32, 64), features, {})
    start = WarpEstimate(4, torch.zeros(2, 2, 8, 16), torch.zeros(2, 1, 8, 16))
    refiners = torch.nn.ModuleDict({"2": Constant(), "1": Constant()})
    half, whole = refined(refiners, PairPyramid([pyramid], [pyramid]), start, (2, 1))
    assert (half.scale, half.flow.shape[-2:]) == (2, (16, 32))
    torch.testing.assert_close(half.flow[0, :, 0, 0], torch.tensor([2 * 1 / 64, 2 * 2 / 32]))
    torch.testing.assert_close(whole.flow[0, :, 5, 5], torch.tensor([3 * 1 / 64, 3 * 2 / 32]))
    assert (whole.certainty == 2).all()


def test_pair_pyramid_joins_both_directions_and_splits_a_batch():
    maps = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 3, 2, 2)
    first, second = Pyramid((2, 2), {1: maps}, {1: maps[..., 0]}).items()
    pairs = PairPyramid([first], [second])
    query, support = pairs.features(1)
    assert query[:, 0, 0, 0].tolist() == [0, 1]
    assert support[:, 0, 0, 0].tolist() == [1, 0]
    assert pairs.posteriors(1)[:, 0, 0].tolist() == [1, 0]
    assert first.features[1].untyped_storage().nbytes() == first.features[1].nbytes
