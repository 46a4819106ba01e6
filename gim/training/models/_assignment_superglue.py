"""SuperGlue's forward in training: padding takes no part in the statistics of batch normalisation.

In evaluation `gim.matchers.nn.superglue.SuperGlue.forward` gives the same.
"""

import math
from typing import Any

import torch
from torch import nn

from gim.matchers.nn.assignment import KeypointBatch
from gim.matchers.nn.superglue import SuperGlue
from gim.training.batches import FeatureBatch
from gim.training.models._assignment_batch import network_inputs, scored_places


def log_assignment(network: SuperGlue, batch: FeatureBatch) -> torch.Tensor:
    """Log assignment [B, M + 1, N + 1], -inf for padding.

    Args:
        network: by its published names.
        batch: M keypoints of each first image, N of each second.
    """
    batch0, batch1 = network_inputs(batch, scored_places)
    with torch.autocast(batch0.places.device.type, enabled=False):
        x0, x1 = (
            item.descriptors.transpose(1, 2) + _per_keypoint(network.kenc, item.places.transpose(1, 2), item.is_real)
            for item in (batch0, batch1)
        )
    for number, layer in enumerate(network.gnn.layers):
        x0, x1 = _updated(layer, x0, x1, batch0, batch1, is_cross=number % 2 == 1)
    with torch.autocast(x0.device.type, enabled=False):
        matching0, matching1 = network.final_proj(x0.float()), network.final_proj(x1.float())
        similarity = torch.bmm(matching0.transpose(1, 2), matching1) / math.sqrt(matching0.shape[1])
        return network.assign(similarity, batch0.is_real, batch1.is_real)


def _updated(
    layer: Any, x0: torch.Tensor, x1: torch.Tensor, batch0: KeypointBatch, batch1: KeypointBatch, *, is_cross: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both images' states after a layer; in every other one they see each other."""
    seen0, seen1 = (x1, x0) if is_cross else (x0, x1)
    mask0, mask1 = batch0.attention_mask, batch1.attention_mask
    message0 = layer.attn(x0, seen0, mask1 if is_cross else mask0)
    message1 = layer.attn(x1, seen1, mask0 if is_cross else mask1)
    return (
        x0 + _per_keypoint(layer.mlp, torch.cat([x0, message0], 1), batch0.is_real),
        x1 + _per_keypoint(layer.mlp, torch.cat([x1, message1], 1), batch1.is_real),
    )


def _per_keypoint(module: nn.Module, x: torch.Tensor, is_real: torch.Tensor | None) -> torch.Tensor:
    """What a module of single keypoints makes of states [B, C, N], of which it is shown those that are real."""
    if is_real is None:
        plain: torch.Tensor = module(x)
        return plain
    shown = x.transpose(1, 2)[is_real]  # [K, C]
    num = len(shown)
    if num == 1:  # it has no variance to normalise by, and torch refuses it
        shown = shown.expand(2, -1)
    made: torch.Tensor = module(shown.t()[None])[0].t()
    placed = made.new_zeros(*is_real.shape, made.shape[1])
    placed[is_real] = made[:num]
    return placed.transpose(1, 2)
