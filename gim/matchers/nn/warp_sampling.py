"""Correspondences drawn from dense warps so that they cover the images evenly (DKM, CVPR 2023, Sec. 3.4)."""

from dataclasses import dataclass

import torch

from gim.matchers.nn.refiner import texture_grid

_OVERSAMPLING = 4  # candidates per correspondence wanted
_KERNEL_STD = 0.1  # of the density estimate, in units of half an image
_MIN_DENSITY = 10  # candidates with fewer neighbours are stray: about 10 at the same place, 100 roughly there
_STRAY_WEIGHT = 1e-7
_BLOCK = 512  # candidates whose distances to as many others are held at a time: what a CPU's cache holds
_BLOCK_ELSEWHERE = 4096  # as many as one kernel is worth starting for
_LEAST_EXPONENT = -80  # exp of less is a denormal number, on which a CPU is fifteen times as slow


@dataclass(frozen=True, slots=True)
class BothWays:
    """The warps 0 -> 1 and 1 -> 0 of one pair, of equal grids."""

    flow01: torch.Tensor  # float32 [2, H, W], (x, y) in [-1, 1] over image 1
    flow10: torch.Tensor  # float32 [2, H, W], over image 0
    certainty01: torch.Tensor  # float32 [H, W] in [0, 1]
    certainty10: torch.Tensor

    def rows(self, indices: torch.Tensor) -> torch.Tensor:
        """Rows (x0, y0, x1, y1), [N, 4] in [-1, 1], of grid cells counted over the first warp, then the second."""
        grid = texture_grid(self.flow01.shape[1:], self.flow01.device).flatten(1)
        num_cells = grid.shape[1]
        is_first = indices < num_cells
        cells = indices.where(is_first, indices - num_cells)
        start = grid[:, cells]
        end = self.flow01.flatten(1)[:, cells].where(is_first, self.flow10.flatten(1)[:, cells])
        return torch.cat([start.where(is_first, end), end.where(is_first, start)]).T


def sample_balanced(
    warps: BothWays, num_samples: int, *, certainty_threshold: float, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw correspondences out of both warps, those in crowded places more rarely.

    Places with a certainty over the threshold count alike, others by their certainty. The random numbers come from the
    seed alone, on the CPU, so that a pair's sample depends on nothing but the pair.

    Args:
        warps: of one pair.
        num_samples: at most so many; fewer where fewer places have a certainty over zero.
        certainty_threshold: in [0, 1].
        seed: of the random numbers.

    Returns:
        float32 [N, 4] rows (x0, y0, x1, y1) in [-1, 1], no two alike, and their certainty [N].
    """
    generator = torch.Generator().manual_seed(seed)
    certainty = torch.cat([warps.certainty01.flatten(), warps.certainty10.flatten()])
    weights = torch.where(certainty > certainty_threshold, torch.ones_like(certainty), certainty)
    candidates = draw(weights, _OVERSAMPLING * num_samples, generator)
    rows = warps.rows(candidates)
    density = kernel_density(rows)
    balance = torch.where(density < _MIN_DENSITY, _STRAY_WEIGHT, 1 / (density + 1))
    chosen = draw(balance, num_samples, generator)
    rows, certainty = rows[chosen], certainty[candidates[chosen]]
    is_new = _is_first_of_its_kind(rows)
    return rows[is_new], certainty[is_new]


def draw(weights: torch.Tensor, num_samples: int, generator: torch.Generator) -> torch.Tensor:
    """Indices int64 [N] drawn without replacement, none of weight 0: all of them where there are not enough.

    A race: of exponential waiting times, each divided by its weight, the shortest (Efraimidis and Spirakis, 2006). It
    takes the same noise on any device, and any number of weights, where torch.multinomial takes 2^24.
    """
    noise = torch.empty(weights.shape).exponential_(generator=generator).to(weights.device)
    count = min(num_samples, int(weights.count_nonzero()))
    return (weights / noise).topk(count).indices


def kernel_density(points: torch.Tensor) -> torch.Tensor:
    """Sum of Gaussians around all points, at each point, itself included.

    Computed in blocks of the upper triangle: a block serves its columns as well as its rows.

    Args:
        points: [N, D].

    Returns:
        float32 [N].
    """
    scaled = points.float() / (_KERNEL_STD * 2**0.5)
    halves = -scaled.square().sum(1, keepdim=True)
    ones = torch.ones_like(halves)
    # One product of matrices gives -|a - b|^2.
    left, right = torch.cat([2 * scaled, halves, ones], 1), torch.cat([scaled, ones, halves], 1).T.contiguous()
    density = torch.zeros(len(points), device=points.device)
    block = _BLOCK if points.device.type == "cpu" else _BLOCK_ELSEWHERE
    for first in range(0, len(points), block):
        rows = slice(first, first + block)
        for second in range(first, len(points), block):
            columns = slice(second, second + block)
            weights = (left[rows] @ right[:, columns]).clamp_(_LEAST_EXPONENT, 0).exp_()
            density[rows] += weights.sum(1)
            if second > first:
                density[columns] += weights.sum(0)
    return density


def _is_first_of_its_kind(rows: torch.Tensor) -> torch.Tensor:
    """Whether a row [N, D] is the first that is equal to it: bool [N]."""
    kinds = torch.unique(rows, dim=0, return_inverse=True)[1]
    order = torch.arange(len(rows), device=rows.device)
    first = torch.full_like(order, len(rows)).scatter_reduce_(0, kinds, order, "amin")
    return first[kinds] == order
