"""Warps refined from coarse to fine by convolutions: the part DKM and RoMa share."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import nn
from torch.nn import functional

from gim.matchers.nn.fusion import fuse_normalisation, product
from gim.matchers.nn.local_correlation import local_correlation

_KERNEL_SIZE = 5
_STEP = 4  # refinements are predicted in quarters of the scale's stride, so that they start small


class PairMaps(Protocol):
    """The maps of pairs of images: `gim.matchers.nn.pyramid.PairPyramid`, or what training makes of a batch."""

    @property
    def size(self) -> Sequence[int]:
        """(height, width) of the images the network saw."""

    def features(self, scale: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps of the images the warps start from and of those they lead to, each [B, C, h, w]."""

    def posteriors(self, scale: int) -> torch.Tensor:
        """Solved Gaussian processes of the images the warps lead to, [B, n, D]."""


@dataclass(frozen=True, slots=True)
class WarpEstimate:
    """Where the cells of a grid over one image lie in the other, as far as it is known at one scale."""

    scale: int  # stride of the grid in pixels
    flow: torch.Tensor  # float32 [B, 2, h, w], (x, y) in [-1, 1] over the other image's extent
    certainty: torch.Tensor  # float32 [B, 1, h, w], logits

    def resized(self, scale: int, size: torch.Size) -> "WarpEstimate":
        """The same at another scale, interpolated bilinearly."""
        if self.flow.shape[-2:] == size:
            return WarpEstimate(scale, self.flow, self.certainty)
        return WarpEstimate(scale, _interpolate(self.flow, size), _interpolate(self.certainty, size))


def texture_grid(size: Sequence[int], device: torch.device) -> torch.Tensor:
    """Positions (x, y) of the cells of a grid of (height, width), float32 [2, H, W], in [-1, 1] over the image."""
    y, x = (torch.linspace(-1 + 1 / side, 1 - 1 / side, side, device=device) for side in size)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))


class ConvRefiner(nn.Module):
    """Predicts how to move a warp, and how to change its certainty, at one scale (DKM, Sec. 3.3; RoMa, Sec. 3.2).

    Sees the image's features, those of the other image at the warp's targets, the displacement embedded linearly, and,
    with a radius, the similarity to the features around each target.

    Args:
        feature_channels: of each image's map.
        embedding_channels: of the displacement.
        radius: of the window of similarities, in cells; 0 = none.
        widening: hidden channels per channel of the input.
        certainty_first: whether the certainty is the output's first channel, as in DKM, or its last.
        num_blocks: hidden blocks.
    """

    def __init__(
        self,
        feature_channels: int,
        embedding_channels: int,
        *,
        radius: int = 0,
        widening: int = 1,
        certainty_first: bool = False,
        num_blocks: int = 8,
    ) -> None:
        super().__init__()
        self.radius = radius
        self.certainty_first = certainty_first
        window = (2 * radius + 1) ** 2 if radius else 0
        channels = 2 * feature_channels + embedding_channels + window
        hidden = channels * widening
        self.block1 = _block(channels, hidden)
        self.hidden_blocks = nn.Sequential(*(_block(hidden, hidden) for _ in range(num_blocks)))
        self.out_conv = nn.Conv2d(hidden, 3, 1)
        self.disp_emb = nn.Conv2d(2, embedding_channels, 1)

    def fuse(self) -> None:
        """Join layers once the weights are loaded: see gim.matchers.nn.fusion.

        Behind the last convolution of all channels comes the output's, and no other layer: a ninth of the work goes.
        """
        fuse_normalisation(self)
        last = cast("nn.Sequential", self.hidden_blocks[-1])
        self.out_conv = product(self.out_conv, cast("nn.Conv2d", last[3]))
        last[3] = nn.Identity()

    def wrap(self, wrapped: Callable[[nn.Module], nn.Module]) -> None:
        """Put something around the part that does most of the work, such as torch.compile."""
        self.hidden_blocks = cast("nn.Sequential", wrapped(self.hidden_blocks))

    def forward(
        self, query: torch.Tensor, support: torch.Tensor, flow: torch.Tensor, gain: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Change of the flow in steps of this scale, float32 [B, 2, h, w], and of the certainty, [B, 1, h, w].

        Args:
            query: [B, C, h, w] features of the images the warps start from.
            support: [B, C, h, w] features of the images they lead to.
            flow: float32 [B, 2, h, w].
            gain: factor of the displacements that are embedded.
        """
        # The input is not given a name: it is as large as what is made of it, and not needed afterwards.
        hidden = self.hidden_blocks(self.block1(self._input(query, support, flow, gain)))
        out = self.out_conv(hidden).float()
        return (out[:, 1:], out[:, :1]) if self.certainty_first else (out[:, :2], out[:, 2:])

    def _input(self, query: torch.Tensor, support: torch.Tensor, flow: torch.Tensor, gain: float) -> torch.Tensor:
        """Everything the convolutions see, [B, channels, h, w]."""
        # As the authors train it: no gradient goes through what is seen at the targets, nor through where they are.
        support, places = support.detach(), flow.detach()
        # Positions in half precision would be off by cells: sampling is done in float32, whatever the features are.
        with torch.autocast(flow.device.type, enabled=False):
            targets = functional.grid_sample(support.float(), places.movedim(1, 3), align_corners=False)
            displacement = gain * (flow - texture_grid(flow.shape[-2:], flow.device))
            parts = [query, targets, self.disp_emb(displacement)]
            if self.radius:
                parts.append(local_correlation(query, support, places, self.radius))
        # Channels last: the convolutions of single channels take a third of the time, on a CPU.
        alike = [part.to(query.dtype).contiguous(memory_format=torch.channels_last) for part in parts]
        return torch.cat(alike, dim=1)


def refined(
    refiners: nn.ModuleDict, pairs: PairMaps, start: WarpEstimate, scales: Sequence[int], gain: float = 1.0
) -> Iterator[WarpEstimate]:
    """Refine an estimate scale by scale, coarse to fine; what is found at each scale, in turn.

    Args:
        refiners: a ConvRefiner for each scale, by the scale's name.
        pairs: maps at these scales.
        start: any estimate, of any size.
        scales: strides, pixels, descending.
        gain: factor of the displacements that the refiners embed.
    """
    height, width = pairs.size
    estimate = start
    for scale in scales:
        query, support = pairs.features(scale)
        estimate = estimate.resized(scale, query.shape[-2:])
        step, change = refiners[str(scale)](query, support, estimate.flow, gain)
        unit = scale / (_STEP * step.new_tensor([width, height]))
        flow = estimate.flow + step * unit.view(1, 2, 1, 1)
        estimate = WarpEstimate(scale, flow, estimate.certainty + change)
        yield estimate


def _interpolate(maps: torch.Tensor, size: torch.Size) -> torch.Tensor:
    return functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def _block(channels: int, new_channels: int) -> nn.Sequential:
    """A convolution of each channel by itself, then one of all channels at each place."""
    return nn.Sequential(
        nn.Conv2d(channels, new_channels, _KERNEL_SIZE, padding=_KERNEL_SIZE // 2, groups=channels),
        nn.BatchNorm2d(new_channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(new_channels, new_channels, 1),
    )
