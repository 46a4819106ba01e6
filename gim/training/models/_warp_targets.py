"""Where the cells of a warp's grid should lead: truth in the units of warps, [-1, 1] over an image's extent.

A position x in pixels, whose origin is the centre of the first pixel, is (2 x + 1) / W - 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gim.matchers.nn.refiner import texture_grid
from gim.training.batches import DenseTruth, ImageBatch, LabelsBatch
from gim.training.models._warp_pairs import Directions
from gim.training.truth import Frame


@dataclass(frozen=True, slots=True)
class CellTargets:
    """Of the cells of a grid over the images that warps start from, B warps in the order of `BatchMaps`."""

    flow: torch.Tensor  # float32 [B, 2, h, w] in [-1, 1]; any number where not known
    is_known: torch.Tensor  # bool [B, h, w], the truth says where the cell goes
    is_matched: torch.Tensor  # bool [B, h, w], known, and seen in the other image
    is_valid: torch.Tensor  # bool [B, h, w], the cell lies on the photograph, not on what was padded


@dataclass(frozen=True, slots=True)
class LabelTargets:
    """Of labelled positions of the images that warps start from."""

    starts: torch.Tensor  # float32 [B, N, 2] in [-1, 1]
    ends: torch.Tensor  # float32 [B, N, 2] in [-1, 1]
    is_label: torch.Tensor  # bool [B, N], False where a row is padding, or leads off the photographs


@torch.no_grad()
def cell_targets(batch: ImageBatch, size: Sequence[int], directions: Directions) -> CellTargets:
    """Targets of a grid of (height, width) by a batch's dense truth."""
    truth: DenseTruth = batch.truth
    ways = [(truth.to_image1, batch.valid0, batch.valid1), (truth.to_image0, batch.valid1, batch.valid0)]
    grid = texture_grid(size, batch.valid0.device).flatten(1).T  # [N, 2]
    parts: list[tuple[torch.Tensor, ...]] = []
    for move, valid, other_valid in ways if directions == "both" else ways[:1]:
        positions = to_pixels(grid, valid)[None].expand(len(valid), -1, -1)
        moved = move(positions)
        flow = from_pixels(moved.positions, other_valid).mT.reshape(len(valid), 2, *size)
        masks = (moved.is_known, moved.is_visible, frame_of(valid).holds(positions))
        parts.append((flow, *(mask.reshape(-1, *size) for mask in masks)))
    return CellTargets(*(torch.cat(item) for item in zip(*parts, strict=True)))


@torch.no_grad()
def label_targets(batch: ImageBatch, directions: Directions) -> LabelTargets:
    """Targets at a batch's labels; in the direction 1 -> 0 the labels are turned round."""
    labels: LabelsBatch = batch.truth
    positions0, positions1 = labels.points[..., :2], labels.points[..., 2:]
    is_label = labels.is_label & frame_of(batch.valid0).holds(positions0) & frame_of(batch.valid1).holds(positions1)
    ends0, ends1 = from_pixels(positions0, batch.valid0), from_pixels(positions1, batch.valid1)
    if directions == "forward":
        return LabelTargets(ends0, ends1, is_label)
    return LabelTargets(torch.cat([ends0, ends1]), torch.cat([ends1, ends0]), torch.cat([is_label, is_label]))


def frame_of(valid: torch.Tensor) -> Frame:
    """The bounds of images with masks [B, H, W]."""
    return Frame(_extent(valid).expand(len(valid), 2), valid)


def to_pixels(positions: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Positions [..., 2] from [-1, 1] into pixels of images [..., H, W]."""
    return (positions + 1) / 2 * _extent(image) - 0.5


def from_pixels(positions: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Positions [..., 2] from pixels of images [..., H, W] into [-1, 1]."""
    return (2 * positions + 1) / _extent(image) - 1


def _extent(image: torch.Tensor) -> torch.Tensor:
    height, width = image.shape[-2:]
    return torch.tensor([width, height], dtype=torch.float32, device=image.device)
