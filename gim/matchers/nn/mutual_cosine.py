"""Mutual nearest neighbours of unit descriptors on the device."""

from collections.abc import Sequence

import torch

from gim.matchers.nn.assignment import Matches, matched_rows, mutual_best
from gim.records import Features


class MutualCosineMatcher:
    """Pairs of keypoints that are each other's nearest and similar enough."""

    def __init__(self, device: torch.device, min_similarity: float) -> None:
        self._device = device
        self._min_similarity = min_similarity

    def match(self, pairs: Sequence[tuple[Features, Features]]) -> list[Matches]:
        """Matches int32 [K, 2], ascending, one-to-one, and their cosine similarity float32 [K] in [0, 1]."""
        return [self._match(*pair) for pair in pairs]

    def _match(self, features0: Features, features1: Features) -> Matches:
        first, second = (
            torch.from_numpy(item.descriptors).to(self._device, torch.float32) for item in (features0, features1)
        )
        # Half precision would make ties of neighbours.
        with torch.autocast(self._device.type, enabled=False):
            is_mutual, (indices1,), (best,) = mutual_best((first @ second.T)[None])
        return matched_rows(is_mutual[0] & (best > self._min_similarity), indices1, best.clamp(0, 1))
