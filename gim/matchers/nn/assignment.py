"""From features of image pairs to matches, through a log assignment matrix as SuperGlue and LightGlue end in one."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from gim.inference.config import InferenceConfig
from gim.inference.device import compiled
from gim.records import Features, Int32Array

Matches = tuple[Int32Array, np.ndarray[Any, Any]]


class KeypointBatch(NamedTuple):
    """What a network sees of the keypoints of a batch of images, padded to the most that one of them has."""

    places: torch.Tensor  # [B, N, P]
    descriptors: torch.Tensor  # [B, N, D]
    is_real: torch.Tensor | None = None  # bool [B, N], False where a row is padding; None: nowhere

    @property
    def attention_mask(self) -> torch.Tensor | None:
        """Which keypoints may be attended to, bool [B, 1, 1, N]; None: all."""
        return None if self.is_real is None else self.is_real[:, None, None]


class AssignmentMatcher(ABC):
    """Matches features of image pairs by a network, many pairs at once.

    Images rarely have equally many keypoints. Those of a batch are padded to the most that one has, and what is padded
    takes part in nothing: no keypoint attends to it, none is assigned to it.
    """

    def __init__(self, network: torch.nn.Module, threshold: float, inference: InferenceConfig) -> None:
        self._device = next(network.parameters()).device
        self.network = compiled(network, inference)
        self._threshold = threshold

    @abstractmethod
    def _inputs(self, features: Features) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """What the network sees of each keypoint: its place [N, P] and its descriptor [N, D]."""

    def match(self, pairs: Sequence[tuple[Features, Features]]) -> list[Matches]:
        """Matches of pairs of features.

        Args:
            pairs: features with what `_inputs` needs, at least one keypoint on each side.

        Returns:
            For each pair int32 [K, 2] indices, one-to-one, ascending, and their confidence float32 [K] in [0, 1].
        """
        # A processor gains nothing from a batch, and loses what is padded.
        batches = [[pair] for pair in pairs] if self._device.type == "cpu" else [pairs]
        return [found for batch in batches for found in mutual_matches(self.log_assignment(batch), self._threshold)]

    def log_assignment(self, pairs: Sequence[tuple[Features, Features]]) -> torch.Tensor:
        """Log assignment float32 [B, M + 1, N + 1] of such pairs, -inf for what is padded."""
        batch0, batch1 = (self._batch([self._inputs(pair[side]) for pair in pairs]) for side in (0, 1))
        log_assignment: torch.Tensor = self.network(batch0, batch1)
        if batch0.is_real is not None:
            log_assignment[:, :-1].masked_fill_(~batch0.is_real[:, :, None], -torch.inf)
        if batch1.is_real is not None:
            log_assignment[:, :, :-1].masked_fill_(~batch1.is_real[:, None], -torch.inf)
        return log_assignment

    def _batch(self, items: Sequence[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]) -> KeypointBatch:
        counts = np.array([len(places) for places, _ in items])
        places, descriptors = (self._stacked(arrays, counts.max()) for arrays in zip(*items, strict=True))
        if counts.min() == counts.max():  # attention without a mask has the faster kernels
            return KeypointBatch(places, descriptors)
        is_real = torch.from_numpy(np.arange(counts.max()) < counts[:, None])
        return KeypointBatch(places, descriptors, is_real.to(self._device))

    def _stacked(self, arrays: Sequence[np.ndarray[Any, Any]], length: int) -> torch.Tensor:
        stacked = np.zeros((len(arrays), length, arrays[0].shape[1]), np.float32)
        for rows, array in zip(stacked, arrays, strict=True):
            rows[: len(array)] = array
        return torch.from_numpy(stacked).to(self._device)


def mutual_matches(log_assignment: torch.Tensor, threshold: float) -> list[Matches]:
    """Pairs of keypoints that are each other's best and likelier than a threshold (SuperGlue, CVPR 2020, Sec. 3.3).

    Args:
        log_assignment: float32 [B, M + 1, N + 1]; the last row and column are for keypoints without a match.
        threshold: least probability, exclusive.

    Returns:
        For each of the batch: int32 [K, 2] indices, ascending, each index at most once, and their probability,
        float32 [K] in [0, 1].
    """
    is_mutual, indices1, best = mutual_best(log_assignment[:, :-1, :-1].float())
    # A sum of logarithms may come out a rounding error above zero.
    confidence = best.exp().clamp(max=1)
    is_match = is_mutual & (confidence > threshold)
    return [matched_rows(*item) for item in zip(is_match, indices1, confidence, strict=True)]


def mutual_best(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of each row of scores [B, M, N]: whether it and its best column choose each other, that column, and the score."""
    best, indices1 = scores.max(2)
    indices0 = scores.argmax(1)
    is_mutual = indices0.gather(1, indices1) == torch.arange(scores.shape[1], device=scores.device)
    return is_mutual, indices1, best


def matched_rows(is_match: torch.Tensor, indices1: torch.Tensor, confidence: torch.Tensor) -> Matches:
    """Matches as arrays: of the rows bool [M] that have one, row and column int32 [K, 2] and confidence float32 [K]."""
    indices0 = np.flatnonzero(is_match.cpu().numpy())
    columns = indices1.cpu().numpy()[indices0]
    return np.column_stack([indices0, columns]).astype(np.int32), confidence.cpu().numpy()[indices0]
