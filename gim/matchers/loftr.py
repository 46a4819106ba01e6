"""LoFTR on grey images: matches the cells of a coarse grid, then refines one side of each match."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from gim.errors import ConfigError
from gim.geometry.colour import to_grey
from gim.geometry.pixels import PixelMap, from_corner_origin, network_size, resize_image
from gim.matchers.base import is_usable
from gim.matchers.network import DenseMatcher, Encoded, ModelResources
from gim.records import Correspondences, Float32Array, Uint8Array

_CELL_PX = 8  # side of a cell of the coarse grid; the network takes sides that are multiples of it
_LARGEST_SIDE_PX = 2048  # the published position encodings end at 256 cells


@dataclass(frozen=True, slots=True)
class LoftrConfig:
    """Which weights, the size images are matched at, and what counts as a match.

    Time grows with the pixels, the similarities of coarse cells with their square: 4 (W / 8 * H / 8)^2 bytes are
    0.3 GB for 1024 x 576 and 4.2 GB for 1920 x 1080. Over 1 GB they are worked on in blocks, and computed twice.
    """

    weights: str = "loftr_outdoor"  # name in the catalogue, or path of a file
    max_side_px: int = 1024  # a multiple of 8 up to 2048; near the 840 of training; time grows with the area
    match_threshold: float = 0.2  # smallest confidence, exclusive; the published value
    border_cells: int = 2  # cells of 8 px left out along the edges, where convolutions saw padding
    temperature: float = 0.1  # of the soft-max over similarities; trained with this value
    # The first release of LoFTR computed its position encoding otherwise than the paper, and most weights were trained
    # so. auto: what the catalogue says of the weights, and the first release's for a file it does not know.
    position_encoding: Literal["auto", "first_release", "corrected"] = "auto"

    def __post_init__(self) -> None:
        if not _CELL_PX <= self.max_side_px <= _LARGEST_SIDE_PX or self.max_side_px % _CELL_PX:
            raise ConfigError(
                f"LoFTR needs max_side_px from {_CELL_PX} to {_LARGEST_SIDE_PX}, where its position encoding ends, "
                f"and divisible by {_CELL_PX}; got {self.max_side_px}"
            )
        if not 0 <= self.match_threshold < 1 or self.border_cells < 0 or not self.temperature > 0:
            raise ConfigError(
                "LoFTR needs 0 <= match_threshold < 1, border_cells >= 0 and temperature > 0; got "
                f"{self.match_threshold}, {self.border_cells} and {self.temperature}"
            )


@dataclass(frozen=True, slots=True)
class _Image:
    """One encoded image."""

    maps: Any  # gim.matchers.nn.loftr.ImageMaps
    to_given: PixelMap  # from the resized image to the image as given
    shape: tuple[int, ...]  # of the image as given
    mask: Uint8Array | None


class Loftr(DenseMatcher):
    """Detector-free matching with transformers (Sun et al., CVPR 2021), by kornia's modules."""

    name: ClassVar[str] = "loftr"

    def __init__(self, config: LoftrConfig, resources: ModelResources) -> None:
        super().__init__(config, resources)
        if config.position_encoding == "auto":
            is_corrected = "corrected_positions" in self.files["weights"].traits
            config = replace(config, position_encoding="corrected" if is_corrected else "first_release")
        self.config: LoftrConfig = config

    def _build(self, device: Any) -> Any:
        from gim.inference.device import compiled  # noqa: PLC0415 - torch on use
        from gim.matchers.nn.loftr import PairwiseLoFTR, fuse_backbone  # noqa: PLC0415 - torch on use
        from gim.weights.checkpoint import load_into, read_checkpoint, select  # noqa: PLC0415 - torch on use

        network = self._architecture()
        file = self.files["weights"]
        load_into(network, select(read_checkpoint(file.path), "matcher.", "model."), source=file.name)
        fuse_backbone(network)
        network.to(device)
        for name in ("backbone", "loftr_coarse"):
            setattr(network, name, compiled(getattr(network, name), self.resources.inference))
        return PairwiseLoFTR(
            network,
            match_threshold=self.config.match_threshold,
            border_cells=self.config.border_cells,
            temperature=self.config.temperature,
        )

    def _architecture(self) -> Any:
        """The network without weights."""
        from gim.matchers.nn.loftr import loftr_network  # noqa: PLC0415 - torch on use

        return loftr_network(has_corrected_positions=self._has_corrected_positions)

    @property
    def _has_corrected_positions(self) -> bool:
        return self.config.position_encoding == "corrected"

    def _channels(self, image: Uint8Array) -> Uint8Array:
        """The image as this network wants it, [H, W] or [H, W, channels]."""
        return to_grey(image)

    def _encode(self, images: Sequence[tuple[Uint8Array, Uint8Array | None]]) -> list[Encoded]:
        height, width = images[0][0].shape[:2]
        size = network_size(width, height, max_side_px=self.config.max_side_px, multiple=_CELL_PX)
        resized = [resize_image(self._channels(image), size) for image, _ in images]
        to_given = resized[0][1].inverse()
        usable = [None if mask is None else _usable_cells(size, to_given, mask) for _, mask in images]
        batch = np.stack([np.atleast_3d(image) for image, _ in resized])
        encoded = []
        for maps, (image, mask) in zip(self.network.encode_images(batch, usable), images, strict=True):
            encoded.append(Encoded((width, height), size, _Image(maps, to_given, image.shape, mask)))
        return encoded

    def _match(self, pairs: Sequence[tuple[Encoded, Encoded]]) -> list[Correspondences]:
        found = self.network.match([(first.maps.maps, second.maps.maps) for first, second in pairs])
        return [
            _correspondences(first.maps, second.maps, *(part.cpu().numpy() for part in matches))
            for (first, second), matches in zip(pairs, found, strict=True)
        ]


def _correspondences(
    image0: _Image, image1: _Image, keypoints0: Float32Array, keypoints1: Float32Array, confidence: Float32Array
) -> Correspondences:
    """Matches in pixels of the images as given, without those on masked pixels."""
    points0, points1 = _given(keypoints0, image0.to_given), _given(keypoints1, image1.to_given)
    usable = is_usable(points0, image0.shape, image0.mask) & is_usable(points1, image1.shape, image1.mask)
    return Correspondences(np.hstack([points0, points1])[usable], confidence[usable])


def _given(keypoints: Float32Array, to_given: PixelMap) -> Float32Array:
    """The network's positions in the image as given.

    LoFTR counts from the CORNER of the top-left pixel, though its grid starts at pixel 0: its training took the grid's
    positions 8 (column, row) through intrinsics of COLMAP, which count from the corner, and scaled them with the image
    by plain multiplication. Kornia says so too. Between images of one scale the two readings give the same matches,
    between scales 1 and 2 they differ by half a pixel.
    """
    return to_given.apply(from_corner_origin(keypoints))


def _usable_cells(size: tuple[int, int], to_given: PixelMap, mask: Uint8Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether the pixel each coarse cell stands for is unmasked: bool [cells], row by row."""
    rows, columns = np.mgrid[: size[1] // _CELL_PX, : size[0] // _CELL_PX]
    positions = np.stack([columns.ravel(), rows.ravel()], axis=1) * np.float32(_CELL_PX)
    return is_usable(_given(positions, to_given), mask.shape, mask)
