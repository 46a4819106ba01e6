"""Similarity of a feature to those around the place it is thought to match, without the memory this usually takes."""

from collections.abc import Callable, Iterator

import torch
from torch.utils.checkpoint import checkpoint

_CHUNK_BYTES = {"cpu": 1 << 24, "cuda": 1 << 29}  # of gathered features: on a CPU what its caches hold
# A matrix product over all places costs less than gathering features up to this many times as many dot products.
_GATHER_COST = 32


def local_correlation(query: torch.Tensor, support: torch.Tensor, flow: torch.Tensor, radius: int) -> torch.Tensor:
    """Dot products of each query feature with a window of support features, bilinearly sampled around its match.

    The windows' steps are whole cells, so all samples of one window have the same fractional part: the products are
    taken with the features at whole cells and interpolated afterwards, a quarter of the work. In training, what was
    gathered for one part of the queries is gathered again on the way back, so that it is never held for all.

    Args:
        query: [B, C, h, w].
        support: [B, C, h', w']; zero outside.
        flow: float32 [B, 2, h, w], (x, y) in [-1, 1] over the support image's extent.
        radius: of the window, in cells of the support map.

    Returns:
        float32 [B, (2 * radius + 1)^2, h, w], row by row of the window, divided by the square root of C.
    """
    batch, channels, height, width = support.shape
    side = 2 * radius + 2  # cells that hold a window's samples and their neighbours
    extent = torch.tensor([width, height], device=flow.device, dtype=torch.float32).view(1, 2, 1, 1)
    position = ((flow + 1) * extent - 1) / 2 - radius
    corner = position.floor()
    fraction = (position - corner).movedim(1, 3).reshape(-1, 2)
    # A border of zeros as wide as a window: one that has left the map lies in it.
    padded = torch.nn.functional.pad(support.movedim(1, 3), (0, 0, side, side, side, side))
    rows, columns = padded.shape[1:3]
    x, y = (corner + side).long().movedim(1, 3).reshape(-1, 2).unbind(1)
    steps = torch.arange(side, device=flow.device)
    window = (steps[:, None] * columns + steps).flatten()
    start = y.clamp(0, rows - side) * columns + x.clamp(0, columns - side)

    queries = query.movedim(1, 3).reshape(-1, channels)
    per_image = len(queries) // batch
    products: list[torch.Tensor] = []
    is_small = rows * columns < _GATHER_COST * side * side
    for index in range(batch):
        cells = padded[index].reshape(-1, channels)
        taken = rows * columns if is_small else side * side * channels
        for part in _chunks(per_image, taken * cells.element_size(), flow.device, index * per_image):
            multiply = _by_all_places if is_small else _by_gathering
            products.append(_forgetful(multiply, queries[part], cells, start[part, None] + window))
    windows = (torch.cat(products) / channels**0.5).view(-1, side, side)
    blended = _interpolated(windows, fraction[:, 0], fraction[:, 1])
    return blended.view(batch, *query.shape[2:], -1).movedim(3, 1)


def _by_all_places(queries: torch.Tensor, cells: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Products of queries [N, C] with cells [M, C] at indices [N, K], float32 [N, K], of products with all cells."""
    return (queries @ cells.T).gather(1, at).float()


def _by_gathering(queries: torch.Tensor, cells: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """The same of these cells alone."""
    return torch.bmm(cells[at], queries[:, :, None])[..., 0].float()


def _forgetful(function: Callable[..., torch.Tensor], *tensors: torch.Tensor) -> torch.Tensor:
    """A function's result; with gradients, what it made on the way is made again when they are asked for."""
    if not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)):
        return function(*tensors)
    result: torch.Tensor = checkpoint(function, *tensors, use_reentrant=False, preserve_rng_state=False)
    return result


def _chunks(count: int, item_bytes: int, device: torch.device, start: int) -> Iterator[slice]:
    """Slices over `count` items from `start` on, each of which takes no more memory than the device works well with."""
    size = max(_CHUNK_BYTES.get(device.type, _CHUNK_BYTES["cpu"]) // item_bytes, 1)
    return (slice(start + first, start + min(first + size, count)) for first in range(0, count, size))


def _interpolated(products: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """[N, s, s] at whole cells, to [N, (s - 1)^2] at a fraction x, y of a cell further on."""
    along_y = torch.lerp(products[:, :-1], products[:, 1:], y[:, None, None])
    return torch.lerp(along_y[:, :, :-1], along_y[:, :, 1:], x[:, None, None]).flatten(1)
