"""How much two images share, in one of two ways; a manifest says which.

`depth`: overlap0 is the share of the pixels of image 0 that are seen in image 1. A pixel's point lies at its depth; it
is seen where it falls on image 1, in front of it, and the depth there is its own. Pixels without depth, and points that
fall where image 1 has none, are not known and count neither way. overlap1 is the same from image 1.

`tracks`: overlap0 is the share of the points that the reconstruction tracked in image 0 that it tracked in image 1
too. Tracks break, above all between views far apart, so it is lower than what is seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gim.benchmarks.building.pinhole import PinholeView, grid_of
from gim.benchmarks.building.scene import SourceImage
from gim.geometry.pixels import PixelMap
from gim.geometry.pose import relative_pose
from gim.records import Float32Array, Float64Array, Int64Array

DEPTH_TOLERANCE = 0.05  # of a point's depth: how far the depth found there may be off and still be its own
_WORKING_SIDE = 320  # pixels of the longer side that depth is kept at
_GRID_STEP = 4  # working pixels between those that are asked for
_FEWEST_KNOWN = 50  # pixels of known depth, for a share of them to mean anything
_NEAREST = 1e-6  # depth in front of a camera, in its unit of length


@dataclass(frozen=True, slots=True, eq=False)
class DepthView:
    """A camera and the depth of what it sees, at a size that is quick to look up."""

    K: Float64Array  # [3, 3] pixels of `depth`
    T_camera_to_world: Float64Array
    depth: Float32Array  # [H, W], 0: not known


def depth_view(image: SourceImage, view: PinholeView, depth: Float32Array) -> DepthView:
    """What overlaps are computed from, of an image and its depth as stored."""
    scale = min(1.0, _WORKING_SIDE / max(view.width, view.height))
    size = max(1, round(view.width * scale)), max(1, round(view.height * scale))
    K = PixelMap.resizing((view.width, view.height), size).apply_to_intrinsics(view.K)
    return DepthView(K, image.T_camera_to_world, view.sample_depth(depth, size))


def depth_overlap(view0: DepthView, view1: DepthView, *, tolerance: float = DEPTH_TOLERANCE) -> float:
    """Share of the pixels of view 0 that are seen in view 1, see above; 0 where too few are known."""
    height, width = view0.depth.shape
    step = _GRID_STEP
    pixels = grid_of(-(-(width - step // 2) // step), -(-(height - step // 2) // step)) * step + step // 2
    column, row = pixels.astype(np.int64).T
    depth = view0.depth[row, column].astype(np.float64)
    is_known = depth > 0
    rays = np.column_stack([pixels, np.ones(len(pixels))])[is_known] @ np.linalg.inv(view0.K).T
    T_0to1 = relative_pose(view0.T_camera_to_world, view1.T_camera_to_world)
    points = (rays * depth[is_known, None]) @ T_0to1[:3, :3].T + T_0to1[:3, 3]
    seen, hidden = _look(points, view1, tolerance)
    return seen / (seen + hidden) if seen + hidden >= _FEWEST_KNOWN else 0.0


def _look(points: Float64Array, view: DepthView, tolerance: float) -> tuple[int, int]:
    """How many points [N, 3] of a camera's system it sees, and how many it does not."""
    height, width = view.depth.shape
    z = points[:, 2]
    is_ahead = z > _NEAREST
    projected = (points[is_ahead] / z[is_ahead, None]) @ view.K.T
    x, y = projected[:, 0], projected[:, 1]
    is_inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
    x, y, expected = x[is_inside], y[is_inside], z[is_ahead][is_inside]
    around = np.stack(
        [
            view.depth[np.clip(rows, 0, height - 1).astype(np.int64), np.clip(columns, 0, width - 1).astype(np.int64)]
            for rows in (np.floor(y), np.floor(y) + 1)
            for columns in (np.floor(x), np.floor(x) + 1)
        ]
    )
    has_any = (around > 0).any(axis=0)
    # Any of the four pixels around will do: at an edge in depth none of them is the nearest for sure.
    agrees = has_any & (np.abs(around - expected) <= tolerance * expected).any(axis=0)
    num_seen = int(np.count_nonzero(agrees))
    return num_seen, len(points) - num_seen - int(np.count_nonzero(~has_any))


def track_overlaps(points: Sequence[Int64Array]) -> Float64Array:
    """Overlaps of all pairs of images by the ids of the points they see.

    Args:
        points: of every image, ascending, each once.

    Returns:
        float64 [N, N]; row i, column j: the share of the points of image i that image j sees too.
    """
    from scipy.sparse import csr_array  # noqa: PLC0415 - slow to load, and not needed where there is depth

    _, columns = np.unique(np.concatenate([*points, np.empty(0, np.int64)]), return_inverse=True)
    offsets = np.cumsum([0, *(len(ids) for ids in points)])
    shape = (len(points), int(columns.max(initial=-1)) + 1)
    sees = csr_array((np.ones(len(columns), np.float64), columns, offsets), shape=shape)
    shared = np.asarray((sees @ sees.T).todense(), np.float64)
    own = np.array([len(ids) for ids in points], np.float64)[:, None]
    return np.divide(shared, own, out=np.zeros_like(shared), where=own > 0)
