"""Images of a scene: what each pixel sees by `raycast`'s maps, coloured from prefiltered textures.

Two steps. Visibility: each surface's 1/z is linear in the pixel, so the nearest is found exactly at every pixel's
centre. Colour: all pixels of one surface are looked up together in its ripmap, at the reduction that one pixel
covers. Supersampling repeats both on a finer grid and averages in linear light. No noise and no blur here: `clip`.
"""

import cv2
import numpy as np
import numpy.typing as npt

from gim.records import Float32Array, Float64Array, Uint8Array
from gim.synthetic.camera import Camera
from gim.synthetic.raycast import BACKGROUND, cast, pixel_maps
from gim.synthetic.ripmap import Ripmap, shrink
from gim.synthetic.scene import Scene, Sky

_NEAR_METRES = 1e-3
_REMAP_COLUMNS = 2048  # cv2.remap takes no list of points: they are folded into rows of this many


def render_frame(scene: Scene, camera: Camera, *, supersample: int = 2) -> Uint8Array:
    """Render one view.

    Args:
        scene: what to look at.
        camera: from where; the image has its size.
        supersample: samples along each side of a pixel; 1 is fastest and has hard edges, 2 and 3 look filmed.

    Returns:
        uint8 RGB [H, W, 3].
    """
    fine = camera.supersampled(supersample)
    image = _colour(scene, fine, visible_surfaces(scene.geometry, fine))
    return image if supersample == 1 else shrink(image, camera.width, camera.height)


def depth_at(scene: Scene, camera: Camera, points: Float64Array) -> Float64Array:
    """Depth float64 [N] in metres along the camera's z axis at pixels [N, 2]; nan where the sky is seen."""
    return cast(scene.geometry, camera, np.asarray(points, np.float64))[1]


def visible_surfaces(geometry: Float64Array, camera: Camera) -> npt.NDArray[np.int16]:
    """The surface that each pixel's centre sees, int16 [H, W], or `BACKGROUND`.

    Args:
        geometry: float64 [Q, 3, 3], see `raycast`.
        camera: the view.
    """
    index = np.full((camera.height, camera.width), BACKGROUND, np.int16)
    nearness = np.zeros((camera.height, camera.width), np.float32)  # 1/z
    maps = pixel_maps(geometry, camera).astype(np.float32)
    for surface, (x0, x1, y0, y1) in _near_to_far(geometry, camera):
        x, y = np.arange(x0, x1, dtype=np.float32), np.arange(y0, y1, dtype=np.float32)[:, None]
        u, v, inverse_depth = (row[0] * x + (row[1] * y + row[2]) for row in maps[surface])
        window = nearness[y0:y1, x0:x1]
        seen = inverse_depth > window
        seen &= u >= 0
        seen &= u <= inverse_depth
        seen &= v >= 0
        seen &= v <= inverse_depth
        np.copyto(window, inverse_depth, where=seen)
        np.copyto(index[y0:y1, x0:x1], np.int16(surface), where=seen)
    return index


def _near_to_far(geometry: Float64Array, camera: Camera) -> list[tuple[int, tuple[int, int, int, int]]]:
    """Surfaces that may be seen, each with the window (x0, x1, y0, y1) of the image that holds it."""
    origin, edge_u, edge_v = geometry[:, 0], geometry[:, 1], geometry[:, 2]
    corners = np.stack([origin, origin + edge_u, origin + edge_u + edge_v, origin + edge_v], axis=1)
    local = (corners - camera.centre) @ camera.T_camera_to_world[:3, :3]
    candidates = []
    for surface in np.flatnonzero((local[..., 2] > _NEAR_METRES).any(axis=1)):
        outline = _clip_near(local[surface])
        pixels = (outline / outline[:, 2:]) @ camera.K[:2].T
        low = np.maximum(np.floor(pixels.min(axis=0)), 0).astype(np.int64)
        high = np.minimum(np.ceil(pixels.max(axis=0)) + 1, (camera.width, camera.height)).astype(np.int64)
        if (low < high).all():
            window = (int(low[0]), int(high[0]), int(low[1]), int(high[1]))
            candidates.append((float(outline[:, 2].min()), int(surface), window))
    return [(surface, window) for _, surface, window in sorted(candidates)]


