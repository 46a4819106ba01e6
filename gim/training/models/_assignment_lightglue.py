"""LightGlue in training: every layer's assignment is supervised. No architecture by itself.

Source: LightGlue (Lindenberger et al., ICCV 2023), Eq. 11 and Sec. 3.4; GIM (Shen et al., ICLR 2024) for video.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.checkpoint import checkpoint

from gim.matchers.nn.assignment import KeypointBatch
from gim.matchers.nn.lightglue import DERIVED, LightGlueNetwork, Scores, early_exit_keys, renamed
from gim.training.batches import FeatureBatch, LabelsBatch
from gim.training.models._assignment_batch import centred_places, feature_batch, network_inputs
from gim.training.models._assignment_config import LightGlueConfig, matcher_settings
from gim.training.models._assignment_loss import (
    Likelihood,
    Shares,
    balanced,
    chosen,
    dual_softmax_likelihood,
    shares_of,
)
from gim.training.models.base import Loss, Trainable
from gim.training.samples import FeatureSample
from gim.training.supervision.keypoints import KeypointTruth, keypoint_truth
from gim.weights.checkpoint import StateDict, load_into, select

_SHARPNESS = 40.0  # what a cosine counts in the exponent: the loss of untrained XFeat is lowest about there


class _Context(NamedTuple):
    """What all layers see."""

    batch0: KeypointBatch
    batch1: KeypointBatch
    encoding0: torch.Tensor
    encoding1: torch.Tensor
    truth: KeypointTruth
    shares: Shares
    is_labelled: bool  # labels are the truth


class _Layer(NamedTuple):
    """What a layer gives."""

    x0: torch.Tensor  # [B, M, D]
    x1: torch.Tensor
    likelihood: Likelihood
    choices0: torch.Tensor | None  # int64 [B, M], see `chosen`; only where confidence is trained
    choices1: torch.Tensor | None


class LightGlueTrainable(Trainable):
    """LightGlue on the features of a frozen extractor."""

    sees: ClassVar[Literal["images", "features"]] = "features"
    prefix: ClassVar[str] = ""  # of the published names
    descriptor_length: ClassVar[int]
    extractor_setting: ClassVar[str]  # of the matcher, that names the extractor's weights; empty: in the same file

    def __init__(self, config: LightGlueConfig) -> None:
        super().__init__()
        self.config = config
        self.network = LightGlueNetwork(
            input_dim=self.descriptor_length,
            descriptor_dim=config.width,
            n_layers=config.layers,
            num_heads=config.heads,
        )
        if config.begin == "descriptors":
            begin_with_descriptors(self.network)
        self._set_trained()
        self._thresholds = config.thresholds

    def collate(self, samples: Sequence[FeatureSample]) -> FeatureBatch:
        return feature_batch(samples)

    def forward(self, batch: FeatureBatch) -> Loss:
        truth = keypoint_truth(batch, self._thresholds)
        layers = self._layers(batch, truth)
        positive, negative = (
            torch.stack([getattr(layer.likelihood, name) for layer in layers]) for name in Likelihood._fields
        )
        per_layer = balanced(positive, negative, batch, self.config.label_weight)
        total = (per_layer * self._shares_of_layers(per_layer)).sum()
        last = {"positive": positive[-1], "negative": negative[-1], "last_layer": per_layer[-1]}
        if self.config.confidence and len(layers) > 1:
            confidence = self._confidence_loss(layers, batch)
            total, last = total + confidence, last | {"confidence": confidence}
        supervised = truth.is_matched0.sum() + truth.is_unmatched0.sum() + truth.is_unmatched1.sum()
        return Loss(total, {name: value.detach() for name, value in last.items()}, int(supervised))

    def _shares_of_layers(self, like: torch.Tensor) -> torch.Tensor:
        """gamma^(distance from the last layer), divided by their sum (Eq. 11: all the same)."""
        powers = self.config.gamma ** torch.arange(self.config.layers - 1, -1, -1).to(like)
        return powers / powers.sum()

    def _layers(self, batch: FeatureBatch, truth: KeypointTruth) -> list[_Layer]:
        network, (batch0, batch1) = self.network, network_inputs(batch, centred_places)
        encoding0, encoding1 = network.encode(batch0.places), network.encode(batch1.places)
        is_labelled = isinstance(batch.truth, LabelsBatch)
        context = _Context(batch0, batch1, encoding0, encoding1, truth, Shares.of(truth), is_labelled)
        x0, x1 = network.input_proj(batch0.descriptors), network.input_proj(batch1.descriptors)
        layers = []
        for number in range(self.config.layers):
            if self.config.recompute:
                layer = checkpoint(self._layer, number, x0, x1, context, use_reentrant=False)
            else:
                layer = self._layer(number, x0, x1, context)
            layers.append(layer)
            x0, x1 = layer.x0, layer.x1
        return layers

    def _layer(self, number: int, x0: torch.Tensor, x1: torch.Tensor, context: _Context) -> _Layer:
        block: Any = self.network.transformers[number]  # of kornia, untyped
        batch0, batch1 = context.batch0, context.batch1
        mask0, mask1 = batch0.attention_mask, batch1.attention_mask
        x0, x1 = block.self_attn(x0, context.encoding0, mask0), block.self_attn(x1, context.encoding1, mask1)
        x0, x1 = block.cross_attn(x0, x1, mask0, mask1)
        with torch.autocast(x0.device.type, enabled=False):
            scores = self.network.scores(number, _wide(x0), _wide(x1), batch0.is_real, batch1.is_real)
            if context.is_labelled:
                scores = _held_back(scores, self.config.label_matchability)
            likelihood = dual_softmax_likelihood(scores, context.truth, context.shares)
            choices = chosen(scores) if self.config.confidence else (None, None)
        return _Layer(x0, x1, likelihood, *choices)

    def _confidence_loss(self, layers: Sequence[_Layer], batch: FeatureBatch) -> torch.Tensor:
        """Whether a layer already chooses what the last one does, guessed per keypoint (Sec. 3.3, second phase)."""
        losses = []
        for number, layer in enumerate(layers[:-1]):
            head: Any = self.network.token_confidence[number]
            for side, is_real in (("0", batch.is_real0), ("1", batch.is_real1)):
                logits = head.token[0](_wide(getattr(layer, f"x{side}").detach())).squeeze(-1)
                is_final = getattr(layer, f"choices{side}") == getattr(layers[-1], f"choices{side}")
                cost = binary_cross_entropy_with_logits(logits, is_final.to(logits), reduction="none")
                losses.append((cost * shares_of(is_real)).sum())
        return torch.stack(losses).mean()

    def published(self, state: StateDict) -> StateDict:
        kept = {key: tensor for key, tensor in select(state, "network.").items() if key != DERIVED}
        return {f"{self.prefix}{key}": tensor for key, tensor in kept.items()}

    def load_published(self, state: StateDict, source: str) -> None:
        own = renamed(select(state, f"{self.prefix}net.", self.prefix, drop=("superpoint.", "extractor.")))
        unused = early_exit_keys(self.config.layers)
        load_into(self.network, own, source=source, may_miss=(DERIVED, *unused))
        self._set_trained()

    def frozen_extractor(self) -> tuple[str, str]:
        return self.config.extractor, self.config.extractor_weights

    def matcher_settings(self) -> Mapping[str, Any]:
        return matcher_settings(self.config, self.extractor_setting)

    def _set_trained(self) -> None:
        """All but what nothing here gives a gradient, which must not wait for one on another rank."""
        self.network.train().requires_grad_(requires_grad=True)
        self.network.token_confidence.requires_grad_(requires_grad=self.config.confidence)


@torch.no_grad()
def begin_with_descriptors(network: LightGlueNetwork) -> None:
    """Let an untrained network assign by the similarity of descriptors, so that training begins where that ends.

    No layer changes the state at first: the last matrix of every residual branch is zero (Zhang et al., Fixup, ICLR
    2019). The heads compare the states as they are, at a temperature at which a soft-max tells neighbours apart.
    Descriptors are of unit length. One wider than the network is projected at random, which keeps angles nearly.
    """
    if isinstance(network.input_proj, torch.nn.Linear):
        torch.nn.init.orthogonal_(network.input_proj.weight)
        torch.nn.init.zeros_(network.input_proj.bias)
    layer: Any  # of kornia, untyped
    for layer in network.transformers:
        for branch in (layer.self_attn.ffn[-1], layer.cross_attn.ffn[-1]):
            torch.nn.init.zeros_(branch.weight)
            torch.nn.init.zeros_(branch.bias)
    width = int(network.conf.descriptor_dim)
    head: Any
    for head in network.log_assignment:
        torch.nn.init.eye_(head.final_proj.weight).mul_(math.sqrt(_SHARPNESS * math.sqrt(width)))
        torch.nn.init.zeros_(head.final_proj.bias)


def _held_back(scores: Scores, share: float) -> Scores:
    """The same scores, whose matchabilities pass on this share of their gradient.

    No label says that a keypoint has no match, so at labels alone they would only rise. A share of 0 still passes on
    zeros: no rank waits for a gradient that does not come.
    """
    if share == 1:
        return scores
    logits0, logits1 = (torch.lerp(logits.detach(), logits, share) for logits in (scores.logits0, scores.logits1))
    return Scores(scores.similarity, logits0, logits1)


def _wide(x: torch.Tensor) -> torch.Tensor:
    """At least float32: sums of two log-softmaxes lie close together."""
    return x if x.dtype is torch.float64 else x.float()
