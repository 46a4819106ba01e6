"""SuperGlue (Sarlin, DeTone, Malisiewicz, Rabinovich, CVPR 2020), from the paper and the tensors' names.

Equations and sections below are the paper's. Pairs of a batch have equal numbers of keypoints; nothing is padded.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from gim.errors import ShapeError
from gim.inference.config import InferenceConfig
from gim.inference.device import compiled
from gim.matchers.nn.assignment import Matches, mutual_matches
from gim.records import Features
from gim.weights.checkpoint import StateDict, load_into

_SIZE = 256  # of descriptors
_NUM_HEADS = 4
_NUM_LAYERS = 18  # self and cross attention in turn
_ENCODER_WIDTHS = (3, 32, 64, 128, 256, _SIZE)


class SuperGlueMatcher:
    """Matches features of image pairs; every pair of a batch has as many keypoints as the first."""

    def __init__(self, network: "SuperGlue", match_threshold: float, inference: InferenceConfig) -> None:
        self._device = next(network.parameters()).device
        self.network = compiled(network, inference)
        self._match_threshold = match_threshold

    def match(self, pairs: Sequence[tuple[Features, Features]]) -> list[Matches]:
        """Matches of pairs of features.

        Args:
            pairs: features with `scores` and `image_size`, at least one on each side; sides 0 are of one length, sides
                1 of one.

        Returns:
            For each pair int32 [K, 2] indices, one-to-one, ascending, and their confidence float32 [K] in [0, 1].
        """
        return mutual_matches(self.log_assignment(pairs), self._match_threshold)

    def log_assignment(self, pairs: Sequence[tuple[Features, Features]]) -> torch.Tensor:
        """Log assignment float32 [B, M + 1, N + 1] of such pairs."""
        sides = [[pair[side] for pair in pairs] for side in (0, 1)]
        places = [self._on_device([keypoint_inputs(item) for item in side]) for side in sides]
        descriptors = [self._on_device([item.descriptors.T for item in side]) for side in sides]
        log_assignment: torch.Tensor = self.network(*places, *descriptors)
        return log_assignment

    def _on_device(self, arrays: Sequence[np.ndarray[Any, Any]]) -> torch.Tensor:
        return torch.from_numpy(np.stack(arrays)).to(self._device, torch.float32)


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
    """What the keypoint encoder sees: float32 [3, N], x and y about the image's centre, and the detector's score.

    The unit is 0.7 of the longer side. The middle is taken as half the size although positions count from a pixel's
    centre: so were the published weights trained.

    Raises:
        ShapeError: the features have no scores, or do not say the size of their image.
    """
    if features.scores is None or features.image_size is None:
        raise ShapeError("features for SuperGlue must have scores and say the size of their image")
    size = np.array(features.image_size, np.float32)
    positions = (features.keypoints - size / 2) / (np.float32(0.7) * size.max())
    return np.vstack([positions.T, features.scores[None]]).astype(np.float32)


class SuperGlue(nn.Module):
    """The network, by the names of the published tensors."""

    def __init__(self, sinkhorn_iterations: int) -> None:
        super().__init__()
        self._sinkhorn_iterations = sinkhorn_iterations
        self.kenc = _KeypointEncoder()
        self.gnn = _AttentionalGraph()
        self.final_proj = nn.Conv1d(_SIZE, _SIZE, 1)
        self.bin_score = nn.Parameter(torch.ones(()))

    def forward(
        self, places0: torch.Tensor, places1: torch.Tensor, descriptors0: torch.Tensor, descriptors1: torch.Tensor
    ) -> torch.Tensor:
        """Log assignment float32 [B, M + 1, N + 1], from places [B, 3, M] and descriptors [B, 256, M]."""
        return self.assign(self.similarity(places0, places1, descriptors0, descriptors1))

    def similarity(
        self, places0: torch.Tensor, places1: torch.Tensor, descriptors0: torch.Tensor, descriptors1: torch.Tensor
    ) -> torch.Tensor:
        """Scores float32 [B, M, N] of all pairs (Eq. 1-7)."""
        # Positions in full precision: half of it knows them to some ten pixels.
        with torch.autocast(places0.device.type, enabled=False):
            x0, x1 = descriptors0 + self.kenc(places0), descriptors1 + self.kenc(places1)
        x0, x1 = self.gnn(x0, x1)
        with torch.autocast(places0.device.type, enabled=False):
            matching0, matching1 = self.final_proj(x0.float()), self.final_proj(x1.float())
            return torch.bmm(matching0.transpose(1, 2), matching1) / math.sqrt(_SIZE)

    def assign(self, similarity: torch.Tensor) -> torch.Tensor:
        """Log of the optimal partial assignment [B, M + 1, N + 1] of scores [B, M, N] (Sec. 3.2).

        A dustbin for keypoints without a match is added on each side; it can take all of the other image's.
        """
        batch, num0, num1 = similarity.shape
        scores = self.bin_score.float().expand(batch, num0 + 1, num1 + 1).clone()
        scores[:, :-1, :-1] = similarity
        log_rows, log_columns = scores.new_zeros(num0 + 1), scores.new_zeros(num1 + 1)
        log_rows[-1], log_columns[-1] = math.log(num1), math.log(num0)
        return sinkhorn(scores, log_rows, log_columns, self._sinkhorn_iterations)


def sinkhorn(
    scores: torch.Tensor, log_rows: torch.Tensor, log_columns: torch.Tensor, num_iterations: int
) -> torch.Tensor:
    """Scale exp(scores) to given sums of rows and columns in turn (Sinkhorn and Knopp 1967), all in logarithms.

    Args:
        scores: float32 [B, M, N].
        log_rows: float32 [M], logarithm of the sum each row is to have.
        log_columns: float32 [N], likewise; both sum to the same.
        num_iterations: of both directions. The columns come last, and so are exact.

    Returns:
        float32 [B, M, N], logarithms.
    """
    u, v = scores.new_zeros(scores.shape[:2]), scores.new_zeros(scores.shape[0], scores.shape[2])
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

    def forward(self, x0: torch.Tensor, x1: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        for number, layer in enumerate(self.layers):
            sources = (x0, x1) if number % 2 == 0 else (x1, x0)
            x0, x1 = x0 + layer(x0, sources[0]), x1 + layer(x1, sources[1])
        return x0, x1


class _Propagation(nn.Module):
    """The message to each keypoint from those it attends to (Eq. 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = _Attention()
        self.mlp = _perceptron(2 * _SIZE, 2 * _SIZE, _SIZE)

    def forward(self, x: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        message: torch.Tensor = self.mlp(torch.cat([x, self.attn(x, source)], 1))
        return message


class _Attention(nn.Module):
    """Multi-head attention (Eq. 4-5)."""

    def __init__(self) -> None:
        super().__init__()
        self.merge = nn.Conv1d(_SIZE, _SIZE, 1)
        self.proj = nn.ModuleList(nn.Conv1d(_SIZE, _SIZE, 1) for _ in range(3))

    def forward(self, x: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        inputs = (x, source, source)
        query, key, value = (
            # Channels of the heads are interleaved: 0, 4, 8 ... are the first one's; fast kernels want each together.
            project(item).unflatten(1, (-1, _NUM_HEADS)).permute(0, 2, 3, 1).contiguous()
            for project, item in zip(self.proj, inputs, strict=True)
        )  # [B, heads, N, channels]
        message = scaled_dot_product_attention(query, key, value)
        merged: torch.Tensor = self.merge(message.permute(0, 3, 1, 2).flatten(1, 2))
        return merged


def _perceptron(*widths: int) -> nn.Sequential:
    """Layers applied to each keypoint by itself, with normalisation and ReLU between."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Conv1d(before, after, 1), nn.BatchNorm1d(after), nn.ReLU()]
    return nn.Sequential(*layers[:-2])
