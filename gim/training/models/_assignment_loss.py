"""The negative log likelihood of an assignment of keypoints, from its parts: no matrix but the similarity is made.

A pair's terms are means over its keypoints, and a batch's are means over its pairs, those that supervise nothing
included: so batches of any division of the same pairs add up to the same.
"""

from typing import NamedTuple

import torch
from torch.nn.functional import logsigmoid

from gim.matchers.nn.lightglue import Scores
from gim.training.batches import FeatureBatch, LabelsBatch
from gim.training.supervision.keypoints import KeypointTruth


class Likelihood(NamedTuple):
    """Minus the mean logarithm of what the truth says, scalars."""

    positive: torch.Tensor  # of the matches
    negative: torch.Tensor  # of the keypoints without one


class Shares(NamedTuple):
    """What each keypoint counts in the means, 0 where nothing is known of it."""

    positive: torch.Tensor  # [B, M]
    negative0: torch.Tensor  # [B, M], both sides together as much as `positive`
    negative1: torch.Tensor  # [B, N]

    @classmethod
    def of(cls, truth: KeypointTruth) -> "Shares":
        """LightGlue, Eq. 11: the mean over matches, and half the mean over each side's keypoints without one."""
        return cls(shares_of(truth.is_matched0), shares_of(truth.is_unmatched0) / 2, shares_of(truth.is_unmatched1) / 2)


def shares_of(mask: torch.Tensor) -> torch.Tensor:
    """What each of a mask [B, N] counts in the mean over pairs of the mean over what is set."""
    return mask / (mask.sum(1, keepdim=True).clamp(min=1) * len(mask))


def dual_softmax_likelihood(scores: Scores, truth: KeypointTruth, shares: Shares) -> Likelihood:
    """Of LightGlue's assignment: similarity under both soft-maxes, times both matchabilities (Eq. 8 and 11)."""
    similarity, logits0, logits1 = scores.similarity, scores.logits0.squeeze(-1), scores.logits1.squeeze(-1)
    columns = truth.matches0.clamp(min=0)
    chosen = similarity.gather(2, columns[..., None]).squeeze(-1)
    log_match = 2 * chosen - similarity.logsumexp(2) - similarity.logsumexp(1).gather(1, columns)
    log_match = log_match + logsigmoid(logits0) + logsigmoid(logits1).gather(1, columns)
    negative0, negative1 = logsigmoid(-logits0) * shares.negative0, logsigmoid(-logits1) * shares.negative1
    return Likelihood(-_sum_where(log_match, shares.positive), -negative0.sum() - negative1.sum())


def transport_likelihood(log_assignment: torch.Tensor, truth: KeypointTruth) -> Likelihood:
    """Of SuperGlue's assignment, whose last row and column are dustbins (Sarlin et al., CVPR 2020, Eq. 10).

    The paper's sum over matches and unmatched keypoints is divided by how many there are, so that neither the number of
    keypoints nor of labels decides how far a step goes.

    Args:
        log_assignment: [B, M + 1, N + 1]; -inf where a keypoint is padding.
        truth: of the M and N keypoints.
    """
    columns = truth.matches0.clamp(min=0)
    log_match = log_assignment[:, :-1].gather(2, columns[..., None]).squeeze(-1)
    masks = truth.is_matched0, truth.is_unmatched0, truth.is_unmatched1
    num = sum(mask.sum(1, keepdim=True) for mask in masks)
    share = 1 / (torch.as_tensor(num).clamp(min=1) * len(columns))
    positive, negative0, negative1 = (
        _sum_where(values, mask * share)
        for values, mask in zip((log_match, log_assignment[:, :-1, -1], log_assignment[:, -1, :-1]), masks, strict=True)
    )
    return Likelihood(-positive, -negative0 - negative1)


def _sum_where(values: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """A weighted sum that does not see values of weight 0: of padding they may be enormous."""
    return (torch.where(shares > 0, values, 0.0) * shares).sum()


def balanced(positive: torch.Tensor, negative: torch.Tensor, batch: FeatureBatch, label_weight: float) -> torch.Tensor:
    """The two terms as one loss: halves where the truth knows both; at labels the first alone (GIM's video loss)."""
    if isinstance(batch.truth, LabelsBatch):
        return label_weight * positive
    return (positive + negative) / 2


def chosen(scores: Scores) -> tuple[torch.Tensor, torch.Tensor]:
    """The likeliest keypoint of the other image for each, int64 [B, M] and [B, N]; -1: that it has none is likelier."""
    with torch.no_grad():
        similarity = scores.similarity
        rows, columns = similarity.logsumexp(2, keepdim=True), similarity.logsumexp(1, keepdim=True)
        sure0, sure1 = logsigmoid(scores.logits0), logsigmoid(scores.logits1).transpose(1, 2)
        assignment = 2 * similarity - rows - columns + sure0 + sure1
        return (
            _or_none(assignment.max(2), logsigmoid(-scores.logits0).squeeze(2)),
            _or_none(assignment.max(1), logsigmoid(-scores.logits1).squeeze(2)),
        )


def _or_none(best: tuple[torch.Tensor, torch.Tensor], none: torch.Tensor) -> torch.Tensor:
    values, indices = best
    return torch.where(values > none, indices, -1)
