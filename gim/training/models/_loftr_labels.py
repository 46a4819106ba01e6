"""LoFTR's losses on video labels: at the labelled pixels, which need not lie on the grid (GIM's training code)."""

import torch
from kornia.feature import LoFTR

from gim.training.batches import LabelsBatch
from gim.training.models._loftr_coarse import CellPairs, Side, label_log_confidence, rivals
from gim.training.models._loftr_encoded import Encoded, Parts, full_precision
from gim.training.models._loftr_fine import OFFSETS_PER_CELL, fine_windows, is_within, sample_windows
from gim.training.models._loftr_grid import STRIDE_PX, sample_tokens, to_places
from gim.training.models._loftr_settings import LoftrLossConfig


def label_parts(network: LoFTR, encoded: Encoded, truth: LabelsBatch, config: LoftrLossConfig) -> Parts:
    """Coarse and fine loss of a batch of which nothing is known but its labels."""
    places = to_places(truth.points[..., :2]), to_places(truth.points[..., 2:])
    sampled = [
        sample_tokens(tokens, usable, encoded.grid, ends)
        for tokens, usable, ends in zip(encoded.tokens, encoded.usable, places, strict=True)
    ]
    is_label = truth.is_label & sampled[0][1] & sampled[1][1]
    parts = Parts(num_supervised=int(is_label.sum()))
    if not parts.num_supervised:
        return parts
    with full_precision(encoded.tokens[0]):
        clearance = config.label_clearance_px / STRIDE_PX
        side0, side1 = (
            Side(features, tokens, rivals(is_label, usable, ends, encoded.grid, clearance=clearance))
            for (features, _), tokens, usable, ends in zip(sampled, encoded.tokens, encoded.usable, places, strict=True)
        )
        log_confidence = label_log_confidence(side0, side1, temperature=config.temperature)
        parts.losses["coarse"] = _mean_of_pairs(config.focal.right(log_confidence), is_label)
        parts.curves["confidence"] = log_confidence.detach()[is_label].exp().mean()
    _add_fine(parts, network, encoded, (is_label, *places))
    return parts


def _add_fine(
    parts: Parts, network: LoFTR, encoded: Encoded, labels: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
) -> None:
    """Windows around the cells nearest to a label's ends, which lie between the cells of the fine maps."""
    is_label, *places = labels
    (cells0, has0), (cells1, has1) = (encoded.grid.nearest(ends) for ends in places)
    offsets0, offsets1 = (
        encoded.grid.offsets(ends, cells) * OFFSETS_PER_CELL
        for ends, cells in zip(places, (cells0, cells1), strict=True)
    )
    usable0, usable1 = encoded.usable
    has0, has1 = has0 & usable0.gather(1, cells0), has1 & usable1.gather(1, cells1)
    batch, index = torch.nonzero(is_label & has0 & has1 & is_within(offsets1), as_tuple=True)
    if not len(batch):
        return
    pairs = CellPairs(batch, cells0[batch, index], cells1[batch, index])
    windows0, windows1 = fine_windows(network, encoded.maps, encoded.tokens, pairs)
    parts.add_fine(sample_windows(windows0, offsets0[batch, index]), windows1, offsets1[batch, index])


def _mean_of_pairs(costs: torch.Tensor, is_label: torch.Tensor) -> torch.Tensor:
    """Mean over the labels [B, N] of each pair of images, then over the pairs that have any."""
    counts = is_label.sum(1)
    means = torch.where(is_label, costs, 0.0).sum(1) / counts.clamp(min=1)
    return means.sum() / (counts > 0).sum()
