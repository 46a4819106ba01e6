"""What a LoFTR network makes of a batch's images, and the losses that were computed of it."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from kornia.feature import LoFTR

from gim.training.batches import ImageBatch
from gim.training.models._loftr_fine import FINE_STRIDE_PX, REACH_PX, expected_offsets, fine_loss
from gim.training.models._loftr_grid import Grid, usable_cells


@dataclass(frozen=True, slots=True)
class Encoded:
    """Coarse features and fine maps, the first images' first."""

    tokens: tuple[torch.Tensor, torch.Tensor]  # at least float32 [B, cells, C], after the coarse attention
    maps: tuple[torch.Tensor, torch.Tensor]  # [B, C, H/2, W/2]
    usable: tuple[torch.Tensor, torch.Tensor]  # bool [B, cells]
    grid: Grid


@dataclass(frozen=True, slots=True)
class Parts:
    """Terms of the loss, by name; a term that nothing was there for is missing."""

    losses: dict[str, torch.Tensor] = field(default_factory=dict)
    curves: dict[str, torch.Tensor] = field(default_factory=dict)  # only to look at
    num_supervised: int = 0

    def add_fine(self, features: torch.Tensor, windows1: torch.Tensor, true_offsets: torch.Tensor) -> None:
        """The loss of features [M, C] of image 0 that are looked for in windows [M, 25, C] of image 1."""
        with full_precision(windows1):
            offsets, deviation = expected_offsets(_wide(features), _wide(windows1))
            self.losses["fine"] = fine_loss(offsets, deviation, true_offsets)
            self.curves["fine_px"] = (offsets.detach() - true_offsets).norm(dim=-1).mean() * REACH_PX


def encode(network: LoFTR, batch: ImageBatch, images: torch.Tensor) -> Encoded:
    """Run the network up to its coarse features.

    Args:
        network: in training mode or not.
        batch: for what of its images is valid.
        images: [2 B, channels, H, W], the first images of all pairs before the second ones. They go through the
            backbone at once, so that the statistics of its normalisation are of both.
    """
    features = network.extract_features(images)
    usable0, usable1 = usable_cells(batch.valid0), usable_cells(batch.valid1)
    first, second = features["coarse"].flatten(2).transpose(1, 2).contiguous().chunk(2)
    tokens0, tokens1 = network.loftr_coarse(first, second, usable0, usable1)
    # A window at the edge of a photograph sees zeros beyond, as where no padding is.
    valid = torch.cat([batch.valid0, batch.valid1])[:, None, ::FINE_STRIDE_PX, ::FINE_STRIDE_PX]
    fine0, fine1 = features["fine"].masked_fill(~valid, 0.0).chunk(2)
    grid = Grid(*features["coarse"].shape[2:])
    return Encoded((_wide(tokens0), _wide(tokens1)), (fine0, fine1), (usable0, usable1), grid)


def full_precision(like: torch.Tensor) -> AbstractContextManager[None]:
    """No mixed precision on a tensor's device: soft-maxes over thousands of cells need float32."""
    return torch.autocast(like.device.type, enabled=False)


def _wide(features: torch.Tensor) -> torch.Tensor:
    return features.to(torch.promote_types(features.dtype, torch.float32))
