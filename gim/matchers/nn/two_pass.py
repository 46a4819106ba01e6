"""Dense matchers that warp at a low resolution first, then refine the warp at a high one: what DKM and RoMa share.

Images are squashed to the network's sizes whatever their shape, as the weights were used for labelling and evaluation:
positions go back by a factor for each axis, exactly, and images of all sizes share batches. Nothing is padded.

Imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from gim.errors import ConfigError
from gim.geometry.colour import to_rgb
from gim.geometry.pixels import from_corner_origin, interpolate_image, resize_mask
from gim.inference.imagenet import normalised_by_imagenet
from gim.matchers.base import is_usable
from gim.matchers.network import Encoded, ModelResources, WarpMatcher
from gim.records import Correspondences, DenseWarp, Float32Array, Uint8Array

_BLACK = 8 / 256  # a pixel is black, and nothing is known of it, where all its channels are below
_LEAST_SIDE_PX = 32  # where the coarsest map has one cell


@dataclass(frozen=True, slots=True)
class TwoPassConfig:
    """Which weights, the sizes of the two passes, and what is drawn from the warps."""

    weights: str
    width_px: int
    height_px: int
    fine_width_px: int
    fine_height_px: int
    num_matches: int = 5000  # drawn from both warps together
    certainty_threshold: float = 0.05  # places above it are drawn alike, others by their certainty
    seed: int = 0  # of the drawing, the same for every pair
    # Of the images, as the weights were trained: GIM's with none, the original DKM's and RoMa's by ImageNet's mean and
    # deviation. auto: what the catalogue says of the weights, and none for a file it does not know.
    normalisation: Literal["auto", "none", "imagenet"] = "auto"

    def __post_init__(self) -> None:
        sides = (self.width_px, self.height_px)
        fine = (self.fine_width_px, self.fine_height_px)
        if min(sides) < _LEAST_SIDE_PX or (any(fine) and min(fine) < _LEAST_SIDE_PX):
            raise ConfigError(
                f"width_px and height_px must be at least {_LEAST_SIDE_PX}, fine_width_px and fine_height_px too, or "
                f"both 0 for no second pass; got {sides} and {fine}"
            )
        if self.num_matches < 1 or not 0 <= self.certainty_threshold <= 1:
            raise ConfigError(
                "num_matches must be over 0 and certainty_threshold from 0 to 1; got "
                f"{self.num_matches} and {self.certainty_threshold}"
            )


@dataclass(frozen=True, slots=True)
class _Image:
    """One encoded image."""

    maps: Any  # gim.matchers.nn.dense_warp.EncodedImage
    mask: Uint8Array | None


class TwoPassMatcher(WarpMatcher):
    """Matches by a network that has `coarse_pyramid`, `fine_pyramid`, `first_pass` and `second_pass`."""

    config: TwoPassConfig

    def __init__(self, config: TwoPassConfig, resources: ModelResources) -> None:
        super().__init__(config, resources)
        if config.normalisation == "auto":
            wants_imagenet = "imagenet_input" in self.files["weights"].traits
            config = replace(config, normalisation="imagenet" if wants_imagenet else "none")
        self.config = config

    @property
    def grid_size(self) -> tuple[int, int]:
        """(width, height) of the warps."""
        return (self.config.fine_width_px, self.config.fine_height_px) if self._has_fine_pass else self._coarse_size

    @property
    def _has_fine_pass(self) -> bool:
        return self.config.fine_width_px > 0

    @property
    def _coarse_size(self) -> tuple[int, int]:
        return (self.config.width_px, self.config.height_px)

    def _ready(self, network: Any, device: Any) -> Any:
        """A loaded network as it runs fastest, on the device."""
        import torch  # noqa: PLC0415 - torch on use

        from gim.inference.device import compiled  # noqa: PLC0415 - torch on use

        network.fuse()
        network.to(memory_format=torch.channels_last).to(device)
        network.wrap(lambda part: compiled(part, self.resources.inference))
        return network

    def _encode(self, images: Sequence[tuple[Uint8Array, Uint8Array | None]]) -> list[Encoded]:
        return [encoded for part in self._parts(images) for encoded in self._encode_together(part)]

    def _match(self, pairs: Sequence[tuple[Encoded, Encoded]]) -> list[Correspondences]:
        from gim.matchers.nn.warp_sampling import sample_balanced  # noqa: PLC0415 - torch on use

        found = []
        for part in self._parts(pairs):
            for pair, both in zip(part, self._warp_together(part), strict=True):
                rows, certainty = sample_balanced(
                    both,
                    self.config.num_matches,
                    certainty_threshold=self.config.certainty_threshold,
                    seed=self.config.seed,
                )
                points, usable = _in_pixels(rows.cpu().numpy(), *pair)
                found.append(Correspondences(points[usable], certainty.cpu().numpy()[usable]))
        return found

    def _warp(self, pairs: Sequence[tuple[Encoded, Encoded]]) -> list[tuple[DenseWarp, DenseWarp]]:
        import torch  # noqa: PLC0415 - torch on use

        found = []
        for part in self._parts(pairs):
            for pair, both in zip(part, self._warp_together(part), strict=True):
                cells = torch.arange(2 * both.certainty01.numel(), device=self.device)
                ways = zip(cells.chunk(2), (both.certainty01, both.certainty10), strict=True)
                first, second = (_dense_warp(both.rows(way), certainty, pair) for way, certainty in ways)
                found.append((first, second))
        return found

    def _parts(self, items: Sequence[Any]) -> list[Sequence[Any]]:
        """What is computed together: on a CPU one at a time, where more would cost memory and win no time."""
        return [[item] for item in items] if self.device.type == "cpu" else [items]

    def _encode_together(self, images: Sequence[tuple[Uint8Array, Uint8Array | None]]) -> list[Encoded]:
        import torch  # noqa: PLC0415 - torch on use

        from gim.matchers.nn.dense_warp import EncodedImage  # noqa: PLC0415 - torch on use

        colour = [_masked_colour(image, mask) for image, mask in images]
        coarse = self.network.coarse_pyramid(self._input(colour, self._coarse_size)).items()
        fine: list[Any] = [None] * len(images)
        if self._has_fine_pass:
            fine = self.network.fine_pyramid(self._input(colour, self.grid_size)).items()
        encoded = []
        for (image, mask), first, second in zip(images, coarse, fine, strict=True):
            closed = torch.from_numpy(_closed_cells(image, mask, self.grid_size)).to(self.device)
            pixels = None if mask is None else torch.from_numpy(mask > 0).to(self.device)
            maps = _Image(EncodedImage(first, second, closed, pixels), mask)
            encoded.append(Encoded((image.shape[1], image.shape[0]), self.grid_size, maps))
        return encoded

    def _input(self, images: Sequence[Uint8Array], size: tuple[int, int]) -> Any:
        """Images as the network sees them: float32 [B, 3, H, W] on the device."""
        import torch  # noqa: PLC0415 - torch on use

        resized = np.stack([interpolate_image(image, size)[0] for image in images])
        batch = torch.from_numpy(resized).to(self.device).permute(0, 3, 1, 2)
        return normalised_by_imagenet(batch) if self.config.normalisation == "imagenet" else batch

    def _warp_together(self, pairs: Sequence[tuple[Encoded, Encoded]]) -> list[Any]:
        """Both warps of each pair, with certainty 0 wherever a match is forbidden."""
        from gim.matchers.nn.dense_warp import warp_both_ways  # noqa: PLC0415 - torch on use

        images0, images1 = ([pair[side].maps.maps for pair in pairs] for side in (0, 1))
        return warp_both_ways(self.network, images0, images1)


def _masked_colour(image: Uint8Array, mask: Uint8Array | None) -> Uint8Array:
    """RGB, black where masked: so GIM hides what moves from its networks when it labels."""
    colour = to_rgb(image)
    return colour if mask is None else np.where(mask[..., None] > 0, colour, np.uint8(0))


def _closed_cells(
    image: Uint8Array, mask: Uint8Array | None, grid_size: tuple[int, int]
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Cells of the grid, bool [H, W], that are masked or black."""
    width, height = grid_size
    # As the original: the pixel that holds a cell's top-left corner speaks for the cell.
    rows, columns = np.arange(height) * image.shape[0] // height, np.arange(width) * image.shape[1] // width
    corners = np.atleast_3d(image[rows[:, None], columns])
    closed = np.asarray((corners < 255 * _BLACK).all(axis=2), np.bool_)
    return closed if mask is None else closed | (resize_mask(mask, grid_size) == 0)


def _in_pixels(
    rows: Float32Array, first: Encoded, second: Encoded
) -> tuple[Float32Array, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Rows in [-1, 1] in pixels of the images as given, and whether both ends lie on pixels that may be used."""
    halves = []
    usable = np.ones(len(rows), np.bool_)
    for half, image in ((rows[:, :2], first), (rows[:, 2:], second)):
        width, height = image.image_size
        points = from_corner_origin((half.astype(np.float64) + 1) / 2 * image.image_size)
        usable &= is_usable(points, (height, width), image.maps.mask)
        halves.append(points)
    return np.hstack(halves), usable


def _dense_warp(rows: Any, certainty: Any, pair: tuple[Encoded, Encoded]) -> DenseWarp:
    points, usable = _in_pixels(rows.cpu().numpy(), *pair)
    closed = np.where(usable.reshape(certainty.shape), certainty.cpu().numpy(), np.float32(0))
    return DenseWarp(points.reshape(*certainty.shape, 4), closed)
