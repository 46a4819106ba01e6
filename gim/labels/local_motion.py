"""Local motion: how the correspondences around each one move, as an affine map, and how far each strays from it.

Knows positions only. What is made of maps and strays is `gim.labels.refine`'s business.
"""

import numpy as np

from gim.geometry.trees import kd_tree
from gim.records import Float32Array, Float64Array

_RIDGE_PX = 4.0  # neighbours nearer than this say little about scale and turn
_LABEL_NOISE_PX = np.float32(0.3)


class LocalMotion:
    """The neighbours of points in image 0 and what least squares needs of them: all that ends in image 1 share it."""

    def __init__(self, points0: Float32Array, neighbours: int) -> None:
        """Find the `neighbours` nearest of each of points float32 [N, 2] pixels, N > neighbours."""
        _, nearest = kd_tree(points0).query(points0, k=neighbours + 1)
        self._nearest = np.ascontiguousarray(nearest[:, 1:].T)  # [k, N]: sums over neighbours run along the points
        self._x0, self._y0 = self._offsets(points0)
        # About the neighbours' own centre: a wrong point among right neighbours must not bend the map.
        self._centred = self._x0 - _mean(self._x0), self._y0 - _mean(self._y0)
        x, y = self._centred
        xx, yy, xy = _dot(x, x) + _RIDGE_PX**2, _dot(y, y) + _RIDGE_PX**2, _dot(x, y)
        self._inverse = (yy, -xy, xx) / (xx * yy - xy**2)  # of the normal equations: its three entries, [3, N]

    def warps(self, points1: Float32Array) -> Float32Array:
        """The affine part of the map from image 0 to image 1 around each point, fitted to its neighbours.

        Args:
            points1: float32 [N, 2] pixels, where the points are in image 1.

        Returns:
            float32 [N, 2, 2]; the identity where the neighbours say nothing.
        """
        return self._maps(*self._offsets(points1))

    def deviation(self, points1: Float32Array) -> Float32Array:
        """How far each point strays from the motion of its neighbours, in units of how far they stray themselves.

        The median residual of the neighbours under the point's own local affine map, over their median distance from
        that median (plus 0.3 px, the noise of a good label). Large on wrong matches, about 1 at depth edges.

        Args:
            points1: float32 [N, 2] pixels, where the points are in image 1.

        Returns:
            float32 [N].
        """
        x1, y1 = self._offsets(points1)
        maps = self._maps(x1, y1)
        x1 -= maps[:, 0, 0] * self._x0
        x1 -= maps[:, 0, 1] * self._y0
        y1 -= maps[:, 1, 0] * self._x0
        y1 -= maps[:, 1, 1] * self._y0
        median_x, median_y = _median(x1), _median(y1)
        spread = _median(np.hypot(x1 - median_x, y1 - median_y))
        return np.asarray(np.hypot(median_x, median_y) / (spread + _LABEL_NOISE_PX))

    def _offsets(self, points: Float32Array) -> tuple[Float32Array, Float32Array]:
        """From each point to its neighbours, along x and along y, each [k, N]."""
        x, y = points.T
        return x.take(self._nearest) - x, y.take(self._nearest) - y

    def _maps(self, x1: Float32Array, y1: Float32Array) -> Float32Array:
        maps = np.empty((len(x1[0]), 2, 2), np.float32)
        inverse_xx, inverse_xy, inverse_yy = self._inverse
        # Solved for the change of the offsets, so that the ridge draws towards none: the map towards the identity.
        for row, change in enumerate((x1 - self._x0, y1 - self._y0)):
            along_x, along_y = (_dot(offsets, change) for offsets in self._centred)
            maps[:, row, 0] = inverse_xx * along_x + inverse_xy * along_y
            maps[:, row, 1] = inverse_xy * along_x + inverse_yy * along_y
        maps += np.eye(2, dtype=np.float32)
        return maps


def deviation(points: Float32Array, neighbours: int) -> Float32Array:
    """`LocalMotion.deviation` of correspondences float32 [N, 4]; infinite when there are not enough neighbours."""
    if len(points) <= neighbours:
        return np.full(len(points), np.inf, np.float32)
    return LocalMotion(points[:, :2], neighbours).deviation(points[:, 2:])


def _mean(rows: Float32Array) -> Float32Array:
    """Over the neighbours: float32 [N] of [k, N]."""
    return np.asarray(rows.sum(axis=0) / np.float32(len(rows)))


def _dot(rows: Float32Array, others: Float32Array) -> Float64Array:
    """Over the neighbours: float64 [N] of two [k, N]."""
    return np.asarray(np.einsum("kn,kn->n", rows, others), np.float64)


def _median(rows: Float32Array) -> Float32Array:
    """Over the neighbours: float32 [N] of [k, N]."""
    # Sorting a dozen numbers takes a quarter of the time of np.median.
    ordered = np.sort(rows, axis=0)
    return np.asarray((ordered[(len(rows) - 1) // 2] + ordered[len(rows) // 2]) / np.float32(2))
