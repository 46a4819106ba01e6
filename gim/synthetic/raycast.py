"""Exact viewing rays: which surface a pixel sees, how far away, and where a point of it appears in another view.

The one geometry that both the renderer and the truth use. A surface is a flat parallelogram, float64 [3, 3] with
rows (origin, edge_u, edge_v) in metres; it shows from both sides. Depth is along the camera's z axis.
"""

import numpy as np

from gim.records import Float64Array, Int32Array
from gim.synthetic.camera import Camera

BACKGROUND = -1  # "surface" of a ray that meets none
_EDGE_SLACK = 1e-9  # share of an edge; closes the crack between two surfaces that share it
_BLOCK_ELEMENTS = 2_000_000  # of the largest temporary of `cast`


def pixel_maps(surfaces: Float64Array, camera: Camera) -> Float64Array:
    """Linear maps from a pixel to its place on every surface's plane.

    With X = C + z d, d = R K^-1 (x, y, 1), a plane through O with normal n and dual edges a, b (a . U = b . V = 1,
    a . V = b . U = 0) is met where 1/z = n . d / h, h = n . (O - C); then u = a . (X - O), so that u/z and v/z are
    linear in the pixel as well.

    Args:
        surfaces: float64 [Q, 3, 3].
        camera: the view.

    Returns:
        float64 [Q, 3, 3]: times (x, y, 1) gives (u/z, v/z, 1/z); u and v run from 0 to 1 on the surface. All zero
        for a plane that contains the camera's centre.
    """
    origin, edges = surfaces[:, 0], surfaces[:, 1:]
    normal = np.cross(edges[:, 0], edges[:, 1])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    frame = np.linalg.inv(np.concatenate([edges, normal[:, None]], axis=1).transpose(0, 2, 1))  # rows a, b, n
    to_origin = np.einsum("qij,qj->qi", frame, origin - camera.centre)
    height = to_origin[:, 2]
    seen = np.abs(height) > 1e-9
    inverse_height = np.divide(1.0, height, out=np.zeros_like(height), where=seen)
    rows = frame.copy()
    rows[:, :2] -= to_origin[:, :2, None] * (normal * inverse_height[:, None])[:, None]
    rows[:, 2] = normal * inverse_height[:, None]
    rows[~seen] = 0.0
    maps: Float64Array = rows @ camera.rays()
    return maps


def cast(surfaces: Float64Array, camera: Camera, points: Float64Array) -> tuple[Int32Array, Float64Array]:
    """The nearest surface along the viewing ray of each pixel.

    Args:
        surfaces: float64 [Q, 3, 3].
        camera: the view.
        points: float64 [N, 2] pixels, inside the image or not.

    Returns:
        int32 [N] index of the surface, or `BACKGROUND`; float64 [N] depth in metres, nan for the background.
    """
    index = np.full(len(points), BACKGROUND, np.int32)
    depth = np.full(len(points), np.nan)
    if len(surfaces) == 0:
        return index, depth
    maps = pixel_maps(surfaces, camera).reshape(-1, 3)
    step = max(1, _BLOCK_ELEMENTS // len(maps))
    for first in range(0, len(points), step):
        block = points[first : first + step]
        u, v, inverse_depth = np.moveaxis((maps @ _homogeneous(block).T).reshape(-1, 3, len(block)), 1, 0)
        slack = _EDGE_SLACK * inverse_depth
        upper = inverse_depth + slack
        inside = (inverse_depth > 0) & (u >= -slack) & (u <= upper) & (v >= -slack) & (v <= upper)
        nearness = np.where(inside, inverse_depth, 0.0)
        nearest = nearness.argmax(axis=0)
        nearest_inverse = nearness[nearest, np.arange(len(block))]
        hit = nearest_inverse > 0
        index[first : first + step][hit] = nearest[hit]
        depth[first : first + step][hit] = 1.0 / nearest_inverse[hit]
    return index, depth


def lift(camera: Camera, points: Float64Array, depth: Float64Array) -> Float64Array:
    """World positions float64 [N, 3] of pixels [N, 2] at given depths [N]."""
    world: Float64Array = camera.centre + depth[:, None] * (_homogeneous(points) @ camera.rays().T)
    return world


def lift_onto(surfaces: Float64Array, camera: Camera, points: Float64Array, index: Int32Array) -> Float64Array:
    """World positions float64 [N, 3] where rays meet the unbounded plane of a given surface each; nan behind."""
    third_rows = pixel_maps(surfaces, camera)[index, 2]
    inverse_depth = np.einsum("ni,ni->n", third_rows, _homogeneous(points))
    depth = np.divide(1.0, inverse_depth, out=np.full(len(points), np.nan), where=inverse_depth > 0)
    return lift(camera, points, depth)


def project(camera: Camera, world: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Pixels float64 [N, 2] and depths [N] of world positions [N, 3]; pixels are nan behind the camera."""
    rotation = camera.T_camera_to_world[:3, :3]
    local = (world - camera.centre) @ rotation
    depth = local[:, 2]
    ahead = np.where(depth > 1e-9, depth, np.nan)
    pixels: Float64Array = (local / ahead[:, None] @ camera.K.T)[:, :2]
    return pixels, depth


def _homogeneous(points: Float64Array) -> Float64Array:
    return np.column_stack([points, np.ones(len(points))])
