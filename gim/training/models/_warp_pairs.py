"""The coarse-to-fine pass of a batch in training: its maps paired up by direction, and one scale after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from gim.matchers.nn.pyramid import Pyramid
from gim.matchers.nn.refiner import PairMaps, WarpEstimate, refined

# forward: warps 0 -> 1 alone, as DKM's and RoMa's authors and GIM train. both: 1 -> 0 too, out of the same maps.
Directions = Literal["both", "forward"]


@dataclass(frozen=True, slots=True)
class BatchMaps:
    """The maps of P pairs whose 2 P images went through the encoder as one batch: first all images 0, then all 1.

    With both directions there are 2 P warps, first all 0 -> 1, then all 1 -> 0; else P.
    """

    pyramid: Pyramid
    directions: Directions

    @property
    def size(self) -> Sequence[int]:
        """(height, width) of the images."""
        return self.pyramid.size

    def features(self, scale: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps of the images the warps start from and of those they lead to."""
        maps = self.pyramid.features[scale]
        return (maps if self.directions == "both" else maps.chunk(2)[0]), self._targets(maps)

    def posteriors(self, scale: int) -> torch.Tensor:
        """Solved Gaussian processes of the images the warps lead to."""
        return self._targets(self.pyramid.posteriors[scale])

    def _targets(self, maps: torch.Tensor) -> torch.Tensor:
        maps0, maps1 = maps.chunk(2)
        return torch.cat([maps1, maps0]) if self.directions == "both" else maps1


def refined_alone(
    refiners: nn.ModuleDict, pairs: PairMaps, start: WarpEstimate, scales: Sequence[int], gain: float = 1.0
) -> Iterator[WarpEstimate]:
    """`gim.matchers.nn.refiner.refined`, each scale learning from its own loss alone.

    A scale's flow and certainty are detached before the next refines them, as in the authors' decoders.
    """
    estimate = start
    for scale in scales:
        estimate = WarpEstimate(estimate.scale, estimate.flow.detach(), estimate.certainty.detach())
        (estimate,) = refined(refiners, pairs, estimate, [scale], gain)
        yield estimate
