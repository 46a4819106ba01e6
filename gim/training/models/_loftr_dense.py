"""LoFTR's losses under a dense truth: of homographies, and of posed images with depth."""

import torch
from kornia.feature import LoFTR

from gim.matchers.nn.dual_softmax import match_dual_softmax
from gim.training.batches import DenseTruth
from gim.training.models._loftr_coarse import CellPairs, CoarseTruth, Confidence, coarse_truth
from gim.training.models._loftr_encoded import Encoded, Parts, full_precision
from gim.training.models._loftr_fine import OFFSETS_PER_CELL, fine_windows, is_within, window_centres
from gim.training.models._loftr_settings import LoftrLossConfig


def dense_parts(network: LoFTR, encoded: Encoded, truth: DenseTruth, config: LoftrLossConfig) -> Parts:
    """Coarse and fine loss of a batch whose truth says where any pixel goes."""
    with full_precision(encoded.tokens[0]):
        told = coarse_truth(truth, encoded.grid, *encoded.usable)
        confidence = Confidence(*encoded.tokens, *encoded.usable, temperature=config.temperature)
        parts = Parts(num_supervised=len(told.matches.batch))
        if parts.num_supervised:
            log_confidence = confidence.of(told.matches)
            parts.losses["coarse"] = config.focal.right(log_confidence).mean()
            parts.curves["confidence"] = log_confidence.detach().exp().mean()
        if config.wrong_weight > 0:
            parts.losses["coarse_wrong"] = confidence.wrong_loss(told, config.focal)
        pairs = refined_pairs(told, found_pairs(encoded, config), encoded, config)
    if len(pairs.batch):
        windows0, windows1 = fine_windows(network, encoded.maps, encoded.tokens, pairs)
        parts.add_fine(window_centres(windows0), windows1, _true_offsets(told, pairs, encoded))
    return parts


@torch.no_grad()
def found_pairs(encoded: Encoded, config: LoftrLossConfig) -> CellPairs:
    """What the matcher would find with the features as they are, but at the images' borders too."""
    scale = 1 / (encoded.tokens[0].shape[-1] * config.temperature)
    rows = []
    for index, (tokens0, tokens1) in enumerate(zip(*encoded.tokens, strict=True)):
        first, second = (torch.nonzero(usable[index])[:, 0] for usable in encoded.usable)
        cells0, cells1, _ = match_dual_softmax(
            tokens0[first] * scale, tokens1[second], threshold=config.match_threshold
        )
        rows.append(torch.stack([torch.full_like(cells0, index), first[cells0], second[cells1]]))
    return CellPairs(*torch.cat(rows, 1))


def refined_pairs(told: CoarseTruth, found: CellPairs, encoded: Encoded, config: LoftrLossConfig) -> CellPairs:
    """Pairs whose windows are trained: the truth's, and those found that hold the truth within their windows.

    As many as `fine_share` of all cells, of which `min_fine_truth` are the truth's own (TRAIN_COARSE_PERCENT and
    TRAIN_PAD_NUM_GT_MIN of LoFTR's code). Nothing is drawn at random, so that a step can be computed again.
    """
    num_cells = encoded.usable[0].numel()
    true = _kept(told.matches, is_within(_true_offsets(told, told.matches, encoded)))
    is_new = ~torch.isin(_keys(found, num_cells), _keys(true, num_cells))
    is_seen = told.is_visible[found.batch, found.cells0]
    new = _kept(found, is_new & is_seen & is_within(_true_offsets(told, found, encoded)))
    most = int(config.fine_share * num_cells)
    new = _thinned(new, max(most - min(config.min_fine_truth, len(true.batch)), 0))
    true = _thinned(true, max(most - len(new.batch), config.min_fine_truth))
    return CellPairs(*(torch.cat(both) for both in zip(true, new, strict=True)))


def _true_offsets(told: CoarseTruth, pairs: CellPairs, encoded: Encoded) -> torch.Tensor:
    """Where the first cells lie in the windows around the second: [M, 2]."""
    return encoded.grid.offsets(told.places[pairs.batch, pairs.cells0], pairs.cells1) * OFFSETS_PER_CELL


def _kept(pairs: CellPairs, is_kept: torch.Tensor) -> CellPairs:
    return CellPairs(*(item[is_kept] for item in pairs))


def _thinned(pairs: CellPairs, most: int) -> CellPairs:
    """At most so many, evenly from all of them."""
    total = len(pairs.batch)
    if total <= most:
        return pairs
    picked = torch.arange(most, device=pairs.batch.device) * total // max(most, 1)
    return CellPairs(*(item[picked] for item in pairs))


def _keys(pairs: CellPairs, num_cells: int) -> torch.Tensor:
    """One number for each pair of cells."""
    return (pairs.batch * num_cells + pairs.cells0) * num_cells + pairs.cells1
