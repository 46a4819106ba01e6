"""Matching by descriptors alone, on the device: mutual nearest neighbours by cosine, and under a dual soft-max."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch

from gim.matchers.nn.assignment import Matches, matched_rows, mutual_best
from gim.matchers.nn.dual_softmax import match_dual_softmax
from gim.records import Features


class DescriptorMatcher(ABC):
    """Compares all descriptors of two images, pair by pair: each has enough of them to fill a device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    @abstractmethod
    def _match(self, descriptors0: torch.Tensor, descriptors1: torch.Tensor) -> Matches:
        """Matches of float32 unit descriptors [M, D] and [N, D]."""

    def match(self, pairs: Sequence[tuple[Features, Features]]) -> list[Matches]:
        """Matches int32 [K, 2], ascending, one-to-one, and their confidence float32 [K] in [0, 1]."""
        # Half precision would make ties of neighbours.
        with torch.autocast(self._device.type, enabled=False):
            return [self._match(*map(self._on_device, pair)) for pair in pairs]

    def _on_device(self, features: Features) -> torch.Tensor:
        return torch.from_numpy(features.descriptors).to(self._device, torch.float32)


class MutualCosineMatcher(DescriptorMatcher):
    """Pairs of keypoints that are each other's nearest and similar enough; the cosine is their confidence."""

    def __init__(self, device: torch.device, min_similarity: float) -> None:
        super().__init__(device)
        self._min_similarity = min_similarity

    def _match(self, descriptors0: torch.Tensor, descriptors1: torch.Tensor) -> Matches:
        (is_mutual,), (indices1,), (best,) = mutual_best((descriptors0 @ descriptors1.T)[None])
        return matched_rows(is_mutual & (best > self._min_similarity), indices1, best.clamp(0, 1))


class DualSoftmaxMatcher(DescriptorMatcher):
    """Pairs of keypoints that are each other's most confident partner."""

    def __init__(self, device: torch.device, threshold: float, inverse_temperature: float) -> None:
        super().__init__(device)
        self._threshold = threshold
        self._inverse_temperature = inverse_temperature

    def _match(self, descriptors0: torch.Tensor, descriptors1: torch.Tensor) -> Matches:
        found = match_dual_softmax(descriptors0 * self._inverse_temperature, descriptors1, threshold=self._threshold)
        rows, columns, confidence = (part.cpu().numpy() for part in found)
        return np.column_stack([rows, columns]).astype(np.int32), confidence
