"""LoFTR's coarse grid: which cells there are, where they lie, and features between them.

Places are counted in cells here: cell (column, row) lies at the place (column, row), eight pixels from the next. It
stands for the position 8 (column, row) counted from the CORNER of the top-left pixel, as the matchers read it
(`gim.matchers.loftr`), so that a network is trained on the positions that it is asked for.
"""

from dataclasses import dataclass

import torch

from gim.geometry.pixels import to_corner_origin

STRIDE_PX = 8
_CORNER_PX = float(to_corner_origin(0.0))


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells of an image, counted row by row."""

    height: int  # in cells
    width: int

    def cells(self, like: torch.Tensor) -> torch.Tensor:
        """Places [cells, 2] of all cells, with the dtype and device of a tensor."""
        rows, columns = torch.meshgrid(torch.arange(self.height), torch.arange(self.width), indexing="ij")
        return torch.stack([columns, rows], -1).reshape(-1, 2).to(like)

    def nearest(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The cell int64 [...] next to each of the places [..., 2], 0 where none is; and whether one is."""
        column, row = torch.nan_to_num(places.round(), nan=-1.0).unbind(-1)
        is_there = (column >= 0) & (column < self.width) & (row >= 0) & (row < self.height)
        return torch.where(is_there, row * self.width + column, 0.0).long(), is_there

    def offsets(self, places: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """From cells [...] to places [..., 2], in cells."""
        return places - torch.stack([cells % self.width, cells // self.width], -1).to(places.dtype)


def to_places(positions: torch.Tensor) -> torch.Tensor:
    """Pixels [..., 2] of an image as places of the grid."""
    return (positions + _CORNER_PX) / STRIDE_PX


def to_pixels(places: torch.Tensor) -> torch.Tensor:
    """Places [..., 2] of the grid as pixels of the image."""
    return places * STRIDE_PX - _CORNER_PX


def usable_cells(valid: torch.Tensor) -> torch.Tensor:
    """Cells that stand for a valid pixel: bool [B, H, W] -> bool [B, cells], as the matchers take their masks."""
    return valid[:, ::STRIDE_PX, ::STRIDE_PX].flatten(1)


def sample_tokens(
    tokens: torch.Tensor, usable: torch.Tensor, grid: Grid, places: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features between the four cells around each place, bilinear; cells that are not usable take no part.

    Args:
        tokens: [B, cells, C].
        usable: bool [B, cells].
        grid: of the cells.
        places: [B, N, 2].

    Returns:
        [B, N, C], 0 where not known; bool [B, N], known: a usable cell is around.
    """
    upper = places.new_tensor([grid.width - 1, grid.height - 1])
    is_finite = places.isfinite().all(-1, keepdim=True)
    # Half a cell at the right and below lies beyond the last centre, and takes the last cell's features.
    inside = torch.where(is_finite, places, 0.0).clamp(min=torch.zeros_like(upper), max=upper)
    low = inside.floor()
    share = inside - low
    high = torch.minimum(low + 1, upper)
    features = tokens.new_zeros(*places.shape[:2], tokens.shape[-1])
    weights = tokens.new_zeros(places.shape[:2])
    for column, weight_x in ((low[..., 0], 1 - share[..., 0]), (high[..., 0], share[..., 0])):
        for row, weight_y in ((low[..., 1], 1 - share[..., 1]), (high[..., 1], share[..., 1])):
            cells = (row * grid.width + column).long()
            weight = (weight_x * weight_y).to(tokens.dtype) * usable.gather(1, cells)
            picked = tokens.gather(1, cells[..., None].expand(-1, -1, tokens.shape[-1]))
            # A cell of the padding may hold anything, and 0 times a number that is none is none.
            features = features + torch.where(weight[..., None] > 0, weight[..., None] * picked, 0.0)
            weights = weights + weight
    is_known = is_finite[..., 0] & (weights > 0)
    return features / torch.where(is_known, weights, 1.0)[..., None], is_known
