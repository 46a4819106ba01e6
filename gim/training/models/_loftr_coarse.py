"""LoFTR's coarse stage in training: which cells match under a dense truth, and what wrong confidences cost.

Confidences are the dual soft-max P(i, j) = softmax_j s(i, .) softmax_i s(., j) (LoFTR, CVPR 2021, Sec. 3.3) of
similarities s over a temperature. They are kept as logarithms, so that a match of confidence below 1e-6 has a gradient,
which the published code's clamping takes from it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from gim.training.batches import DenseTruth
from gim.training.models._loftr_grid import Grid, to_pixels, to_places

_MASKED = -1e9  # a similarity that takes no part; finite, so that a row without any other stays a number
_SURE = 1 - 1e-6  # a larger confidence in a wrong match costs no more


@dataclass(frozen=True, slots=True)
class Focal:
    """Focal loss (Lin et al., ICCV 2017, Eq. 5), with one alpha for right and wrong matches as LoFTR has it."""

    alpha: float = 0.25
    gamma: float = 2.0

    def right(self, log_confidence: torch.Tensor) -> torch.Tensor:
        """Of right matches: -alpha (1 - P)^gamma log P."""
        return -self.alpha * (1 - log_confidence.exp()) ** self.gamma * log_confidence

    def wrong(self, log_confidence: torch.Tensor) -> torch.Tensor:
        """Of wrong matches: -alpha P^gamma log(1 - P)."""
        confidence = log_confidence.exp().clamp(max=_SURE)
        return -self.alpha * confidence**self.gamma * torch.log1p(-confidence)


class CellPairs(NamedTuple):
    """Pairs of cells of the batch's pairs of images."""

    batch: torch.Tensor  # int64 [M]
    cells0: torch.Tensor
    cells1: torch.Tensor


class CoarseTruth(NamedTuple):
    """What a dense truth says of the cells."""

    matches: CellPairs  # cells that are each other's nearest, by ascending cell of image 0
    is_told0: torch.Tensor  # bool [B, L], of usable cells: the truth says where they lie, perhaps out of sight
    is_told1: torch.Tensor  # bool [B, S]
    places: torch.Tensor  # [B, L, 2] of image 0's cells on the grid of image 1
    is_visible: torch.Tensor  # bool [B, L], usable and seen there


@torch.no_grad()
def coarse_truth(truth: DenseTruth, grid: Grid, usable0: torch.Tensor, usable1: torch.Tensor) -> CoarseTruth:
    """Mutual nearest cells under a truth (LoFTR, Sec. 3.5): j is nearest to where i goes, and i to where j goes.

    Args:
        truth: of the batch.
        grid: of either image.
        usable0: bool [B, L], cells of image 0 that stand for a valid pixel.
        usable1: the same of image 1.
    """
    cells = to_pixels(grid.cells(torch.zeros((), device=usable0.device)))[None].expand(len(usable0), -1, -1)
    forward, back = truth.to_image1(cells), truth.to_image0(cells)
    places = to_places(forward.positions)
    nearest1, has1 = grid.nearest(places)
    nearest0, has0 = grid.nearest(to_places(back.positions))
    has1 &= usable0 & forward.is_visible & usable1.gather(1, nearest1)
    has0 &= usable1 & back.is_visible
    own = torch.arange(cells.shape[1], device=cells.device)
    is_match = has1 & has0.gather(1, nearest1) & (nearest0.gather(1, nearest1) == own)
    batch, cells0 = torch.nonzero(is_match, as_tuple=True)
    return CoarseTruth(
        CellPairs(batch, cells0, nearest1[batch, cells0]),
        usable0 & forward.is_known,
        usable1 & back.is_known,
        places,
        usable0 & forward.is_visible,
    )


class Confidence:
    """The dual soft-max over all pairs of usable cells."""

    def __init__(
        self,
        tokens0: torch.Tensor,
        tokens1: torch.Tensor,
        usable0: torch.Tensor,
        usable1: torch.Tensor,
        *,
        temperature: float,
    ) -> None:
        scale = 1 / (tokens0.shape[-1] * temperature)
        similarity = torch.bmm(tokens0 * scale, tokens1.transpose(1, 2))
        self._is_pair = usable0[:, :, None] & usable1[:, None]
        self._similarity = similarity.masked_fill_(~self._is_pair, _MASKED)
        self._over1 = similarity.logsumexp(2)  # [B, L]
        self._over0 = similarity.logsumexp(1)  # [B, S]

    def of(self, pairs: CellPairs) -> torch.Tensor:
        """Logarithm of the confidence [M] of some pairs."""
        batch, cells0, cells1 = pairs
        both = self._over1[batch, cells0] + self._over0[batch, cells1]
        return (2 * self._similarity[batch, cells0, cells1] - both).clamp(max=0)

    def wrong_loss(self, truth: CoarseTruth, focal: Focal) -> torch.Tensor:
        """Mean focal loss of all pairs that the truth calls wrong: no match, and it tells where one of the two lies."""
        is_wrong = self._is_pair & (truth.is_told0[:, :, None] | truth.is_told1[:, None])
        is_wrong[truth.matches] = False
        log_confidence = 2 * self._similarity - self._over1[:, :, None] - self._over0[:, None]
        costs = focal.wrong(log_confidence.clamp(max=0))
        return torch.where(is_wrong, costs, 0.0).sum() / is_wrong.sum().clamp(min=1)


class Side(NamedTuple):
    """One image of a batch as its labels see it."""

    features: torch.Tensor  # [B, N, C] of the labelled pixels
    tokens: torch.Tensor  # [B, cells, C] of all cells
    is_rival: torch.Tensor  # bool [B, N, N + cells]: what label n's partner in this image competes with, itself too


def rivals(
    is_label: torch.Tensor, usable: torch.Tensor, places: torch.Tensor, grid: Grid, *, clearance: float
) -> torch.Tensor:
    """What the partner of each label competes with: all labels and all usable cells but those that lie too near.

    Args:
        is_label: bool [B, N].
        usable: bool [B, cells].
        places: [B, N, 2] of the labels in this image.
        grid: of the cells.
        clearance: what is nearer to a label's place than this, in cells, counts neither for nor against it.

    Returns:
        bool [B, N, N + cells].
    """
    num_labels = is_label.shape[1]
    found = torch.cat([is_label, usable], 1)[:, None].expand(-1, num_labels, -1)
    if clearance > 0:
        others = torch.cat([places, grid.cells(places)[None].expand(len(places), -1, -1)], 1)
        found = found & (torch.cdist(places, others) >= clearance)
    itself = torch.eye(num_labels, found.shape[2], dtype=torch.bool, device=found.device)
    return found | (itself & is_label[:, :, None])


def label_log_confidence(side0: Side, side1: Side, *, temperature: float) -> torch.Tensor:
    """Logarithm [B, N] of the confidence that the ends of each label match, among all labels and cells.

    Of the matrix over labels and cells of both images only the rows and columns of labels are computed: no similarity
    between two cells takes part.
    """
    scale = 1 / (side0.features.shape[-1] * temperature)
    own = (side0.features * side1.features).sum(-1) * scale
    both = _normaliser(side0.features * scale, side1) + _normaliser(side1.features * scale, side0)
    return (2 * own - both).clamp(max=0)


def _normaliser(features: torch.Tensor, side: Side) -> torch.Tensor:
    """Log-sum-exp [B, N] of the similarities of features to all that their partners compete with."""
    similarity = torch.bmm(features, torch.cat([side.features, side.tokens], 1).transpose(1, 2))
    return similarity.masked_fill_(~side.is_rival, _MASKED).logsumexp(2)
