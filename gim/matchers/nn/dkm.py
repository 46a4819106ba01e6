"""DKM (Edstedt et al., CVPR 2023), version 3, as GIM trained it: dense matching by a Gaussian process and refinement.

Module names are those of the published weights.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import nn
from torch.nn import functional
from torchvision import models

from gim.matchers.nn.fusion import fuse_normalisation
from gim.matchers.nn.gaussian_process import GaussianProcess
from gim.matchers.nn.pyramid import Pyramid
from gim.matchers.nn.refiner import ConvRefiner, PairMaps, WarpEstimate, refined

_COARSE_SCALES = (32, 16)  # matched globally
_FINE_SCALES = (8, 4, 2, 1)
# At strides 2, 4, ..., 32.
_BACKBONE_CHANNELS = {"resnet50": (64, 256, 512, 1024, 2048), "resnet18": (64, 64, 128, 256, 512)}


@dataclass(frozen=True, slots=True)
class DkmSizes:
    """How large the layers are. Published weights have the defaults; smaller ones are for trials."""

    backbone: Literal["resnet50", "resnet18"] = "resnet50"
    projected: int = 512  # channels of the two coarse maps
    positions: int = 256  # of the Gaussian process
    features: int = 256  # of the image, next to it
    context: int = 384  # handed from the coarser scale to the finer
    displacements: tuple[int, int, int, int, int] = (128, 64, 32, 16, 6)  # embedded, at strides 16, 8, 4, 2, 1
    refiner_blocks: int = 8


_PUBLISHED = DkmSizes()


class DKMv3(nn.Module):
    """The network: what it computes of an image alone, and the warps of pairs of such images in two passes."""

    def __init__(self, sizes: DkmSizes = _PUBLISHED) -> None:
        super().__init__()
        self.encoder = _Encoder(sizes)
        self.decoder = _Decoder(sizes)

    def fuse(self) -> None:
        """Join layers once the weights are loaded: see gim.matchers.nn.fusion."""
        fuse_normalisation(self)
        for refiner in self.decoder.conv_refiner.values():
            cast("ConvRefiner", refiner).fuse()

    def wrap(self, wrapped: Callable[[nn.Module], nn.Module]) -> None:
        """Put something around the parts that do most of the work, such as torch.compile."""
        self.encoder = cast("_Encoder", wrapped(self.encoder))
        for refiner in self.decoder.conv_refiner.values():
            cast("ConvRefiner", refiner).wrap(wrapped)

    def coarse_pyramid(self, images: torch.Tensor) -> Pyramid:
        """Maps for the first pass, of images [B, 3, H, W], RGB in [0, 1]."""
        features = dict(self.encoder(images, coarsest=32))
        for scale in _COARSE_SCALES:
            features[scale] = self.decoder.proj[str(scale)](features[scale])
        posteriors = {scale: self.decoder.solve(features[scale], scale) for scale in _COARSE_SCALES}
        return Pyramid(images.shape[-2:], features, posteriors)

    def fine_pyramid(self, images: torch.Tensor) -> Pyramid:
        """Maps for the second pass, of the same images at its size."""
        return Pyramid(images.shape[-2:], self.encoder(images, coarsest=8), {})

    def first_pass(self, pairs: PairMaps) -> Iterator[WarpEstimate]:
        """Estimates at strides 32, 16, 8, 4, 2 and 1, each better than the one before."""
        for estimate in self.decoder.global_matches(pairs):
            yield estimate
        yield from refined(self.decoder.conv_refiner, pairs, estimate, _FINE_SCALES)

    def second_pass(self, pairs: PairMaps, start: WarpEstimate) -> Iterator[WarpEstimate]:
        """Estimates at strides 8, 4, 2 and 1, from the last one of the first pass."""
        return refined(self.decoder.conv_refiner, pairs, start, _FINE_SCALES)


class _Encoder(nn.Module):
    """A ResNet (He et al., CVPR 2016) that shows the maps of all its stages."""

    def __init__(self, sizes: DkmSizes) -> None:
        super().__init__()
        self.net = getattr(models, sizes.backbone)(weights=None)
        del self.net.fc

    def forward(self, images: torch.Tensor, coarsest: int) -> Mapping[int, torch.Tensor]:
        """Maps at strides 1 (the image itself), 2, 4, ... `coarsest`."""
        net = self.net
        features = {1: images, 2: net.relu(net.bn1(net.conv1(images)))}
        maps = net.maxpool(features[2])
        for scale, stage in ((4, net.layer1), (8, net.layer2), (16, net.layer3), (32, net.layer4)):
            if scale > coarsest:
                break
            features[scale] = maps = stage(maps)
        return features


class _Decoder(nn.Module):
    """Everything that sees two images."""

    def __init__(self, sizes: DkmSizes) -> None:
        super().__init__()
        at2, at4, at8, at16, at32 = _BACKBONE_CHANNELS[sizes.backbone]
        projected = sizes.projected
        self.embedding_decoder = _EmbeddingDecoder(sizes)
        self.gps = nn.ModuleDict({str(scale): GaussianProcess(sizes.positions) for scale in _COARSE_SCALES})
        self.proj = nn.ModuleDict({"16": nn.Conv2d(at16, projected, 1), "32": nn.Conv2d(at32, projected, 1)})
        windows = {"16": (projected, 7), "8": (at8, 3), "4": (at4, 2), "2": (at2, 0), "1": (3, 0)}
        self.conv_refiner = nn.ModuleDict(
            {
                scale: ConvRefiner(
                    channels,
                    embedded,
                    radius=radius,
                    widening=2 if scale == "1" else 1,
                    certainty_first=True,
                    num_blocks=sizes.refiner_blocks,
                )
                for (scale, (channels, radius)), embedded in zip(windows.items(), sizes.displacements, strict=True)
            }
        )

    def solve(self, features: torch.Tensor, scale: int) -> torch.Tensor:
        """What the Gaussian process of a scale needs of the image the warp leads to."""
        return cast("GaussianProcess", self.gps[str(scale)]).solve(features)

    def global_matches(self, pairs: PairMaps) -> Iterator[WarpEstimate]:
        """Match all cells with all, without an estimate to start from: at stride 32, then at 16, there refined."""
        context: torch.Tensor | None = None
        for scale in _COARSE_SCALES:
            query, support = pairs.features(scale)
            embedded = self.gps[str(scale)](query, support, pairs.posteriors(scale))
            estimate, context = self.embedding_decoder(embedded, query, context, scale)
            if str(scale) in self.conv_refiner:
                yield from refined(self.conv_refiner, pairs, estimate, [scale])
            else:
                yield estimate


class _EmbeddingDecoder(nn.Module):
    """From embedded positions to positions, coarse to fine (a Discriminative Feature Network, Yu et al., CVPR 2018)."""

    def __init__(self, sizes: DkmSizes) -> None:
        super().__init__()
        width, scales = sizes.context, [str(scale) for scale in _COARSE_SCALES]
        joined = sizes.positions + sizes.features
        self.feat_input_modules = nn.ModuleDict(
            {scale: nn.Conv2d(sizes.projected, sizes.features, 1) for scale in scales}
        )
        self.rrb_d = nn.ModuleDict({scale: _ResidualBlock(joined, width) for scale in scales})
        self.cab = nn.ModuleDict({scale: _ChannelAttention(width) for scale in scales})
        self.rrb_u = nn.ModuleDict({scale: _ResidualBlock(width, width) for scale in scales})
        self.terminal_module = nn.ModuleDict({scale: nn.Conv2d(width, 3, 1) for scale in scales})

    def forward(
        self, embedded: torch.Tensor, features: torch.Tensor, context: torch.Tensor | None, scale: int
    ) -> tuple[WarpEstimate, torch.Tensor]:
        """The estimate of one scale and the context for the next.

        Args:
            embedded: [B, 256, h, w] positions out of the Gaussian process.
            features: [B, 512, h, w] of the images the warps start from.
            context: [B, 384, ...] of the coarser scale; None at the first.
            scale: stride, pixels.
        """
        name, size = str(scale), features.shape[-2:]
        joined = self.rrb_d[name](torch.cat([self.feat_input_modules[name](features), embedded], dim=1))
        if context is None:
            context = torch.zeros_like(joined)
        context = functional.interpolate(context, size=size, mode="bilinear", align_corners=False)
        context = self.rrb_u[name](self.cab[name](context, joined))
        found = self.terminal_module[name](context).float()
        return WarpEstimate(scale, found[:, 1:], found[:, :1]), context


class _ChannelAttention(nn.Module):
    """Adds the finer scale to the coarser, each of its channels weighted by what both say on the whole."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2 * channels, channels, 1)
        self.conv2 = nn.Conv2d(channels, channels, 1)

    def forward(self, coarse: torch.Tensor, fine: torch.Tensor) -> torch.Tensor:
        pooled = torch.cat([coarse, fine], dim=1).mean(dim=(2, 3), keepdim=True)
        weights: torch.Tensor = self.conv2(self.conv1(pooled).relu()).sigmoid()
        return weights * fine + coarse


class _ResidualBlock(nn.Module):
    """A change of width, and two convolutions beside it."""

    def __init__(self, channels: int, new_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, new_channels, 1)
        self.conv2 = nn.Conv2d(new_channels, new_channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(new_channels)
        self.conv3 = nn.Conv2d(new_channels, new_channels, 3, padding=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        maps = self.conv1(maps)
        change: torch.Tensor = self.conv3(self.bn(self.conv2(maps)).relu())
        return (maps + change).relu()
