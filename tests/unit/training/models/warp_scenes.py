"""Pairs whose exact warp is known, for the tests of DKM and RoMa."""

import cv2
import numpy as np
import torch

from gim.geometry.homography import apply_homography
from gim.matchers.nn.refiner import WarpEstimate
from gim.training.samples import Homography, Labels, Sample

WIDTH, HEIGHT = 70, 56
MOVE = np.array([[1.0, 0.02, 4.0], [-0.02, 1.0, -3.0], [0, 0, 1.0]])


def sample(truth, *, part="homography", valid0=None, valid1=None) -> Sample:
    """A picture of soft noise, and the same moved."""
    grain = np.random.default_rng(0).uniform(0, 255, (HEIGHT // 4, WIDTH // 4, 3)).astype(np.uint8)
    image = cv2.resize(grain, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    whole = np.ones((HEIGHT, WIDTH), np.bool_)
    valid = [whole if mask is None else mask for mask in (valid0, valid1)]
    return Sample("film/0", part, image, cv2.warpPerspective(image, MOVE, (WIDTH, HEIGHT)), *valid, truth)


def plane(**kwargs) -> Sample:
    return sample(Homography(MOVE), **kwargs)


def labelled(places) -> Sample:
    """Labels at places [N, 2] of image 0."""
    places = np.reshape(np.asarray(places, np.float32), (-1, 2))
    return sample(Labels(np.hstack([places, apply_homography(places, MOVE)]).astype(np.float32)), part="video")


def true_flow(H, size) -> torch.Tensor:
    """The warp of a homography on a grid of (height, width), one cell after the other: float64 [1, 2, h, w]."""
    flow = np.zeros((1, 2, *size))
    for row in range(size[0]):
        for column in range(size[1]):
            x = (column + 0.5) * WIDTH / size[1] - 0.5
            y = (row + 0.5) * HEIGHT / size[0] - 0.5
            a, b, w = H @ (x, y, 1)
            flow[0, :, row, column] = (2 * a / w + 1) / WIDTH - 1, (2 * b / w + 1) / HEIGHT - 1
    return torch.from_numpy(flow)


def estimates(scales, *, noise=0.0, both=True, seed=0) -> list[WarpEstimate]:
    """True warps, with noise, and any certainty; in float64, with gradients."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for scale in scales:
        size = (HEIGHT // scale, WIDTH // scale)
        flow = true_flow(MOVE, size)
        if both:
            flow = torch.cat([flow, true_flow(np.linalg.inv(MOVE), size)])
        flow = flow + noise * torch.randn(flow.shape, generator=generator, dtype=torch.float64)
        certainty = torch.randn(len(flow), 1, *size, generator=generator, dtype=torch.float64)
        found.append(WarpEstimate(scale, flow.requires_grad_(), certainty.requires_grad_()))
    return found


def check_gradient(loss, inputs, *, step=1e-7, tolerance=1e-5) -> None:
    """The gradient along random directions, against central differences."""
    gradients = torch.autograd.grad(loss(*inputs), inputs, allow_unused=True)
    assert any(gradient is not None and gradient.any() for gradient in gradients)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        ways = [torch.randn(item.shape, generator=generator, dtype=item.dtype) for item in inputs]
        expected = sum((g * way).sum() for g, way in zip(gradients, ways, strict=True) if g is not None)
        with torch.no_grad():
            up, down = (loss(*(x + sign * step * way for x, way in zip(inputs, ways, strict=True))) for sign in (1, -1))
        torch.testing.assert_close((up - down) / (2 * step), expected, rtol=tolerance, atol=tolerance)
