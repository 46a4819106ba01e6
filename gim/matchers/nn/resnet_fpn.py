"""GIM's backbone for LoFTR: a ResNet50 on RGB, up to stride 8, under the feature pyramid of LoFTR.

Module names are those of the published weights (`encode.*`, `layer3_outconv`, ...).
"""

import torch
from torch import nn
from torch.nn import functional
from torchvision.models.resnet import Bottleneck

_PYRAMID_WIDTHS = (128, 196, 256)  # channels at 1/2, 1/4 and 1/8


class ResNet50FPN(nn.Module):
    """Feature maps at 1/8 (256 channels) and 1/2 (128) of an RGB image in [0, 1] whose sides are multiples of 8.

    Top-down pathway of LoFTR (Sun et al., CVPR 2021, Sec. 3.1 and supplement) on a ResNet50 (He et al., CVPR 2016)
    without its max-pooling and its last stage, so that the three stages stand at 1/2, 1/4 and 1/8.
    """

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = _PYRAMID_WIDTHS
        self.encode = _ResNet50()
        self.layer3_outconv = nn.Conv2d(1024, coarse, 1, bias=False)
        self.layer2_outconv = nn.Conv2d(512, coarse, 1, bias=False)
        self.layer2_outconv2 = _smoothing(coarse, middle)
        self.layer1_outconv = nn.Conv2d(256, middle, 1, bias=False)
        self.layer1_outconv2 = _smoothing(middle, fine)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Coarse and fine maps, in the order LoFTR expects.

        Args:
            images: [B, 3, H, W] RGB in [0, 1], not normalised by ImageNet's statistics: GIM trained without.

        Returns:
            [B, 256, H/8, W/8] and [B, 128, H/2, W/2].
        """
        at_half, at_quarter, at_eighth = self.encode(images)
        coarse = self.layer3_outconv(at_eighth)
        middle = self.layer2_outconv2(self.layer2_outconv(at_quarter) + _doubled(coarse))
        fine = self.layer1_outconv2(self.layer1_outconv(at_half) + _doubled(middle))
        return [coarse, fine]


class _ResNet50(nn.Module):
    """ResNet50 without max-pooling, its last stage and its classifier, under torchvision's names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(64, 64, num_blocks=3, stride=1)
        self.layer2 = _stage(256, 128, num_blocks=4, stride=2)
        self.layer3 = _stage(512, 256, num_blocks=6, stride=2)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        at_half = self.layer1(self.relu(self.bn1(self.conv1(images))))
        at_quarter = self.layer2(at_half)
        return at_half, at_quarter, self.layer3(at_quarter)


def _stage(channels: int, width: int, *, num_blocks: int, stride: int) -> nn.Sequential:
    """Bottleneck blocks from `channels` to 4 * `width` channels, the first of which strides."""
    wide = width * Bottleneck.expansion
    shortcut = nn.Sequential(nn.Conv2d(channels, wide, 1, stride=stride, bias=False), nn.BatchNorm2d(wide))
    first = Bottleneck(channels, width, stride, shortcut)
    return nn.Sequential(first, *(Bottleneck(wide, width) for _ in range(num_blocks - 1)))


def _smoothing(channels: int, new_channels: int) -> nn.Sequential:
    """Two 3x3 convolutions that follow a sum of levels."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.LeakyReLU(),
        nn.Conv2d(channels, new_channels, 3, padding=1, bias=False),
    )


def _doubled(maps: torch.Tensor) -> torch.Tensor:
    """Twice the size, corner cells on corner cells: the way the weights were trained."""
    return functional.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=True)
