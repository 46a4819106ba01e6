"""The only place that knows the half pixel: how positions move when an image is resized, cropped or padded.

Positions have their origin at the CENTRE of the top-left pixel, so an image of width W spans [-0.5, W - 0.5].
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from gim.errors import InvalidInput
from gim.records import BoolArray, Float32Array, Float64Array


@dataclass(frozen=True, slots=True)
class PixelMap:
    """Where the positions of one image lie in another made from it: x -> scale_x * x + offset_x, and so for y."""

    scale_x: float = 1.0
    scale_y: float = 1.0
    offset_x: float = 0.0
    offset_y: float = 0.0

    @classmethod
    def resizing(cls, size: tuple[int, int], new_size: tuple[int, int]) -> Self:
        """After resizing from `size` to `new_size`, each (width, height): (x + 0.5) * scale - 0.5.

        Raises:
            InvalidInput: a side is not positive.
        """
        if min(*size, *new_size) < 1:
            raise InvalidInput(f"cannot resize from {size} to {new_size}: sides must be positive")
        scale_x, scale_y = new_size[0] / size[0], new_size[1] / size[1]
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
