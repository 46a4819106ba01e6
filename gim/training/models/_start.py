"""Weights that training starts from: a published file's, or a backbone's for ImageNet."""

import torch
from torch import nn

from gim.weights.checkpoint import StateDict, load_into, read_checkpoint


def load_to_train(network: nn.Module, state: StateDict, source: str) -> None:
    """Put a state dict into a network, whose parameters go on being trained.

    Raises:
        InvalidInput: it is of another architecture; nothing was changed.
    """
    is_training = network.training
    load_into(network, state, source=source)
    network.requires_grad_(requires_grad=True).train(is_training)


def load_backbone(layers: nn.Module, path: str, prefix: str = "") -> None:
    """Put torchvision's weights for ImageNet into layers that are a part of the file's network, by its names.

    Raises:
        InvalidInput: the file is damaged, or of another network.
        Unavailable: it cannot be read.
    """
    own = layers.state_dict()
    found = {name.removeprefix(prefix): tensor for name, tensor in read_checkpoint(path).items()}
    kept = {name: tensor for name, tensor in found.items() if name in own}
    counters = {name: torch.zeros_like(own[name]) for name in own if name.endswith("num_batches_tracked")}
    load_to_train(layers, counters | kept, path)
