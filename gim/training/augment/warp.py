"""Images follow their homography: each is smoothed where it shrinks, interpolated once, and its empty pixels known.

Why one interpolation: every further one blurs, and moves the picture's content against its labels by what it rounds.
"""

import cv2
import numpy as np
import numpy.typing as npt

from gim.geometry.homography import apply_homography
from gim.geometry.pixels import PixelMap, is_inside
from gim.records import BoolArray, Float64Array, Uint8Array
from gim.training.augment.geometry import Size, even_grid, image_corners
from gim.training.augment.photometric import PhotometricDraw, apply_photometric

_GRID = 8  # positions along each side at which a homography's scale is looked at
_HALVE_FROM = 2.0  # what shrinks by this or more is halved first; halving earlier was seen to lose detail
_WINDOW_PX = 32  # around what is seen: more than any blur reaches
_MARGIN_PX = 2
_FROM_HALF = PixelMap.scaling(2, 2).apply_to_intrinsics(np.eye(3))
_WHOLE_PX = 1e-6  # from a whole number of pixels: far below what interpolation can show


def warp_valid(valid: BoolArray, A: Float64Array, size: Size) -> BoolArray:
    """Which pixels of a warped image are photograph.

    Args:
        valid: [H, W] of the image before.
        A: [3, 3], its positions -> those of the warped image.
        size: (width, height) of the warped image.

    Returns:
        bool [height, width]: True where the pixel's centre comes from a valid pixel.
    """
    warped = cv2.warpPerspective(valid.view(np.uint8), A, size, flags=cv2.INTER_NEAREST)
    return np.asarray(warped, np.uint8).view(np.bool_)


def warp_photograph(
    image: Uint8Array, A: Float64Array, valid: BoolArray, photometric: PhotometricDraw | None = None
) -> Uint8Array:
    """An image after a homography.

    Bilinear interpolation sees 2 x 2 pixels, so what a warp shrinks by more is smoothed first, by as much as most of
    the image shrinks: means of 2 x 2 pixels as often as need be, and a small filter for what is left between powers of
    two. Where a warp shrinks one part, or one direction, much more than the rest, that can still alias.

    Args:
        image: uint8 RGB [H, W, 3].
        A: [3, 3], its positions -> those of the result.
        valid: [height, width] of the result, from `warp_valid`.
        photometric: applied before the warp, so that blur does not drag in what lies outside the photograph.

    Returns:
        uint8 [height, width, 3], zero where not valid.
    """
    size = (valid.shape[1], valid.shape[0])
    shrinks = 1 / enlargement((image.shape[1], image.shape[0]), A, size)
    seen, to_image = _seen_window(image, A, size)
    left = shrinks
    while left >= _HALVE_FROM and min(seen.shape[:2]) > 1:
        seen, to_image, left = _halved(seen), to_image @ _FROM_HALF, left / 2
    seen = _smoothed(seen, left)
    if photometric is not None:
        seen = apply_photometric(seen, photometric, scale=min(shrinks, 1) * left / shrinks)
    return _interpolated(seen, A @ to_image, valid)


def enlargement(image_size: Size, A: Float64Array, size: Size) -> float:
    """How many pixels of the result one pixel of the image becomes along a side, where most of the result is seen.

    At most twice as many as in the tenth of the result that shrinks most.
    """
    positions = np.empty((0, 2))
    if A[2, :2].any():
        positions = apply_homography(even_grid(size, _GRID), np.linalg.inv(A))
        positions = positions[is_inside(positions, *image_size)]
    if not len(positions):
        positions = np.zeros((1, 2))  # the same everywhere, or nothing is seen
    # The area of a homography's differential is its determinant over the third coordinate's cube; a side is its root.
    third = np.sort(np.abs(positions @ A[2, :2] + A[2, 2]))
    determinant = abs(A[0] @ np.cross(A[1], A[2]))
    most, smallest = (float(np.sqrt(determinant / third[int(len(third) * share)] ** 3)) for share in (0.5, 0.9))
    return min(most, 2 * smallest)


