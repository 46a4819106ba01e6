"""The scene parser of the ADE20K benchmark: a dilated ResNet50 and a pyramid pooling head. Loads no weights."""

import torch
from torch import nn
from torch.nn.functional import interpolate, relu
from torchvision.models.resnet import Bottleneck

_NUM_CLASSES = 150
_POOLED_SIDES = (1, 2, 3, 6)


class DilatedResNet50(nn.Module):
    """ResNet50 with a stem of three 3x3 convolutions, its last two layers dilated by 2 and 4 instead of strided.

    Dilated residual networks (Yu et al., CVPR 2017): the maps stay at 1/8 of the image.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.conv3 = nn.Conv2d(64, 128, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(128)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _layer(128, 64, num_blocks=3)
        self.layer2 = _layer(256, 128, num_blocks=4, stride=2)
        self.layer3 = _layer(512, 256, num_blocks=6, dilation=2)
        self.layer4 = _layer(1024, 512, num_blocks=3, dilation=4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised RGB [B, 3, H, W] -> maps [B, 2048, H / 8, W / 8]."""
        x = relu(self.bn1(self.conv1(images)))
        x = relu(self.bn2(self.conv2(x)))
        x = self.pool(relu(self.bn3(self.conv3(x))))
        maps: torch.Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return maps


class PyramidPooling(nn.Module):
    """The maps beside their means over 1, 4, 9 and 36 parts of the image (PSPNet, Zhao et al., CVPR 2017), classified.

    The auxiliary branch that helped to train it (`deepsup`) is left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ppm = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(side), nn.Conv2d(2048, 512, 1, bias=False), nn.BatchNorm2d(512), nn.ReLU()
            )
            for side in _POOLED_SIDES
        )
        self.conv_last = nn.Sequential(
            nn.Conv2d(2048 + 512 * len(_POOLED_SIDES), 512, 3, padding=1, bias=False),
            nn.BatchNorm2d(512),
            nn.ReLU(),
            nn.Dropout2d(0.1),
            nn.Conv2d(512, _NUM_CLASSES, 1),
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps [B, 2048, h, w] -> logits [B, 150, h, w]."""
        size = maps.shape[2:]
        pooled = [interpolate(pool(maps), size, mode="bilinear", align_corners=False) for pool in self.ppm]
        logits: torch.Tensor = self.conv_last(torch.cat([maps, *pooled], dim=1))
        return logits


class SceneParser(nn.Module):
    """Normalised RGB [B, 3, H, W] -> logits [B, 150, H / 8, W / 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = DilatedResNet50()
        self.decoder = PyramidPooling()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.decoder(self.encoder(images))
        return logits


def _layer(channels: int, planes: int, *, num_blocks: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Residual blocks; the first, which would have halved the maps, is dilated half as much as the others."""
    wide = planes * Bottleneck.expansion
    shortcut = nn.Sequential(nn.Conv2d(channels, wide, 1, stride=stride, bias=False), nn.BatchNorm2d(wide))
    first = Bottleneck(channels, planes, stride, shortcut, dilation=max(dilation // 2, 1))
    return nn.Sequential(first, *(Bottleneck(wide, planes, dilation=dilation) for _ in range(num_blocks - 1)))
