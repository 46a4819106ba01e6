"""Feature maps of images at several scales, and those of pairs of images in both directions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch


@dataclass(frozen=True, slots=True)
class Pyramid:
    """What a network computes of one image alone, or of a batch of them, at one image size."""

    size: Sequence[int]  # (height, width) of the image the network saw
    features: Mapping[int, torch.Tensor]  # stride in pixels -> [C, h, w], or [B, C, h, w] for a batch
    posteriors: Mapping[int, torch.Tensor]  # stride -> [n, D]: see GaussianProcess.solve; for the coarsest strides

    def items(self) -> list[Self]:
        """The pyramids of a batch's images, each in memory of its own, so that dropping one frees it."""
        count = len(next(iter(self.features.values())))

        def part(maps: Mapping[int, torch.Tensor], index: int) -> dict[int, torch.Tensor]:
            return {scale: item[index].clone() for scale, item in maps.items()}

        return [type(self)(self.size, part(self.features, i), part(self.posteriors, i)) for i in range(count)]


@dataclass(frozen=True, slots=True)
class PairPyramid:
    """The maps of P pairs of images of one size, both directions as one batch of 2 P: first all 0 -> 1, then 1 -> 0.

    Maps are joined scale by scale, when they are asked for, so that only one scale is held twice.
    """

    pyramids0: Sequence[Pyramid]
    pyramids1: Sequence[Pyramid]

    @property
    def size(self) -> Sequence[int]:
        """(height, width) of the images the network saw."""
        return self.pyramids0[0].size

    def features(self, scale: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps of the images the warps start from and of those they lead to, each [2 P, C, h, w]."""
        maps0, maps1 = self._stacked(lambda pyramid: pyramid.features[scale])
        return torch.cat([maps0, maps1]), torch.cat([maps1, maps0])

    def posteriors(self, scale: int) -> torch.Tensor:
        """Solved Gaussian processes of the images the warps lead to, [2 P, n, D]."""
        solved0, solved1 = self._stacked(lambda pyramid: pyramid.posteriors[scale])
        return torch.cat([solved1, solved0])

    def _stacked(self, maps: Callable[[Pyramid], torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return (
            torch.stack([maps(pyramid) for pyramid in self.pyramids0]),
            torch.stack([maps(pyramid) for pyramid in self.pyramids1]),
        )
