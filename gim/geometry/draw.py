"""Pictures of two-view geometry: correspondences drawn across two images side by side. Reads and writes no files."""

import cv2
import numpy as np

from gim.geometry.pixels import PixelMap
from gim.records import BoolArray, Float32Array, Int64Array, Uint8Array

_MAX_WIDTH = 4096  # of the picture; larger image pairs are shrunk
_GAP = 8  # pixels between the images
_BACKGROUND = 24
_OUTLIER_COLOUR = (150, 40, 40)
_SUBPIXEL_BITS = 4


def draw_correspondences(
    image0: Uint8Array, image1: Uint8Array, points: Float32Array, inliers: BoolArray, *, max_lines: int = 300
) -> Uint8Array:
    """Two images side by side with a line for every correspondence, outliers thin and dark below the inliers.

    An inlier's colour follows its place in image 0, so that a wrong line stands out among its neighbours.

    Args:
        image0: uint8 RGB [H0, W0, 3].
        image1: uint8 RGB [H1, W1, 3].
        points: float32 [N, 4] rows (x0, y0, x1, y1), pixels.
        inliers: bool [N].
        max_lines: more are thinned out evenly over image 0.

    Returns:
        uint8 RGB [H, W, 3].
    """
    scale = min(1.0, _MAX_WIDTH / (image0.shape[1] + image1.shape[1] + _GAP))
    shown0, map0 = _shrink(image0, scale)
    shown1, map1 = _shrink(image1, scale)
    canvas, left = _side_by_side(shown0, shown1)
    ends0 = map0.apply(points[:, :2])
    ends1 = map1.then(PixelMap.padding(left, 0)).apply(points[:, 2:])
    thickness = max(1, round(canvas.shape[1] / 1600))
    for row in _thin(points, ~inliers, max_lines // 4):
        _draw_line(canvas, ends0[row], ends1[row], _OUTLIER_COLOUR, 1)
    colours = _place_colours(ends0, shown0.shape[1], shown0.shape[0])
    for row in _thin(points, inliers, max_lines):
        _draw_line(canvas, ends0[row], ends1[row], colours[row], thickness)
    return canvas


def _shrink(image: Uint8Array, scale: float) -> tuple[Uint8Array, PixelMap]:
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shown = image if size == (width, height) else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(shown, np.uint8), PixelMap.resizing((width, height), size)


def _side_by_side(image0: Uint8Array, image1: Uint8Array) -> tuple[Uint8Array, int]:
    left = image0.shape[1] + _GAP
    shape = (max(image0.shape[0], image1.shape[0]), left + image1.shape[1], 3)
    canvas = np.full(shape, _BACKGROUND, np.uint8)
    canvas[: image0.shape[0], : image0.shape[1]] = image0
    canvas[: image1.shape[0], left:] = image1
    return canvas, left


def _thin(points: Float32Array, wanted: BoolArray, limit: int) -> Int64Array:
    """At most `limit` of the wanted rows, every n-th in the order of their rows of 32 pixels in image 0."""
    rows = np.flatnonzero(wanted)
    order = rows[np.lexsort((points[rows, 0], points[rows, 1] // 32))]
    chosen = np.linspace(0, len(order) - 1, min(limit, len(order))).round().astype(np.int64)
    return np.asarray(order[chosen], np.int64)


def _place_colours(places: Float32Array, width: int, height: int) -> list[tuple[int, int, int]]:
    """Hue from left (yellow) to right (magenta), lightness from top to bottom."""
    hue = 20 + np.clip(places[:, 0] / width, 0, 1) * 130
    value = 255 - np.clip(places[:, 1] / height, 0, 1) * 70
    hsv = np.stack([hue, np.full_like(hue, 210), value], axis=1).astype(np.uint8)[None]
    rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0] if len(places) else np.empty((0, 3), np.uint8)
    return [(int(r), int(g), int(b)) for r, g, b in rgb]


def _draw_line(
    canvas: Uint8Array, end0: Float32Array, end1: Float32Array, colour: tuple[int, int, int], thickness: int
) -> None:
    place0, place1 = (
        (round(float(x) * 2**_SUBPIXEL_BITS), round(float(y) * 2**_SUBPIXEL_BITS)) for x, y in (end0, end1)
    )
    cv2.line(canvas, place0, place1, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
    for place in (place0, place1):
        cv2.circle(canvas, place, (thickness + 1) * 2**_SUBPIXEL_BITS, colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)
