"""From two encoded images to their warps in both directions: the two passes, the certainty, and where it must be 0."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from gim.matchers.nn.pyramid import PairPyramid, Pyramid
from gim.matchers.nn.refiner import WarpEstimate
from gim.matchers.nn.warp_sampling import BothWays

_COARSE_SCALE = 16  # where matching is global: what it says of certainty is partly taken back
_COARSE_DOUBT = 0.5


class TwoPassNetwork(Protocol):
    """A network that warps at two resolutions."""

    def first_pass(self, pairs: PairPyramid) -> Iterator[WarpEstimate]:
        """Estimates from coarse to fine, at the size of the first pass; one of them at stride 16."""

    def second_pass(self, pairs: PairPyramid, start: WarpEstimate) -> Iterator[WarpEstimate]:
        """Estimates from coarse to fine, at the size of the second pass."""


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """What is known of one image alone."""

    coarse: Pyramid
    fine: Pyramid | None  # at the size of the second pass; None without one
    is_closed: torch.Tensor  # bool [H, W]: cells of the warp's grid that are black or masked
    is_open_pixel: torch.Tensor | None  # bool [h, w] over the image as given; None = all of it


def warp_both_ways(
    network: TwoPassNetwork, images0: Sequence[EncodedImage], images1: Sequence[EncodedImage]
) -> list[BothWays]:
    """The warps of pairs of images, at the size of the last pass, with certainty 0 wherever a match is forbidden."""
    pairs = PairPyramid([image.coarse for image in images0], [image.coarse for image in images1])
    estimates = {estimate.scale: estimate for estimate in network.first_pass(pairs)}
    coarse, estimate = estimates[_COARSE_SCALE], estimates[min(estimates)]
    fine0, fine1 = ([image.fine for image in images if image.fine] for images in (images0, images1))
    if fine0:
        *_, estimate = network.second_pass(PairPyramid(fine0, fine1), estimate)
    # The certainty is a sum over all scales. Half of what speaks against a match at the coarse one is taken out again:
    # thin and small things are lost there.
    doubt = coarse.resized(estimate.scale, estimate.flow.shape[-2:]).certainty.clamp(max=0)
    certainty = (estimate.certainty - _COARSE_DOUBT * doubt).sigmoid()[:, 0]
    flows, certainties = (maps.chunk(2) for maps in (estimate.flow, certainty))
    return [
        BothWays(
            flow01.clamp(-1, 1),
            flow10.clamp(-1, 1),
            _allowed(certainty01, flow01, *both),
            _allowed(certainty10, flow10, *both[::-1]),
        )
        for flow01, flow10, certainty01, certainty10, both in zip(
            *flows, *certainties, zip(images0, images1, strict=True), strict=True
        )
    ]


def _allowed(certainty: torch.Tensor, flow: torch.Tensor, start: EncodedImage, end: EncodedImage) -> torch.Tensor:
    """Certainty [H, W], 0 where the warp starts on a closed cell, leaves the other image, or ends on a masked pixel."""
    forbidden = start.is_closed | (flow.abs() > 1).any(dim=0)
    if end.is_open_pixel is not None:
        height, width = end.is_open_pixel.shape
        column, row = (
            ((along + 1) / 2 * side).long().clamp(0, side - 1)
            for along, side in zip(flow, (width, height), strict=True)
        )
        forbidden |= ~end.is_open_pixel[row, column]
    return certainty.masked_fill(forbidden, 0)
