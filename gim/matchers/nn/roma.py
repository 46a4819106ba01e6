"""RoMa (Edstedt et al., CVPR 2024) as GIM trained it: global matching on DINOv2, refinement on a VGG19.

Module names are those of the published weights; those of DINOv2 come in a file of their own.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from kornia.feature.dedode.transformer.dinov2 import DinoVisionTransformer
from kornia.feature.dedode.transformer.layers.block import Block
from torch import nn
from torch.nn import functional
from torchvision.models.vgg import make_layers

from gim.matchers.nn.fusion import fuse_normalisation
from gim.matchers.nn.gaussian_process import GaussianProcess
from gim.matchers.nn.pyramid import Pyramid
from gim.matchers.nn.refiner import ConvRefiner, PairMaps, WarpEstimate, refined, texture_grid

PATCH_PX = 14  # of DINOv2: sides of the first pass are multiples of it
COARSE_SCALE = 16  # what the weights call DINOv2's grid, whose stride is 14
FINE_SCALES = (8, 4, 2, 1)
DISPLACEMENT_GAIN = 40 / 32  # of the first pass; grows with the image's side


@dataclass(frozen=True, slots=True)
class RomaSizes:
    """How large the layers are. Published weights have the defaults; smaller ones are for trials."""

    vgg: tuple[int, int, int, int] = (64, 128, 256, 512)  # channels at strides 1, 2, 4, 8
    dinov2: int = 1024
    tokens: int = 512  # of the image, and as many of the Gaussian process
    anchors_per_side: int = 64  # the other image is cut into 64 x 64 places, which are told apart as classes
    blocks: int = 5  # of the transformer
    heads: int = 8
    projected: tuple[int, int, int, int] = (512, 256, 64, 9)  # at strides 8, 4, 2, 1
    displacements: tuple[int, int, int, int, int] = (128, 64, 32, 16, 6)  # embedded, at strides 16, 8, 4, 2, 1
    refiner_blocks: int = 8


_PUBLISHED = RomaSizes()


class RoMa(nn.Module):
    """The network: what it computes of an image alone, and the warps of pairs of such images in two passes."""

    def __init__(self, matcher: "RomaMatcher | None" = None, dinov2: Any = None) -> None:
        super().__init__()
        self.matcher = RomaMatcher() if matcher is None else matcher
        self.dinov2: Any = dinov2_vitl14() if dinov2 is None else dinov2  # kornia gives it no types

    def fuse(self) -> None:
        """Join layers once the weights are loaded: see gim.matchers.nn.fusion."""
        fuse_normalisation(self.matcher)
        for refiner in self.matcher.decoder.conv_refiner.values():
            cast("ConvRefiner", refiner).fuse()

    def wrap(self, wrapped: Callable[[nn.Module], nn.Module]) -> None:
        """Put something around the parts that do most of the work, such as torch.compile."""
        blocks = [self.dinov2.blocks, self.matcher.decoder.embedding_decoder.blocks]
        for part in cast("list[nn.ModuleList]", blocks):
            for index, block in enumerate(part):
                part[index] = wrapped(block)
        for refiner in self.matcher.decoder.conv_refiner.values():
            cast("ConvRefiner", refiner).wrap(wrapped)

    def coarse_pyramid(self, images: torch.Tensor) -> Pyramid:
        """Maps for the first pass, of images [B, 3, H, W], RGB in [0, 1], sides multiples of 14."""
        pyramid = self.fine_pyramid(images)
        coarse = self.matcher.decoder.project(self.patches(images), COARSE_SCALE)
        solved = self.matcher.decoder.solve(coarse)
        return Pyramid(pyramid.size, {COARSE_SCALE: coarse, **pyramid.features}, {COARSE_SCALE: solved})

    def fine_pyramid(self, images: torch.Tensor) -> Pyramid:
        """Maps for the second pass, of the same images at its size."""
        maps = self.matcher.encoder.cnn(images)
        features = {scale: self.matcher.decoder.project(item, scale) for scale, item in maps}
        return Pyramid(images.shape[-2:], features, {})

    def patches(self, images: torch.Tensor) -> torch.Tensor:
        """DINOv2's features of the images' patches, [B, 1024, H / 14, W / 14]."""
        tokens: torch.Tensor = self.dinov2.forward_features(images)["x_norm_patchtokens"]
        height, width = (side // PATCH_PX for side in images.shape[-2:])
        return tokens.mT.reshape(len(images), -1, height, width)

    def first_pass(self, pairs: PairMaps) -> Iterator[WarpEstimate]:
        """Estimates at strides 16, 8, 4, 2 and 1, each better than the one before."""
        decoder = self.matcher.decoder
        logits, certainty = decoder.classify(pairs)
        start = WarpEstimate(COARSE_SCALE, position_of_class(logits), certainty)
        return refined(decoder.conv_refiner, pairs, start, (COARSE_SCALE, *FINE_SCALES), DISPLACEMENT_GAIN)

    def second_pass(self, pairs: PairMaps, start: WarpEstimate) -> Iterator[WarpEstimate]:
        """Estimates at strides 8, 4, 2 and 1, from the last one of the first pass."""
        zoom = math.sqrt(math.prod(pairs.size) / math.prod(start.flow.shape[-2:]))
        return refined(self.matcher.decoder.conv_refiner, pairs, start, FINE_SCALES, DISPLACEMENT_GAIN * zoom)


class RomaMatcher(nn.Module):
    """All of RoMa but DINOv2: what its published files hold."""

    def __init__(self, sizes: RomaSizes = _PUBLISHED) -> None:
        super().__init__()
        self.encoder = _Encoder(sizes)
        self.decoder = _Decoder(sizes)


class _Encoder(nn.Module):
    """The convolutional part of the encoder."""

    def __init__(self, sizes: RomaSizes) -> None:
        super().__init__()
        self.cnn = _VGG19(sizes)


class _VGG19(nn.Module):
    """A VGG19 with batch normalisation (Simonyan and Zisserman, ICLR 2015), up to its fourth pooling."""

    def __init__(self, sizes: RomaSizes) -> None:
        super().__init__()
        plan: list[str | int] = []
        for channels, depth in zip(sizes.vgg, (2, 2, 4, 4), strict=True):
            plan += [*([channels] * depth), "M"]
        self.layers = nn.ModuleList(make_layers(plan, batch_norm=True))

    def forward(self, images: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """Maps at strides 1, 2, 4 and 8, of 64, 128, 256 and 512 channels, in turn: the first are large."""
        scale, maps = 1, images
        for layer in self.layers:
            if isinstance(layer, nn.MaxPool2d):
                yield scale, maps
                scale *= 2
            if scale > max(FINE_SCALES):
                return
            maps = layer(maps)


class _Decoder(nn.Module):
    """Everything that sees two images, and what prepares each for it."""

    def __init__(self, sizes: RomaSizes) -> None:
        super().__init__()
        scales = [str(scale) for scale in (COARSE_SCALE, *FINE_SCALES)]
        found, projected = (sizes.dinov2, *sizes.vgg[::-1]), (sizes.tokens, *sizes.projected)
        self.embedding_decoder = _TransformerDecoder(sizes)
        self.gps = nn.ModuleDict({scales[0]: GaussianProcess(sizes.tokens)})
        self.proj = nn.ModuleDict(
            {scale: _projection(*channels) for scale, *channels in zip(scales, found, projected, strict=True)}
        )
        self.conv_refiner = nn.ModuleDict(
            {
                scale: ConvRefiner(channels, embedded, radius=radius, num_blocks=sizes.refiner_blocks)
                for scale, channels, embedded, radius in zip(
                    scales, projected, sizes.displacements, (7, 3, 2, 0, 0), strict=True
                )
            }
        )

    def project(self, maps: torch.Tensor, scale: int) -> torch.Tensor:
        """The encoder's maps at one scale as the decoder wants them."""
        return cast("torch.Tensor", self.proj[str(scale)](maps))

    def solve(self, features: torch.Tensor) -> torch.Tensor:
        """What the Gaussian process needs of the images the warps lead to."""
        return cast("GaussianProcess", self.gps[str(COARSE_SCALE)]).solve(features)

    def classify(self, pairs: PairMaps) -> tuple[torch.Tensor, torch.Tensor]:
        """Where in the other image each cell finds its match: logits [2 P, 4096, h, w], certainty [2 P, 1, h, w]."""
        query, support = pairs.features(COARSE_SCALE)
        embedded = self.gps[str(COARSE_SCALE)](query, support, pairs.posteriors(COARSE_SCALE))
        return cast("tuple[torch.Tensor, torch.Tensor]", self.embedding_decoder(embedded, query))


