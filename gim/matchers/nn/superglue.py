"""SuperGlue (Sarlin, DeTone, Malisiewicz, Rabinovich, CVPR 2020), from the paper and the tensors' names.

Equations and sections below are the paper's.
"""

import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from gim.errors import ShapeError
from gim.inference.config import InferenceConfig
from gim.matchers.nn.assignment import AssignmentMatcher, KeypointBatch
from gim.records import Features
from gim.weights.checkpoint import StateDict, load_into

_SIZE = 256  # of descriptors
_NUM_HEADS = 4
_NUM_LAYERS = 18  # self and cross attention in turn
_ENCODER_WIDTHS = (3, 32, 64, 128, 256, _SIZE)


class SuperGlueMatcher(AssignmentMatcher):
    """Matches features by SuperGlue; they must have `scores` and say the size of their image."""

    def _inputs(self, features: Features) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        return keypoint_inputs(features), features.descriptors


def load_superglue(
    state: StateDict,
    *,
    source: str,
    device: torch.device,
    inference: InferenceConfig,
    match_threshold: float,
    sinkhorn_iterations: int,
) -> SuperGlueMatcher:
    """SuperGlue with weights, ready to match.

    Raises:
        InvalidInput: keys are missing, there are others, or shapes differ.
    """
    network = SuperGlue(sinkhorn_iterations)
    load_into(network, state, source=source)
    return SuperGlueMatcher(network.to(device), match_threshold, inference)


def keypoint_inputs(features: Features) -> np.ndarray[Any, Any]:
    """What the keypoint encoder sees: float32 [N, 3], x and y about the image's centre, and the detector's score.

    The unit is 0.7 of the longer side. The middle is taken as half the size although positions count from a pixel's
    centre: so were the published weights trained.

    Raises:
        ShapeError: the features have no scores, or do not say the size of their image.
    """
    if features.scores is None or features.image_size is None:
        raise ShapeError("features for SuperGlue must have scores and say the size of their image")
    size = np.array(features.image_size, np.float32)
    positions = (features.keypoints - size / 2) / (np.float32(0.7) * size.max())
    return np.column_stack([positions, features.scores]).astype(np.float32)


