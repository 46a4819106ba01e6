"""Mutual nearest neighbours of unit descriptors on the device, for batches of pairs."""

from collections.abc import Sequence

import numpy as np
import torch

from gim.matchers.nn.assignment import Matches
from gim.records import Features


class MutualCosineMatcher:
    """Pairs of keypoints that are each other's nearest and similar enough; every pair of a batch has equal counts."""

    def __init__(self, device: torch.device, min_similarity: float) -> None:
        self._device = device
        self._min_similarity = min_similarity

    def match(self, pairs: Sequence[tuple[Features, Features]]) -> list[Matches]:
        """Matches int32 [K, 2], ascending, one-to-one, and their cosine similarity float32 [K] in [0, 1]."""
        sides = [np.stack([pair[side].descriptors for pair in pairs]) for side in (0, 1)]
        # Half precision would make ties of neighbours.
        with torch.autocast(self._device.type, enabled=False):
            first, second = (torch.from_numpy(side).to(self._device, torch.float32) for side in sides)
            similarity = first @ second.transpose(1, 2)
            best, indices1 = similarity.max(2)
            indices0 = similarity.argmax(1)
        is_mutual = indices0.gather(1, indices1) == torch.arange(similarity.shape[1], device=self._device)
        is_match = is_mutual & (best > self._min_similarity)
        columns = (column.cpu().numpy() for column in (is_match, indices1, best.clamp(0, 1)))
        return [
            (np.column_stack([np.flatnonzero(chosen), indices[chosen]]).astype(np.int32), confidence[chosen])
            for chosen, indices, confidence in zip(*columns, strict=True)
        ]
