"""From a log assignment matrix, the last layer of SuperGlue and LightGlue alike, to matches."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from gim.records import Int32Array

Matches = tuple[Int32Array, np.ndarray[Any, Any]]


def mutual_matches(log_assignment: torch.Tensor, threshold: float) -> list[Matches]:
    """Pairs of keypoints that are each other's best and likelier than a threshold (SuperGlue, CVPR 2020, Sec. 3.3).

    Args:
        log_assignment: float32 [B, M + 1, N + 1]; the last row and column are for keypoints without a match.
        threshold: least probability, exclusive.

    Returns:
        For each of the batch: int32 [K, 2] indices, ascending, each index at most once, and their probability,
        float32 [K] in [0, 1].
    """
    scores = log_assignment[:, :-1, :-1].float()
    best, indices1 = scores.max(2)
    indices0 = scores.argmax(1)
    is_mutual = indices0.gather(1, indices1) == torch.arange(scores.shape[1], device=scores.device)
    # A sum of logarithms may come out a rounding error above zero.
    confidence = best.exp().clamp(max=1)
    is_match = is_mutual & (confidence > threshold)
    return list(_rows(is_match.cpu().numpy(), indices1.cpu().numpy(), confidence.cpu().numpy()))


def _rows(*columns: np.ndarray[Any, Any]) -> Iterator[Matches]:
    for is_match, indices1, confidence in zip(*columns, strict=True):
        indices0 = np.flatnonzero(is_match)
        yield np.column_stack([indices0, indices1[indices0]]).astype(np.int32), confidence[indices0]
