"""Gaussian process regression from features to positions: the global matching of DKM and RoMa."""

import math

import torch
from torch import nn

from gim.matchers.nn.refiner import texture_grid

_TEMPERATURE = 0.2  # of the kernel
_NOISE = 0.1  # standard deviation squared, added to the kernel's diagonal
_NORM_EPSILON = 1e-6


class GaussianProcess(nn.Module):
    """Predicts, for each cell of one image, the embedded position of its match in another (DKM, CVPR 2023, Sec. 3.2).

    Training points are the cells of the other, the support image: features in, embedded positions out. The posterior
    mean is K(query, support) (K(support, support) + noise)^-1 positions, of which everything but the first factor
    depends on the support image alone and is solved once per image.
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.pos_conv = nn.Conv2d(2, num_channels, 1)

    def solve(self, support: torch.Tensor) -> torch.Tensor:
        """The part of the posterior mean that depends on the support image only.

        Args:
            support: [B, C, h, w] features.

        Returns:
            float32 [B, h * w, D].
        """
        with torch.autocast(support.device.type, enabled=False):
            points = _points(support)
            covariance = _cosine_kernel(points, points) + _NOISE * torch.eye(points.shape[1], device=points.device)
            grid = texture_grid(support.shape[-2:], support.device)
            positions = torch.cos(8 * math.pi * self.pos_conv(grid[None])).flatten(2).mT
            factor = torch.linalg.cholesky(covariance)
            return torch.cholesky_solve(positions.expand(len(support), -1, -1), factor)

    def forward(self, query: torch.Tensor, support: torch.Tensor, solved: torch.Tensor) -> torch.Tensor:
        """Posterior mean of the embedded position of each query cell.

        Args:
            query: [B, C, h, w] features of the images the warps start from.
            support: [B, C, h', w'] features of the images they lead to.
            solved: float32 [B, h' * w', D], of the latter.

        Returns:
            float32 [B, D, h, w].
        """
        with torch.autocast(query.device.type, enabled=False):
            mean: torch.Tensor = _cosine_kernel(_points(query), _points(support)) @ solved
            return mean.mT.reshape(len(query), -1, *query.shape[-2:])


def _points(features: torch.Tensor) -> torch.Tensor:
    """Features as float32 [B, h * w, C]."""
    return features.flatten(2).mT.float()


def _cosine_kernel(points0: torch.Tensor, points1: torch.Tensor) -> torch.Tensor:
    """exp((cosine - 1) / temperature) of all pairs of [B, n, C] and [B, m, C]: [B, n, m]."""
    norms = points0.norm(dim=2)[:, :, None] * points1.norm(dim=2)[:, None]
    cosine = (points0 @ points1.mT) / (norms + _NORM_EPSILON)
    kernel: torch.Tensor = ((cosine - 1) / _TEMPERATURE).exp()
    return kernel
