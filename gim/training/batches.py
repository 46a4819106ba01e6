"""Samples as tensors: what networks and losses see. One batch has one kind of truth and images of one size."""

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import torch


class Moved(NamedTuple):
    """Where positions of one image lie in the other."""

    positions: torch.Tensor  # float32 [B, N, 2] pixels; any number where not known
    is_known: torch.Tensor  # bool [B, N], the truth says where the position goes, perhaps out of the other image
    is_visible: torch.Tensor  # bool [B, N], known, on a valid pixel of the other image, and not hidden there


class Tensors:
    """A frozen dataclass of tensors (and of such dataclasses) that moves between devices as one."""

    def to(self, device: torch.device | str) -> Self:
        """The same on a device; waits for nothing where the memory is pinned."""
        moved: dict[str, Any] = {}
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if isinstance(value, torch.Tensor):
                moved[item.name] = value.to(device, non_blocking=True)
            elif isinstance(value, Tensors):
                moved[item.name] = value.to(device)
        return replace(self, **moved)  # type: ignore[type-var]

    def tensors(self) -> dict[str, Any]:
        """The tensors by name, those of parts under the part's name: as torch.save takes them."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]
        return {
            name: value.tensors() if isinstance(value, Tensors) else value
            for name, value in values.items()
            if isinstance(value, (torch.Tensor, Tensors))
        }


class DenseTruth(Protocol):
    """Truth that says where any pixel goes: of homographies, and of posed images with depth."""

    def to_image1(self, positions: torch.Tensor) -> Moved:
        """Where positions [B, N, 2] of image 0 lie in image 1."""

    def to_image0(self, positions: torch.Tensor) -> Moved:
        """Where positions [B, N, 2] of image 1 lie in image 0."""


@dataclass(frozen=True, slots=True)
class LabelsBatch(Tensors):
    """Correspondences at some pixels, padded to the most that one pair has."""

    points: torch.Tensor  # float32 [B, N, 4]
    is_label: torch.Tensor  # bool [B, N], False where a row is padding


@dataclass(frozen=True, slots=True)
class ImageBatch(Tensors):
    """What matchers that see images are trained on."""

    part: str
    names: tuple[str, ...]
    images0: torch.Tensor  # float32 [B, 3, H, W], RGB in [0, 1]
    images1: torch.Tensor
    valid0: torch.Tensor  # bool [B, H, W]
    valid1: torch.Tensor
    truth: Any  # LabelsBatch, or a DenseTruth that is Tensors


@dataclass(frozen=True, slots=True)
class FeatureBatch(Tensors):
    """What matchers that see features are trained on, padded to the most keypoints that one image has."""

    part: str
    names: tuple[str, ...]
    keypoints0: torch.Tensor  # float32 [B, M, 2] pixels
    keypoints1: torch.Tensor
    descriptors0: torch.Tensor  # float32 [B, M, D]
    descriptors1: torch.Tensor
    scores0: torch.Tensor  # float32 [B, M] of the detector; 0 where it gives none
    scores1: torch.Tensor
    is_real0: torch.Tensor  # bool [B, M], False where a row is padding
    is_real1: torch.Tensor
    sizes0: torch.Tensor  # float32 [B, 2] (width, height) of the images
    sizes1: torch.Tensor
    num_labels: torch.Tensor  # int64 [B]: keypoint i of either image is label i, for i < this
    truth: Any


Batch = TypeVar("Batch", ImageBatch, FeatureBatch)
