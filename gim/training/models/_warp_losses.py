"""What a warp and its certainty cost, piece by piece: shared by DKM and RoMa, each of which says what it adds up.

Distances are in units of half the other image's sides, as flows are. All means are 0, with a gradient of 0, where
nothing takes part.
"""

import torch
from torch.nn import functional

from gim.matchers.nn.refiner import texture_grid
from gim.training.models._warp_targets import CellTargets, LabelTargets

_LOCAL_UNIT = 2 / 512  # local distances are stated in pixels of an image of 512, times the scale


def cell_distances(flow: torch.Tensor, targets: CellTargets) -> torch.Tensor:
    """End-point distance of every cell (DKM, Sec. 3): [B, h, w] of flows [B, 2, h, w]; 0 where nothing is known."""
    wanted = torch.where(targets.is_known[:, None], targets.flow.to(flow.dtype), flow.detach())
    distances: torch.Tensor = torch.linalg.vector_norm(flow - wanted, dim=1)
    return distances


def label_distances(flow: torch.Tensor, targets: LabelTargets) -> torch.Tensor:
    """End-point distance at every label, [B, N]; 0 where a row is none."""
    found = flow_at(flow, targets.starts)
    wanted = torch.where(targets.is_label[..., None], targets.ends.to(flow.dtype), found.detach())
    distances: torch.Tensor = torch.linalg.vector_norm(found - wanted, dim=2)
    return distances


def flow_at(flow: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Where positions [B, N, 2] in [-1, 1] are led by flows [B, 2, h, w]: [B, N, 2].

    The displacement is what is interpolated between cells, and goes on as it is from the outermost cells to the border:
    there a coarse grid's flow itself would be off by half a cell.
    """
    displacement = flow - texture_grid(flow.shape[-2:], flow.device).to(flow.dtype)
    return positions + maps_at(displacement, positions)


def maps_at(maps: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Maps [B, C, h, w] bilinearly between their cells' centres at positions [B, N, 2] in [-1, 1]: [B, N, C]."""
    places = positions[:, None].to(maps.dtype)
    sampled = functional.grid_sample(maps, places, padding_mode="border", align_corners=False)
    return sampled[:, :, 0].mT


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean of the values where the mask is True."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def certainty_loss(certainty: torch.Tensor, is_matched: torch.Tensor, is_valid: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of logits [B, 1, h, w] with whether a cell is matched (DKM, Sec. 3), over valid cells.

    Where the depth is not known a cell counts as not matched, as the authors have it: sky has none.
    """
    logits = certainty[:, 0]
    entropy = functional.binary_cross_entropy_with_logits(logits, is_matched.to(logits.dtype), reduction="none")
    return masked_mean(entropy, is_valid)


def robust(distances: torch.Tensor, *, c: float, alpha: float) -> torch.Tensor:
    """The generalised Charbonnier loss c^alpha ((x / c)^2 + 1)^(alpha / 2) (RoMa, Sec. 3.4; Barron, CVPR 2019).

    Less its value at 0, which has no gradient: so it is 0 at the truth.
    """
    return torch.as_tensor(c**alpha * (((distances / c).square() + 1) ** (alpha / 2) - 1))


def was_near(
    distances: torch.Tensor, is_known: torch.Tensor, size: torch.Size, *, local_dist: float, scale: int
) -> torch.Tensor:
    """Which cells of a grid of (height, width) the coarser scale led near enough for this one to mend.

    Args:
        distances: [B, h, w] of the coarser scale.
        is_known: bool [B, h, w], where they are distances from the truth.
        size: of this scale's grid.
        local_dist: the farthest, in cells of this scale where an image has 512 pixels.
        scale: stride of this scale's grid.

    Returns:
        bool [B, *size].
    """
    is_near = is_known & (distances.detach() < _LOCAL_UNIT * local_dist * scale)
    return functional.interpolate(is_near[:, None].float(), size=size, mode="nearest-exact")[:, 0] > 0.5


def mean_error_px(flow: torch.Tensor, targets: CellTargets, image: torch.Size) -> torch.Tensor:
    """Mean end-point error of matched cells in pixels of images of (height, width); without a gradient."""
    sides = flow.new_tensor([image[1], image[0]]).view(1, 2, 1, 1)
    difference = torch.where(targets.is_matched[:, None], flow.detach() - targets.flow, 0.0) * sides / 2
    return masked_mean(torch.linalg.vector_norm(difference, dim=1), targets.is_matched)


def mean_label_error_px(flow: torch.Tensor, targets: LabelTargets, image: torch.Size) -> torch.Tensor:
    """The same at labels."""
    sides = flow.new_tensor([image[1], image[0]])
    difference = flow_at(flow.detach(), targets.starts) - targets.ends
    difference = torch.where(targets.is_label[..., None], difference, 0.0) * sides / 2
    return masked_mean(torch.linalg.vector_norm(difference, dim=2), targets.is_label)


@torch.no_grad()
def label_certainty(certainty: torch.Tensor, targets: LabelTargets) -> torch.Tensor:
    """Cross-entropy of logits [B, 1, h, w] at labels with 1, to be looked at: without a gradient."""
    logits = maps_at(certainty.detach(), targets.starts)[..., 0]
    return masked_mean(functional.softplus(-logits), targets.is_label)
