"""The only place that knows the half pixel: how positions move when an image is resized, cropped or padded.

Positions have their origin at the CENTRE of the top-left pixel, so an image of width W spans [-0.5, W - 0.5].
"""

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

from gim.errors import InvalidInput
from gim.records import BoolArray, Float32Array, Float64Array, Uint8Array


@dataclass(frozen=True, slots=True)
class PixelMap:
    """Where the positions of one image lie in another made from it: x -> scale_x * x + offset_x, and so for y."""

    scale_x: float = 1.0
    scale_y: float = 1.0
    offset_x: float = 0.0
    offset_y: float = 0.0

    @classmethod
    def resizing(cls, size: tuple[int, int], new_size: tuple[int, int]) -> Self:
        """After resizing from `size` to `new_size`, each (width, height).

        Raises:
            InvalidInput: a side is not positive.
        """
        if min(*size, *new_size) < 1:
            raise InvalidInput(f"cannot resize from {size} to {new_size}: sides must be positive")
        return cls.scaling(new_size[0] / size[0], new_size[1] / size[1])

    @classmethod
    def scaling(cls, scale_x: float, scale_y: float) -> Self:
        """After resizing by these factors: (x + 0.5) * scale - 0.5."""
        return cls(scale_x, scale_y, 0.5 * scale_x - 0.5, 0.5 * scale_y - 0.5)

    @classmethod
    def cropping(cls, x: int, y: int) -> Self:
        """After cutting out a window whose top-left pixel is (x, y)."""
        return cls(offset_x=-x, offset_y=-y)

    @classmethod
    def padding(cls, left: int, top: int) -> Self:
        """After adding `left` columns and `top` rows in front; what is added behind moves nothing."""
        return cls(offset_x=left, offset_y=top)

    def then(self, other: "PixelMap") -> "PixelMap":
        """This map, followed by another."""
        return PixelMap(
            self.scale_x * other.scale_x,
            self.scale_y * other.scale_y,
            self.offset_x * other.scale_x + other.offset_x,
            self.offset_y * other.scale_y + other.offset_y,
        )

    def inverse(self) -> "PixelMap":
        """The way back."""
        return PixelMap(
            1 / self.scale_x, 1 / self.scale_y, -self.offset_x / self.scale_x, -self.offset_y / self.scale_y
        )

    def apply(self, keypoints: npt.ArrayLike) -> Float32Array:
        """Map positions.

        Args:
            keypoints: [N, 2] pixels.

        Returns:
            float32 [N, 2] pixels, computed in float64.
        """
        mapped = np.asarray(keypoints, np.float64) * (self.scale_x, self.scale_y) + (self.offset_x, self.offset_y)
        return np.asarray(mapped, np.float32)

    def apply_to_intrinsics(self, K: npt.ArrayLike) -> Float64Array:
        """Intrinsics of the camera whose image was mapped: [3, 3] -> float64 [3, 3]."""
        matrix = [[self.scale_x, 0, self.offset_x], [0, self.scale_y, self.offset_y], [0, 0, 1]]
        return np.asarray(matrix, np.float64) @ np.asarray(K, np.float64)


def to_corner_origin(keypoints: npt.ArrayLike) -> Float32Array:
    """Positions counted from the top-left CORNER of the top-left pixel, as COLMAP and texture coordinates do."""
    return np.asarray(np.asarray(keypoints, np.float64) + 0.5, np.float32)


def from_corner_origin(keypoints: npt.ArrayLike) -> Float32Array:
    """Positions counted from the centre of the top-left pixel, from those counted from its corner."""
    return np.asarray(np.asarray(keypoints, np.float64) - 0.5, np.float32)


def is_inside(keypoints: npt.ArrayLike, width: int, height: int) -> BoolArray:
    """Whether positions [N, 2] lie on a pixel of an image; the far edges belong to no pixel."""
    positions = np.asarray(keypoints, np.float64)
    return np.asarray(np.all((positions >= -0.5) & (positions < (width - 0.5, height - 0.5)), axis=1))


def network_size(width: int, height: int, *, max_side_px: int = 0, multiple: int = 1) -> tuple[int, int]:
    """The size a network sees an image at: long side at most `max_side_px` (0: any), sides multiples of `multiple`.

    Each side goes to the nearest multiple, at least one; the image is squashed by less than half of it, never padded.
    """
    scale = min(1.0, max_side_px / max(width, height)) if max_side_px else 1.0
    largest = max_side_px // multiple * multiple if max_side_px else 0

    def nearest(side: int) -> int:
        rounded = max(round(side * scale / multiple), 1) * multiple
        return min(rounded, largest) if largest else rounded

    return nearest(width), nearest(height)


def resize_image(image: Uint8Array, size: tuple[int, int]) -> tuple[Uint8Array, PixelMap]:
    """An image [H, W] or [H, W, 3] at another (width, height), by area where it shrinks, and where its pixels went."""
    old_size = (image.shape[1], image.shape[0])
    if size == old_size:
        return image, PixelMap()
    shrinks = size[0] <= old_size[0] and size[1] <= old_size[1]
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8), PixelMap.resizing(old_size, size)


def resize_mask(mask: Uint8Array, size: tuple[int, int]) -> Uint8Array:
    """A mask [H, W] at another (width, height): each pixel takes the value of the one its centre lies in."""
    if size == (mask.shape[1], mask.shape[0]):
        return mask
    # INTER_NEAREST counts from the pixels' corners, and would move the mask by half a pixel of the smaller image.
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def interpolate_image(image: Uint8Array, size: tuple[int, int]) -> tuple[Float32Array, PixelMap]:
    """An image as float32 in [0, 1] at another (width, height), by bilinear interpolation alone, and its pixels' map.

    Nothing is smoothed where the image shrinks: for networks whose weights are used so. Others take `resize_image`.
    """
    resized = cv2.resize(image.astype(np.float32) / 255, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32), PixelMap.resizing((image.shape[1], image.shape[0]), size)
