"""A second look at a pair that found too little: cut both images to what they share, enlarge, match again.

GIM's published labelling does so for every pair (its `--resize` round); here it is a retry, since a pair that was
matched well gains nothing from it. Knows no matcher: the caller passes what matches two images.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gim.geometry.pixels import PixelMap, resize_image
from gim.labels.config import ZoomConfig
from gim.records import Correspondences, Float32Array, ImagePair, Uint8Array

MatchPair = Callable[[ImagePair], Correspondences]


@dataclass(frozen=True, slots=True)
class Box:
    """A window of whole pixels: its top-left pixel, and its size."""

    x: int
    y: int
    width: int
    height: int

    @property
    def area(self) -> int:
        """In pixels."""
        return self.width * self.height


def match_zoomed(pair: ImagePair, points: Float32Array, match: MatchPair, config: ZoomConfig) -> Correspondences | None:
    """Match the parts of two images that they share, enlarged.

    Args:
        pair: the images and masks.
        points: float32 [N, 4] correspondences found so far, mostly right: pixels.
        match: what matches two images.
        config: margin, largest enlargement, what counts as a zoom.

    Returns:
        Correspondences in pixels of the images as given; None where a zoom would show nothing new: too few points to
        tell the shared part, or it is nearly the whole of both images.
    """
    if len(points) < config.min_matches:
        return None
    box0 = shared_box(points[:, :2], pair.image0.shape, config.margin_share)
    box1 = shared_box(points[:, 2:], pair.image1.shape, config.margin_share)
    areas = box0.area / _area(pair.image0), box1.area / _area(pair.image1)
    if min(areas) > config.max_area_share:
        return None
    image0, mask0, map0 = _enlarge(pair.image0, pair.mask0, box0, config.max_enlargement)
    image1, mask1, map1 = _enlarge(pair.image1, pair.mask1, box1, config.max_enlargement)
    found = match(ImagePair(image0, image1, mask0, mask1))
    back = [map0.inverse().apply(found.points[:, :2]), map1.inverse().apply(found.points[:, 2:])]
    return Correspondences(np.hstack(back), found.confidence)


def shared_box(keypoints: Float32Array, shape: tuple[int, ...], margin_share: float) -> Box:
    """The window around the middle 96 % of keypoints [N, 2], wider by a share of its own size on each side, inside."""
    low, high = np.percentile(keypoints, (2, 98), axis=0)  # a few wrong ones may lie anywhere
    margin = (high - low) * margin_share
    x0, y0 = np.maximum(np.floor(low - margin), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(high + margin) + 1, (shape[1], shape[0])).astype(int)
    return Box(int(x0), int(y0), max(int(x1 - x0), 1), max(int(y1 - y0), 1))


def _enlarge(
    image: Uint8Array, mask: Uint8Array | None, box: Box, max_enlargement: float
) -> tuple[Uint8Array, Uint8Array | None, PixelMap]:
    """A window of an image at the image's own size, as far as its aspect and the largest enlargement allow."""
    rows, columns = slice(box.y, box.y + box.height), slice(box.x, box.x + box.width)
    scale = min(image.shape[1] / box.width, image.shape[0] / box.height, max_enlargement)
    size = (max(round(box.width * scale), 1), max(round(box.height * scale), 1))
    zoomed, resizing = resize_image(np.ascontiguousarray(image[rows, columns]), size)
    usable = None if mask is None else resize_image(np.ascontiguousarray(mask[rows, columns]), size)[0]
    if usable is not None:
        usable = np.where(usable == 255, 255, 0).astype(np.uint8)  # a blend of both is not usable
    return zoomed, usable, PixelMap.cropping(box.x, box.y).then(resizing)


def _area(image: Uint8Array) -> int:
    return int(image.shape[0] * image.shape[1])
