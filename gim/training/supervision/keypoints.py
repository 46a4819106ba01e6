"""Which keypoints of two images match, which have no match, and of which nothing is known.

Matches are found both ways and one-to-one. Between "near enough to match" and "too far to match" a keypoint is left
out of the loss (LightGlue, Lindenberger et al., ICCV 2023, Sec. 5). Nothing here has a gradient.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from gim.training.batches import DenseTruth, FeatureBatch, LabelsBatch
from gim.training.supervision.epipolar import epipolar_distances, fundamental_matrices
from gim.training.supervision.labels import label_distances, pixel_distances
from gim.training.truth import PosedBatch

NO_MATCH = -1


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How near is near, in pixels."""

    positive_px: float = 3.0
    negative_px: float = 5.0
    epipolar_px: float = 5.0
    label_radius_px: float = 3.0


class KeypointTruth(NamedTuple):
    """What is known of the keypoints of a batch."""

    matches0: torch.Tensor  # int64 [B, M] the keypoint of image 1, or NO_MATCH: has none, or not known
    is_unmatched0: torch.Tensor  # bool [B, M], known to have no match
    is_unmatched1: torch.Tensor  # bool [B, N]

    @property
    def is_matched0(self) -> torch.Tensor:
        """Which have a match: bool [B, M]."""
        return self.matches0 >= 0


@torch.no_grad()
def keypoint_truth(batch: FeatureBatch, thresholds: Thresholds) -> KeypointTruth:
    """What a batch's truth, of any kind, says of its keypoints."""
    if isinstance(batch.truth, LabelsBatch):
        return _labelled(batch, batch.truth, thresholds)
    return _reprojected(batch, batch.truth, thresholds)


def _labelled(batch: FeatureBatch, truth: LabelsBatch, thresholds: Thresholds) -> KeypointTruth:
    """Keypoint i is label i; or, where keypoints were detected, those near labels are matched along with them.

    Of all others nothing is known: a label says where a point is, and never that a point has no match.
    """
    num = batch.keypoints0.shape[1]
    index = torch.arange(num, device=batch.keypoints0.device)
    matches0 = torch.where(index < batch.num_labels[:, None], index, NO_MATCH)
    are_detected = batch.num_labels == 0
    if bool(are_detected.any()):
        distances = label_distances(batch.keypoints0, batch.keypoints1, truth, thresholds.label_radius_px)
        distances = _between_real(distances, batch)
        near = mutual_nearest(distances, thresholds.label_radius_px)
        matches0 = torch.where(are_detected[:, None], near, matches0)
    return KeypointTruth(matches0, torch.zeros_like(batch.is_real0), torch.zeros_like(batch.is_real1))


def _reprojected(batch: FeatureBatch, truth: DenseTruth, thresholds: Thresholds) -> KeypointTruth:
    """Mutual nearest by the larger of both reprojection errors; unmatched by the error in the other image alone."""
    moved0, moved1 = truth.to_image1(batch.keypoints0), truth.to_image0(batch.keypoints1)
    errors1 = _between_real(pixel_distances(moved0.positions, batch.keypoints1), batch)  # [B, M, N], in image 1
    errors0 = _between_real(pixel_distances(batch.keypoints0, moved1.positions), batch)  # likewise, in image 0
    are_seen = moved0.is_visible[:, :, None] & moved1.is_visible[:, None]
    both = torch.maximum(errors0, errors1).masked_fill(~are_seen, torch.inf)
    matches0 = mutual_nearest(both, thresholds.positive_px)
    is_unmatched0 = moved0.is_known & (~moved0.is_visible | (errors1.amin(2) > thresholds.negative_px))
    is_unmatched1 = moved1.is_known & (~moved1.is_visible | (errors0.amin(1) > thresholds.negative_px))
    if isinstance(truth, PosedBatch):
        lines = epipolar_distances(batch.keypoints0, batch.keypoints1, fundamental_matrices(truth))
        line0, line1 = (_between_real(line, batch) for line in lines)
        is_unmatched0 |= ~moved0.is_known & (line1.amin(2) > thresholds.epipolar_px)
        is_unmatched1 |= ~moved1.is_known & (line0.amin(1) > thresholds.epipolar_px)
    return KeypointTruth(matches0, is_unmatched0 & batch.is_real0, is_unmatched1 & batch.is_real1)


def mutual_nearest(distances: torch.Tensor, threshold_px: float) -> torch.Tensor:
    """Pairs that are each other's nearest and nearer than a threshold.

    Args:
        distances: [B, M, N], infinite where a pair is none.
        threshold_px: exclusive.

    Returns:
        int64 [B, M]: the column, or NO_MATCH.
    """
    nearest, columns = distances.min(2)
    rows = distances.argmin(1).gather(1, columns)
    is_mutual = rows == torch.arange(distances.shape[1], device=distances.device)
    return torch.where(is_mutual & (nearest < threshold_px), columns, NO_MATCH)


def _between_real(distances: torch.Tensor, batch: FeatureBatch) -> torch.Tensor:
    """Distances [B, M, N], infinite where one of the pair is padding."""
    if batch.is_real0.device.type == "cpu" and batch.is_real0.all() and batch.is_real1.all():
        return distances  # a processor knows that at once, and is spared a pass
    return distances.masked_fill(~(batch.is_real0[:, :, None] & batch.is_real1[:, None]), torch.inf)