class _TransformerDecoder(nn.Module):
    """From embedded positions and features to a probability over places (RoMa, Sec. 3.2), without position encoding."""

    def __init__(self, sizes: RomaSizes) -> None:
        super().__init__()
        width = 2 * sizes.tokens
        blocks = (Block(width, sizes.heads, attn_class=_Attention) for _ in range(sizes.blocks))
        self.blocks = nn.Sequential(*blocks)
        self.to_out = nn.Linear(width, sizes.anchors_per_side**2 + 1)

    def forward(self, embedded: torch.Tensor, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = self.blocks(torch.cat([embedded, features], dim=1).flatten(2).mT)
        with torch.autocast(tokens.device.type, enabled=False):
            out = self.to_out(tokens.float()).mT.reshape(len(tokens), -1, *features.shape[-2:])
        return out[:, :-1], out[:, -1:]


class _Attention(nn.Module):
    """Self-attention in the fused form that needs no matrix of all pairs; a drop-in for kornia's."""

    def __init__(self, channels: int, num_heads: int, *, qkv_bias: bool = False, **_unused: Any) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        batch, length, channels = tokens.shape
        parts = self.qkv(tokens).reshape(batch, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        heads = functional.scaled_dot_product_attention(*parts)
        return cast("torch.Tensor", self.proj(heads.transpose(1, 2).reshape(batch, length, channels)))


def position_of_class(logits: torch.Tensor) -> torch.Tensor:
    """Positions from class logits: the mean of the likeliest anchor and its four neighbours (RoMa, Sec. 3.2).

    Neighbours are counted row by row, so that beyond a row's end stands the next row's first, and at the grid's ends
    an anchor counts twice: as in training.

    Args:
        logits: float32 [B, 4096, h, w], or any other square's worth of anchors.

    Returns:
        float32 [B, 2, h, w], (x, y) in [-1, 1].
    """
    side = math.isqrt(logits.shape[1])
    anchors = texture_grid((side, side), logits.device).flatten(1)
    steps = torch.tensor([-1, 0, 1, -side, side], device=logits.device).view(1, -1, 1, 1)
    indices = (logits.argmax(dim=1, keepdim=True) + steps).clamp(0, side**2 - 1)
    # Of the five alone: the others' probabilities would cancel.
    weights = logits.gather(1, indices).softmax(dim=1)
    return (anchors[:, indices] * weights).sum(dim=2).transpose(0, 1)


def _projection(channels: int, new_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, new_channels, 1), nn.BatchNorm2d(new_channels))


def dinov2_vitl14() -> Any:
    """DINOv2 ViT-L/14 (Oquab et al., 2023) by kornia's class, with attention in the fused form."""
    architecture: Any = DinoVisionTransformer
    return architecture(
        img_size=518,
        patch_size=PATCH_PX,
        embed_dim=_PUBLISHED.dinov2,
        depth=24,
        num_heads=16,
        init_values=1.0,
        ffn_layer="mlp",
        block_chunks=0,
        block_fn=partial(Block, attn_class=_Attention),
    )
