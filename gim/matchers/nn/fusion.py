"""Layers of a loaded network joined where nothing happens between them: the same results to rounding, in less time."""

from typing import cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fuse_normalisation(network: nn.Module) -> None:
    """Put every batch normalisation that stands behind a convolution into it.

    Behind means: the next child of the same module, which in the networks here is the order they are run in.
    """
    for module in list(network.modules()):
        previous = ("", cast("nn.Module", None))
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d) and isinstance(previous[1], nn.Conv2d):
                setattr(module, previous[0], fuse_conv_bn_eval(previous[1], child))
                setattr(module, name, nn.Identity())
            previous = (name, child)


def product(second: nn.Conv2d, first: nn.Conv2d) -> nn.Conv2d:
    """Two 1x1 convolutions, one after the other, as one."""
    weights, biases = zip(*(_affine(layer) for layer in (second, first)), strict=True)
    joined = nn.Conv2d(first.in_channels, second.out_channels, 1)
    joined.load_state_dict(
        {"weight": (weights[0] @ weights[1])[:, :, None, None], "bias": weights[0] @ biases[1] + biases[0]}
    )
    return joined.to(first.weight.device).eval().requires_grad_(requires_grad=False)


def _affine(layer: nn.Conv2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrix and offset, in double precision."""
    bias = layer.weight.new_zeros(layer.out_channels) if layer.bias is None else layer.bias
    return layer.weight.detach().double().flatten(1), bias.detach().double()