class SuperGlue(nn.Module):
    """The network, by the names of the published tensors."""

    def __init__(self, sinkhorn_iterations: int) -> None:
        super().__init__()
        self._sinkhorn_iterations = sinkhorn_iterations
        self.kenc = _KeypointEncoder()
        self.gnn = _AttentionalGraph()
        self.final_proj = nn.Conv1d(_SIZE, _SIZE, 1)
        self.bin_score = nn.Parameter(torch.ones(()))

    def forward(self, batch0: KeypointBatch, batch1: KeypointBatch) -> torch.Tensor:
        """Log assignment float32 [B, M + 1, N + 1], -inf for what is padded.

        Args:
            batch0: M keypoints of each first image, places as from `keypoint_inputs`.
            batch1: N keypoints of each second image.
        """
        return self.assign(self.similarity(batch0, batch1), batch0.is_real, batch1.is_real)

    def similarity(self, batch0: KeypointBatch, batch1: KeypointBatch) -> torch.Tensor:
        """Scores float32 [B, M, N] of all pairs (Eq. 1-7)."""
        # Positions in full precision: half of it knows them to some ten pixels.
        with torch.autocast(batch0.places.device.type, enabled=False):
            x0, x1 = (
                batch.descriptors.transpose(1, 2) + self.kenc(batch.places.transpose(1, 2))
                for batch in (batch0, batch1)
            )
        x0, x1 = self.gnn(x0, x1, batch0.attention_mask, batch1.attention_mask)
        with torch.autocast(x0.device.type, enabled=False):
            matching0, matching1 = self.final_proj(x0.float()), self.final_proj(x1.float())
            return torch.bmm(matching0.transpose(1, 2), matching1) / math.sqrt(_SIZE)

    def assign(
        self,
        similarity: torch.Tensor,
        is_real0: torch.Tensor | None = None,
        is_real1: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Log of the optimal partial assignment [B, M + 1, N + 1] of scores [B, M, N] (Sec. 3.2).

        A dustbin for keypoints without a match is added on each side; it can take all of the other image's. Padding
        has nothing to give away.
        """
        batch, num0, num1 = similarity.shape
        scores = self.bin_score.float().expand(batch, num0 + 1, num1 + 1).clone()
        scores[:, :-1, :-1] = similarity
        shares0 = scores.new_ones(batch, num0) if is_real0 is None else is_real0.float()
        shares1 = scores.new_ones(batch, num1) if is_real1 is None else is_real1.float()
        rows = torch.cat([shares0, shares1.sum(1, keepdim=True)], 1)
        columns = torch.cat([shares1, shares0.sum(1, keepdim=True)], 1)
        return sinkhorn(scores, rows.log(), columns.log(), self._sinkhorn_iterations)


def sinkhorn(
    scores: torch.Tensor, log_rows: torch.Tensor, log_columns: torch.Tensor, num_iterations: int
) -> torch.Tensor:
    """Scale exp(scores) to given sums of rows and columns in turn (Sinkhorn and Knopp 1967), all in logarithms.

    Args:
        scores: float32 [B, M, N].
        log_rows: float32 [M] or [B, M], logarithm of the sum each row is to have; -inf for none.
        log_columns: float32 [N] or [B, N], likewise; both sum to the same.
        num_iterations: of both directions, at least one. The columns come last, and so are exact.

    Returns:
        float32 [B, M, N], logarithms.
    """
    # A column that is to have nothing takes nothing from the first row on.
    v = torch.where(log_columns == -torch.inf, log_columns, 0).expand(scores.shape[0], -1)
    for _ in range(num_iterations):
        u = log_rows - torch.logsumexp(scores + v[:, None], 2)
        v = log_columns - torch.logsumexp(scores + u[:, :, None], 1)
    return scores + u[:, :, None] + v[:, None]


class _KeypointEncoder(nn.Module):
    """What a keypoint's place and score add to its descriptor (Eq. 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _perceptron(*_ENCODER_WIDTHS)

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        encoded: torch.Tensor = self.encoder(places)
        return encoded


class _AttentionalGraph(nn.Module):
    """Self and cross attention in turn, both images updated at once (Sec. 3.1)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Propagation() for _ in range(_NUM_LAYERS))

    def forward(
        self, x0: torch.Tensor, x1: torch.Tensor, mask0: torch.Tensor | None, mask1: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        for number, layer in enumerate(self.layers):
            (source0, seen0), (source1, seen1) = (x0, mask0), (x1, mask1)
            if number % 2:
                (source0, seen0), (source1, seen1) = (x1, mask1), (x0, mask0)
            x0, x1 = x0 + layer(x0, source0, seen0), x1 + layer(x1, source1, seen1)
        return x0, x1


class _Propagation(nn.Module):
    """The message to each keypoint from those it attends to (Eq. 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = _Attention()
        self.mlp = _perceptron(2 * _SIZE, 2 * _SIZE, _SIZE)

    def forward(self, x: torch.Tensor, source: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        message: torch.Tensor = self.mlp(torch.cat([x, self.attn(x, source, mask)], 1))
        return message


class _Attention(nn.Module):
    """Multi-head attention (Eq. 4-5)."""

    def __init__(self) -> None:
        super().__init__()
        self.merge = nn.Conv1d(_SIZE, _SIZE, 1)
        self.proj = nn.ModuleList(nn.Conv1d(_SIZE, _SIZE, 1) for _ in range(3))

    def forward(self, x: torch.Tensor, source: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        inputs = (x, source, source)
        query, key, value = (
            # Channels of the heads are interleaved: 0, 4, 8 ... are the first one's; fast kernels want each together.
            project(item).unflatten(1, (-1, _NUM_HEADS)).permute(0, 2, 3, 1).contiguous()
            for project, item in zip(self.proj, inputs, strict=True)
        )  # [B, heads, N, channels]
        message = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        merged: torch.Tensor = self.merge(message.permute(0, 3, 1, 2).flatten(1, 2))
        return merged


def _perceptron(*widths: int) -> nn.Sequential:
    """Layers applied to each keypoint by itself, with normalisation and ReLU between."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Conv1d(before, after, 1), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers[:-2])