def _seen_window(image: Uint8Array, A: Float64Array, size: Size) -> tuple[Uint8Array, Float64Array]:
    """The part of an image that the result shows, and the matrix from its positions to the image's."""
    if not A[2, :2].any() and not A[0, 1]:
        return image, np.eye(3)  # neither turned nor tilted: resized as a whole, which is fast
    back = np.linalg.inv(A)
    corners = np.column_stack([image_corners(size), np.ones(4)]) @ back.T
    if corners[:, 2].min() <= 0 < corners[:, 2].max():
        return image, np.eye(3)  # the result's horizon lies within it, and anything can be seen
    positions = corners[:, :2] / corners[:, 2:]
    limits = np.array([image.shape[1], image.shape[0]])
    low = np.clip(np.floor(positions.min(axis=0)) - _WINDOW_PX, 0, limits - 1).astype(int)
    high = np.clip(np.ceil(positions.max(axis=0)) + _WINDOW_PX, low + 1, limits).astype(int)
    window = image[low[1] : high[1], low[0] : high[0]]
    return window, PixelMap.padding(int(low[0]), int(low[1])).apply_to_intrinsics(np.eye(3))


def _halved(image: Uint8Array) -> Uint8Array:
    height, width = image.shape[0] // 2, image.shape[1] // 2
    # A last row or column without a partner is left out; its neighbours stand in for it.
    even = image[: 2 * height, : 2 * width]
    return np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _smoothed(image: Uint8Array, shrinks: float) -> Uint8Array:
    """Spread each pixel by as much more than a pixel as a box of `shrinks` pixels is spread (their variances' gap)."""
    weight = (shrinks**2 - 1) / 24
    if weight < 0.005:  # a change of less than 1 % of any difference of neighbours
        return image
    kernel = np.array([weight, 1 - 2 * weight, weight])
    return np.asarray(cv2.sepFilter2D(image, -1, kernel, kernel), np.uint8)


def _interpolated(image: Uint8Array, A: Float64Array, valid: BoolArray) -> Uint8Array:
    size = (image.shape[1], image.shape[0])
    new_size = max(round(size[0] * A[0, 0]), 1), max(round(size[1] * A[1, 1]), 1)
    resizing = PixelMap.resizing(size, new_size).apply_to_intrinsics(np.eye(3))
    offset = np.rint(A[:2, 2] - resizing[:2, 2])
    if np.abs(A - PixelMap.padding(*offset).apply_to_intrinsics(resizing)).max() < _WHOLE_PX / max(size):
        resized = cv2.resize(image, new_size, interpolation=cv2.INTER_LINEAR)  # four times as fast as a warp
        return _pasted(np.asarray(resized, np.uint8), int(offset[0]), int(offset[1]), valid)
    # A margin of repeated pixels: else the outer half of the outermost pixels would be mixed with black. One pixel for
    # that half, one for a row or column that was left out. BORDER_REPLICATE instead takes twice the time.
    wider = cv2.copyMakeBorder(image, _MARGIN_PX, _MARGIN_PX, _MARGIN_PX, _MARGIN_PX, cv2.BORDER_REPLICATE)
    from_wider = PixelMap.cropping(_MARGIN_PX, _MARGIN_PX).apply_to_intrinsics(np.eye(3))
    return _blackened(cv2.warpPerspective(wider, A @ from_wider, (valid.shape[1], valid.shape[0])), valid)


def _pasted(image: Uint8Array, x: int, y: int, valid: BoolArray) -> Uint8Array:
    """The image with its top-left pixel at (x, y), without interpolation."""
    height, width = valid.shape
    pasted = np.zeros((height, width, 3), np.uint8)
    seen = image[max(-y, 0) : max(height - y, 0), max(-x, 0) : max(width - x, 0)]
    top, left = max(y, 0), max(x, 0)
    pasted[top : top + seen.shape[0], left : left + seen.shape[1]] = seen
    return _blackened(pasted, valid)


def _blackened(image: npt.ArrayLike, valid: BoolArray) -> Uint8Array:
    return np.asarray(cv2.copyTo(np.asarray(image, np.uint8), valid.view(np.uint8)), np.uint8)
