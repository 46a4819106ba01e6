"""torchvision's segmentation networks without their last step, the enlargement of the whole batch to full size."""

import torch
from torch import nn
from torchvision.models.segmentation import deeplabv3_resnet50, lraspp_mobilenet_v3_large


class DeepLabV3(nn.Module):
    """Normalised RGB [B, 3, H, W] -> logits [B, C, H / 8, W / 8] (Chen et al., arXiv 1706.05587)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        whole = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=num_classes)
        self.backbone, self.classifier = whole.backbone, whole.classifier

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.backbone(images)["out"])
        return logits


class LiteRaspp(nn.Module):
    """Normalised RGB [B, 3, H, W] -> logits [B, C, H / 8, W / 8] (Howard et al., ICCV 2019, Sec. 6.4)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        whole = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=num_classes)
        self.backbone, self.classifier = whole.backbone, whole.classifier

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.backbone(images))
        return logits
