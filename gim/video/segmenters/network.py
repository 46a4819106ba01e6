"""Base of segmenters that are torch networks: device, batches, and class probabilities. Imports no torch by itself."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from threading import RLock
from typing import Any, ClassVar

import numpy as np

from gim.inference.config import InferenceConfig
from gim.inference.imagenet import normalised_by_imagenet
from gim.records import Float32Array, Uint8Array
from gim.video.config import SegmenterConfig
from gim.video.segmenter import Segmenter
from gim.weights.config import WeightsConfig


class NetworkSegmenter(Segmenter):
    """A segmenter that is a network from normalised RGB to one logit per class, at any resolution.

    Calls from many threads wait for each other: there is one device.
    """

    requires: ClassVar[tuple[str, ...]] = ("torch", "torchvision")

    def __init__(self, config: SegmenterConfig, inference: InferenceConfig, weights: WeightsConfig) -> None:
        super().__init__(config, inference, weights)
        self._lock = RLock()

    @abstractmethod
    def _build(self) -> Any:
        """The network with its weights, in evaluation mode, on the CPU: [B, 3, H, W] -> logits [B, C, h, w]."""

    def probabilities(self, images: Sequence[Uint8Array]) -> list[Any]:
        """Class probabilities of RGB images of one size, at that size: float32 torch tensors [C, H, W] each."""
        from gim.inference.device import running  # noqa: PLC0415 - torch on use

        with self._lock, running(self.inference, self._device):
            return list(map(self._soft_max, self._logits(images), images))

    def _classify(self, images: Sequence[Uint8Array]) -> list[tuple[Uint8Array, Float32Array]]:
        from gim.inference.device import running  # noqa: PLC0415 - torch on use

        with self._lock, running(self.inference, self._device):
            found: list[tuple[Uint8Array, Float32Array]] = self._batches.apply(
                self._classify_batch, images, kind=images[0].shape
            )
        return found

    def _classify_batch(self, images: Sequence[Uint8Array]) -> list[tuple[Uint8Array, Float32Array]]:
        found = []
        # One at a time: 150 classes of one frame at full size are 175 MB.
        for logits, image in zip(self._logits(images), images, strict=True):
            confidence, labels = self._soft_max(logits, image).max(dim=0)
            found.append((labels.cpu().numpy().astype(np.uint8), confidence.cpu().numpy()))
        return found

    def _logits(self, images: Sequence[Uint8Array]) -> Any:
        import torch  # noqa: PLC0415 - torch on use

        batch = torch.from_numpy(np.stack(images)).to(self._device).permute(0, 3, 1, 2).float() / 255
        return self._network(normalised_by_imagenet(batch))

    @staticmethod
    def _soft_max(logits: Any, image: Uint8Array) -> Any:
        from torch.nn.functional import interpolate  # noqa: PLC0415 - torch on use

        size = image.shape[:2]
        return interpolate(logits[None].float(), size, mode="bilinear", align_corners=False)[0].softmax(dim=0)

    @cached_property
    def _device(self) -> Any:
        from gim.inference.device import prepared_device  # noqa: PLC0415 - torch on use

        return prepared_device(self.inference)

    @cached_property
    def _batches(self) -> Any:
        from gim.inference.device import Batches  # noqa: PLC0415 - torch on use

        return Batches(self.inference)

    @cached_property
    def _network(self) -> Any:
        from gim.inference.device import compiled  # noqa: PLC0415 - torch on use

        return compiled(self._build().to(self._device), self.inference)
