"""Samples whose features are found in the step that trains on them: for runs that keep none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gim.training.batches import FeatureBatch
from gim.training.collate import image_batch
from gim.training.features.extractor import FrozenExtractor
from gim.training.models.base import Trainable
from gim.training.samples import Sample


@dataclass(frozen=True, slots=True)
class PendingFeatures:
    """A batch that becomes features when it is brought to the device, as the stepper brings every batch."""

    samples: Sequence[Sample]
    extractor: FrozenExtractor
    model: Trainable

    def to(self, device: torch.device | str) -> FeatureBatch:
        """Find the features; raises as `FrozenExtractor.features`."""
        batch: FeatureBatch = self.model.collate(self.extractor.features(self.samples))
        return batch.to(device)

    def tensors(self) -> dict[str, Any]:
        """The images and their truth, as torch.save takes them."""
        return image_batch(self.samples).tensors()