def _clip_near(polygon: Float64Array) -> Float64Array:
    """The part of a convex polygon [P, 3] in front of the near plane (Sutherland-Hodgman, one plane)."""
    kept = []
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        ahead_start, ahead_end = start[2] > _NEAR_METRES, end[2] > _NEAR_METRES
        if ahead_start:
            kept.append(start)
        if ahead_start != ahead_end:
            kept.append(start + (_NEAR_METRES - start[2]) / (end[2] - start[2]) * (end - start))
    return np.array(kept)


def _colour(scene: Scene, camera: Camera, index: npt.NDArray[np.int16]) -> Uint8Array:
    """Colours of all pixels, given what each sees."""
    maps = pixel_maps(scene.geometry, camera).astype(np.float32)
    flat = index.ravel()
    order = np.argsort(flat, kind="stable")  # radix sort for int16: pixels of one surface become neighbours
    present, firsts = np.unique(flat[order], return_index=True)
    image = np.empty((flat.size, 3), np.uint8)
    for surface, pixels in zip(present, np.split(order, firsts[1:]), strict=True):
        x, y = (pixels % camera.width).astype(np.float32), (pixels // camera.width).astype(np.float32)
        if surface == BACKGROUND:
            image[pixels] = _sky_colours(scene.sky, camera, x, y)
        else:
            image[pixels] = _surface_colours(scene.texture(int(surface)), scene.sky, maps[surface], x, y)
    return image.reshape(camera.height, camera.width, 3)


def _surface_colours(ripmap: Ripmap, sky: Sky, rows: Float32Array, x: Float32Array, y: Float32Array) -> Uint8Array:
    """Colours uint8 [N, 3] of one surface at pixels x, y [N]."""
    inverse_depth = rows[2, 0] * x + (rows[2, 1] * y + rows[2, 2])
    depth = 1.0 / inverse_depth
    column = _texture_axis(rows[0], rows[2], x, y, depth, ripmap.widths, ripmap.column_starts)
    row = _texture_axis(rows[1], rows[2], x, y, depth, ripmap.heights, ripmap.row_starts)
    colours = _look_up(ripmap.image, column, row)
    veil = np.exp(depth * np.float32(-1.0 / sky.haze_metres))[:, None]
    horizon = np.array(sky.horizon, np.float32)
    return np.asarray((colours - horizon) * veil + (horizon + 0.5), np.uint8)


def _texture_axis(
    numerator: Float32Array,
    denominator: Float32Array,
    x: Float32Array,
    y: Float32Array,
    depth: Float32Array,
    sizes: Float32Array,
    starts: Float32Array,
) -> Float32Array:
    """Position along one axis of the ripmap's image, float32 [N], at the level where one pixel is about one texel."""
    share = (numerator[0] * x + (numerator[1] * y + numerator[2])) * depth
    along_x = (numerator[0] - share * denominator[0]) * depth  # d share / dx of the quotient
    along_y = (numerator[1] - share * denominator[1]) * depth
    texels_squared = (along_x * along_x + along_y * along_y) * (sizes[0] * sizes[0])
    level = np.clip(np.rint(0.5 * np.log2(texels_squared + 1e-9)), 0, len(sizes) - 1).astype(np.int8)
    size = sizes[level]
    return np.asarray(np.clip(share * size - 0.5, 0, size - 1) + starts[level], np.float32)


def _look_up(image: Uint8Array, column: Float32Array, row: Float32Array) -> Uint8Array:
    """Bilinear samples uint8 [N, 3] of an image at N positions."""
    num = len(column)
    padded = -(-num // _REMAP_COLUMNS) * _REMAP_COLUMNS if num > _REMAP_COLUMNS else num
    fold = (-1, min(padded, _REMAP_COLUMNS))
    columns, rows = (np.resize(values, padded).reshape(fold) for values in (column, row))
    return np.asarray(cv2.remap(image, columns, rows, cv2.INTER_LINEAR).reshape(-1, 3)[:num], np.uint8)


def _sky_colours(sky: Sky, camera: Camera, x: Float32Array, y: Float32Array) -> Uint8Array:
    directions = camera.rays() @ np.stack([x, y, np.ones_like(x)]).astype(np.float64)
    rise = np.clip(directions[2] / np.linalg.norm(directions, axis=0), 0.0, 1.0)[:, None]
    colours = np.array(sky.horizon) + (np.array(sky.zenith) - sky.horizon) * np.sqrt(rise)
    return np.asarray(colours + 0.5, np.uint8)
