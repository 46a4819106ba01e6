"""Samples of images as one batch of tensors."""

from collections.abc import Sequence

import numpy as np
import torch

from gim.errors import ShapeError
from gim.training.batches import ImageBatch
from gim.training.samples import Sample
from gim.training.truth import Views, truth_batch


def image_batch(samples: Sequence[Sample]) -> ImageBatch:
    """Samples of one part, whose images all have one size, as tensors on the CPU.

    Raises:
        ShapeError: sizes differ.
    """
    shapes = {image.shape for sample in samples for image in (sample.image0, sample.image1)}
    if len(shapes) != 1:
        raise ShapeError(f"a batch of images of {', '.join(map(str, sorted(shapes)))}: one size each")
    height, width, _ = shapes.pop()
    valid0, valid1 = (
        torch.from_numpy(np.stack([getattr(sample, name) for sample in samples])) for name in ("valid0", "valid1")
    )
    sizes = [(width, height)] * len(samples)
    return ImageBatch(
        part=samples[0].part,
        names=tuple(sample.name for sample in samples),
        images0=_images([sample.image0 for sample in samples]),
        images1=_images([sample.image1 for sample in samples]),
        valid0=valid0,
        valid1=valid1,
        truth=truth_batch([sample.truth for sample in samples], Views(sizes, valid0), Views(sizes, valid1)),
    )


def _images(images: Sequence[np.ndarray]) -> torch.Tensor:
    """float32 [B, 3, H, W] in [0, 1]."""
    stacked = torch.from_numpy(np.stack(images))
    return stacked.permute(0, 3, 1, 2).float().div_(255)
