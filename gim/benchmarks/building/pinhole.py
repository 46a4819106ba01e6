"""What a lens bends is made straight: images, depth and intrinsics of the pinhole camera that a benchmark needs.

Focal length and scale stay. The picture is cut to where it has no pixel that the lens did not see, as a matcher would
take the border of a black margin for an edge of the scene.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from gim.benchmarks.building.scene import Lens
from gim.errors import InvalidInput
from gim.geometry.pixels import PixelMap
from gim.records import BoolArray, Float32Array, Float64Array, Uint8Array

_LEAST_SIDE = 16  # pixels that must be left of an image


@dataclass(frozen=True, slots=True, eq=False)
class PinholeView:
    """The pinhole camera made of a lens, and where its pixels lie in the image as stored."""

    K: Float64Array  # [3, 3] pixels
    width: int
    height: int
    stored_size: tuple[int, int]
    places: Float32Array | None  # [height, width, 2] pixels of the stored image; None: they are the same

    def straighten(self, image: Uint8Array) -> Uint8Array:
        """The image [H, W, 3] that the pinhole camera sees."""
        if self.places is None:
            return image
        x, y = np.ascontiguousarray(self.places[..., 0]), np.ascontiguousarray(self.places[..., 1])
        return np.asarray(cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.uint8)

    def sample_depth(self, depth: Float32Array, size: tuple[int, int]) -> Float32Array:
        """Depth of the pixels of a smaller image of the same camera, each from the nearest that was measured.

        Args:
            depth: [H, W] of the stored image, at any resolution.
            size: width and height of the smaller image.
        """
        centres = grid_of(*size)
        places = PixelMap.resizing((self.width, self.height), size).inverse().apply(centres)
        if self.places is not None:
            column, row = np.rint(places).astype(np.int64).T
            places = self.places[np.clip(row, 0, self.height - 1), np.clip(column, 0, self.width - 1)]
        places = PixelMap.resizing(self.stored_size, (depth.shape[1], depth.shape[0])).apply(places)
        column, row = np.rint(places).astype(np.int64).T
        sampled = depth[np.clip(row, 0, depth.shape[0] - 1), np.clip(column, 0, depth.shape[1] - 1)]
        return np.asarray(sampled, np.float32).reshape(size[1], size[0])


def grid_of(width: int, height: int) -> Float64Array:
    """Every pixel of an image, float64 [width * height, 2], row by row."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    return np.column_stack([x.ravel(), y.ravel()])


def pinhole_view(lens: Lens, stored_size: tuple[int, int]) -> PinholeView:
    """The pinhole camera in a lens whose images have this width and height.

    Raises:
        InvalidInput: the lens bends so strongly that next to nothing of the picture can be straightened.
    """
    if lens.distort is None:
        return PinholeView(lens.K, *stored_size, stored_size, None)
    width, height = stored_size
    homogeneous = np.column_stack([grid_of(width, height), np.ones(width * height)])
    rays = (homogeneous @ np.linalg.inv(lens.K).T)[:, :2]
    places = lens.distort(rays).reshape(height, width, 2).astype(np.float32)
    # Beyond its range a polynomial folds back: neighbours then change sides, and one place would be shown twice.
    across = np.gradient(places[..., 0], axis=1) > 0
    down = np.gradient(places[..., 1], axis=0) > 0
    inside = np.isfinite(places).all(axis=2) & (places >= 0).all(axis=2)
    inside &= (places[..., 0] <= width - 1) & (places[..., 1] <= height - 1)
    left, top, right, bottom = _whole_window(inside & across & down)
    if min(right - left, bottom - top) < _LEAST_SIDE:
        raise InvalidInput(f"{lens.name}: its distortion leaves nothing of a {width}x{height} image to straighten")
    K = PixelMap.cropping(left, top).apply_to_intrinsics(lens.K)
    cut = np.ascontiguousarray(places[top:bottom, left:right])
    return PinholeView(K, right - left, bottom - top, stored_size, cut)


def _whole_window(is_seen: BoolArray) -> tuple[int, int, int, int]:
    """A window (left, top, right, bottom) whose sides have no pixel unseen: the worst side is cut again and again."""
    left, top, (bottom, right) = 0, 0, is_seen.shape
    while left < right and top < bottom:
        window = is_seen[top:bottom, left:right]
        sides = (window[:, 0], window[0], window[:, -1], window[-1])
        unseen = [1 - float(side.mean()) for side in sides]
        worst = int(np.argmax(unseen))
        if unseen[worst] == 0:
            break
        left, top = left + (worst == 0), top + (worst == 1)
        right, bottom = right - (worst == 2), bottom - (worst == 3)
    return left, top, right, bottom
