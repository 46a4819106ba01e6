"""Pictures of two-view geometry: correspondences across two images, and what a dense warp is sure of.

Reads and writes no files.
"""

from collections.abc import Iterable

import cv2
import numpy as np

from gim.geometry.caption import add_caption
from gim.geometry.pixels import PixelMap
from gim.records import BoolArray, DenseWarp, Float32Array, Int64Array, Uint8Array

_MAX_SIDE = 4096  # of the picture; larger image pairs are shrunk
_MIN_WIDTH = 640  # smaller pairs are enlarged by a whole number, or no caption would fit above them
_GAP = 8  # pixels between the images
_BACKGROUND = 24
# Of unlike lightness too: one man in twelve does not tell green from red.
_INLIER_COLOUR = (70, 255, 90)
_OUTLIER_COLOUR = (215, 30, 40)
_INLIER_OPACITY = 0.55
_OUTLIER_OPACITY = 0.45
_GRID = 16  # cells along an image's side, among which drawn lines are shared out
_SUBPIXEL_BITS = 4
_COLOURS = cv2.COLORMAP_VIRIDIS  # as light as the value is large, also in grey and for the colour-blind


def draw_correspondences(
    image0: Uint8Array,
    image1: Uint8Array,
    points: Float32Array,
    inliers: BoolArray,
    *,
    title: str = "",
    max_lines: int = 300,
) -> Uint8Array:
    """Two images side by side with a line for every correspondence: inliers green, outliers red and below them.

    Args:
        image0: uint8 RGB [H0, W0, 3].
        image1: uint8 RGB [H1, W1, 3].
        points: float32 [N, 4] rows (x0, y0, x1, y1), pixels.
        inliers: bool [N].
        title: ASCII, drawn above the images; it also says so when not all lines are drawn.
        max_lines: more inliers are thinned out evenly over image 0, and so are outliers beyond a third of it.

    Returns:
        uint8 RGB [H, W, 3].
    """
    scale = _shown_scale(image0, image1)
    shown0, map0 = _resized(image0, scale)
    shown1, map1 = _resized(image1, scale)
    canvas, left = _side_by_side(shown0, shown1)
    ends0 = map0.apply(points[:, :2])
    ends1 = map1.then(PixelMap.padding(left, 0)).apply(points[:, 2:])
    size = (image0.shape[1], image0.shape[0])
    drawn_outliers = _spread(points, np.flatnonzero(~inliers), max_lines // 3, size)
    drawn_inliers = _spread(points, np.flatnonzero(inliers), max_lines, size)
    for rows, colour, opacity in (
        (drawn_outliers, _OUTLIER_COLOUR, _OUTLIER_OPACITY),
        (drawn_inliers, _INLIER_COLOUR, _INLIER_OPACITY),
    ):
        _draw_lines(canvas, ends0[rows], ends1[rows], colour, opacity)
    num_drawn = len(drawn_inliers) + len(drawn_outliers)
    if title and num_drawn < len(points):
        title += f" ({len(drawn_inliers)} inliers and {len(drawn_outliers)} outliers are drawn)"
    return add_caption(canvas, title)


def draw_certainty(image0: Uint8Array, image1: Uint8Array, warp: DenseWarp, *, title: str = "") -> Uint8Array:
    """A dense warp over image 0: on the left its certainty in colours, on the right image 1 where it goes, as bright.

    Args:
        image0: uint8 RGB [H0, W0, 3].
        image1: uint8 RGB [H1, W1, 3].
        warp: 0 -> 1, its grid regular over image 0; an empty grid is certain of nothing.
        title: ASCII, drawn above the images.

    Returns:
        uint8 RGB [H, W, 3].
    """
    shown0, _ = _resized(image0, _shown_scale(image0, image0))
    size = (shown0.shape[1], shown0.shape[0])
    if warp.certainty.size:
        certainty = np.clip(_at_size(warp.certainty, size), 0, 1)
        moved = _warped(image1, warp.points[..., 2:], size)
    else:
        certainty, moved = np.zeros(shown0.shape[:2], np.float32), np.zeros_like(shown0)
    grey = cv2.cvtColor(cv2.cvtColor(shown0, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    coloured = cv2.addWeighted(_coloured(certainty), 0.5, grey, 0.5, 0)
    dimmed = np.rint(moved * certainty[..., None]).astype(np.uint8)
    canvas, _ = _side_by_side(np.asarray(coloured, np.uint8), dimmed)
    return add_caption(np.vstack([_legend(canvas.shape[1]), canvas]), title)


def _shown_scale(image0: Uint8Array, image1: Uint8Array) -> float:
    """What two images side by side are multiplied by: a whole number, where they are small."""
    width, height = image0.shape[1] + image1.shape[1], max(image0.shape[0], image1.shape[0])
    largest = min((_MAX_SIDE - _GAP) / width, _MAX_SIDE / height)
    return largest if largest < 1 else float(min(-(-(_MIN_WIDTH - _GAP) // width) or 1, int(largest)))


def _resized(image: Uint8Array, scale: float) -> tuple[Uint8Array, PixelMap]:
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    shown = image if size == (width, height) else cv2.resize(image, size, interpolation=way)
    return np.asarray(shown, np.uint8), PixelMap.resizing((width, height), size)


def _side_by_side(image0: Uint8Array, image1: Uint8Array) -> tuple[Uint8Array, int]:
    left = image0.shape[1] + _GAP
    right = left + image1.shape[1]
    shape = (max(image0.shape[0], image1.shape[0]), max(right, _MIN_WIDTH), 3)
    canvas = np.full(shape, _BACKGROUND, np.uint8)
    canvas[: image0.shape[0], : image0.shape[1]] = image0
    canvas[: image1.shape[0], left:right] = image1
    return canvas, left


def _spread(points: Float32Array, rows: Int64Array, limit: int, size: tuple[int, int]) -> Int64Array:
    """At most `limit` of the rows: first one of every cell of a grid over image 0, then a second one, and so on."""
    if len(rows) <= limit:
        return rows
    columns, lines = (np.clip(points[rows, axis] * _GRID // size[axis], 0, _GRID - 1) for axis in (0, 1))
    # Cells come in a scattered order: where the last round has no room for all, none of the image's sides is favoured.
    cells = np.random.default_rng(0).permutation(_GRID * _GRID)[(lines * _GRID + columns).astype(np.int64)]
    order = np.argsort(cells, kind="stable")
    _, starts, counts = np.unique(cells[order], return_index=True, return_counts=True)
    rounds = np.arange(len(rows)) - np.repeat(starts, counts)
    return np.sort(rows[order[np.argsort(rounds, kind="stable")[:limit]]])


def _draw_lines(
    canvas: Uint8Array, ends0: Float32Array, ends1: Float32Array, colour: tuple[int, int, int], opacity: float
) -> None:
    """Thin lines with dots at their ends, the picture shining through."""
    clear = canvas.copy()
    thickness = max(1, round(canvas.shape[1] / 2000))
    for place0, place1 in zip(_fixed_point(ends0), _fixed_point(ends1), strict=True):
        cv2.line(canvas, place0, place1, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
    cv2.addWeighted(canvas, opacity, clear, 1 - opacity, 0, dst=canvas)
    radius = (max(2, round(canvas.shape[1] / 700)) << _SUBPIXEL_BITS) - (1 << _SUBPIXEL_BITS) // 2
    for place in (*_fixed_point(ends0), *_fixed_point(ends1)):
        cv2.circle(canvas, place, radius, colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)


def _fixed_point(places: Float32Array) -> Iterable[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in np.rint(places * 2**_SUBPIXEL_BITS)]


def _warped(image1: Uint8Array, places: Float32Array, size: tuple[int, int]) -> Uint8Array:
    """Image 1 at the places [H, W, 2] that a grid over image 0 goes to, at the size image 0 is shown in."""
    source, source_map = _resized(image1, min(1.0, max(size) / max(image1.shape[:2])))
    moved = source_map.apply(_at_size(places, size).reshape(-1, 2)).reshape(size[1], size[0], 2)
    return np.asarray(cv2.remap(source, moved[..., 0], moved[..., 1], cv2.INTER_LINEAR), np.uint8)


def _at_size(grid: Float32Array, size: tuple[int, int]) -> Float32Array:
    return np.asarray(cv2.resize(grid, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _coloured(share: Float32Array) -> Uint8Array:
    colours = cv2.applyColorMap(np.rint(share * 255).astype(np.uint8), _COLOURS)
    return np.asarray(cv2.cvtColor(colours, cv2.COLOR_BGR2RGB), np.uint8)


def _legend(width: int) -> Uint8Array:
    """A bar of the colours from 0 to 1, half a picture wide, with its ends named."""
    bar = _coloured(np.tile(np.linspace(0, 1, width // 2, dtype=np.float32), (max(10, width // 80), 1)))
    strip = np.full((bar.shape[0], width, 3), _BACKGROUND, np.uint8)
    strip[:, : width // 2] = bar
    return add_caption(strip, "certainty from 0 (dark) to 1 (yellow); beside it image 1, warped, as bright as certain")
