"""Refinement: align the image patches of correspondences, and drop those that do not align.

Epipolar geometry says nothing about errors along the line, and every hop of a chain adds some. So the patch around each
point of frame 0 is compared with frame 1 itself, warped by the affine map that the correspondences nearby suggest, and
moved by Gauss-Newton steps until it fits (Lucas and Kanade, IJCAI 1981; gain and offset free). Point 0 stays.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from gim.labels.config import RefineConfig
from gim.labels.local_motion import LocalMotion, deviation
from gim.records import BoolArray, Float32Array, Float64Array, Uint8Array

_GREY_NOISE = 0.5  # grey levels, of any picture: no residual proves a perfect position
_SETTLED_PX = 0.04  # a step this short is the last: the next would be a sixth of it
_HOPELESS = 0.5  # of the correlation asked for: what starts below does not come back
_RETURN_PX = 0.5  # what has gone this much too far does not come back either
_CHUNK = 256  # patches aligned together: larger arrays are pages that every call gets anew from the system
_TINY = np.float32(1e-3)  # keeps flat patches from dividing by zero


@dataclass(frozen=True, slots=True)
class Refinement:
    """What patch alignment makes of correspondences."""

    points: Float32Array  # [N, 4] points 1 moved where the patches align, else as they were
    is_aligned: BoolArray  # [N]
    config: RefineConfig
    motion: LocalMotion | None  # around points 0; None when there are too few

    @property
    def is_plausible(self) -> BoolArray:
        """Which move roughly as all the others around do, bool [N]."""
        if self.motion is None:
            return np.ones(len(self.points), np.bool_)
        return self.motion.deviation(self.points[:, 2:]) < self.config.max_plausible_deviation

    @property
    def is_confirmed(self) -> BoolArray:
        """Which are aligned, and move as the aligned ones around do, bool [N].

        Repeated texture aligns perfectly one brick off, and where a near edge crosses a far one, the crossing moves
        with neither: alignment alone proves nothing.
        """
        confirmed = self.is_aligned.copy()
        strays = deviation(self.points[self.is_aligned], self.config.neighbours)
        confirmed[self.is_aligned] = strays < self.config.max_deviation
        return confirmed


def refine_points(grey0: Uint8Array, grey1: Uint8Array, points: Float32Array, config: RefineConfig) -> Refinement:
    """Move each point 1 to where the patch around point 0 fits best, and say which correspondences to believe.

    Patches that do not align refute nothing by themselves: blur, coarse texture and depth edges inside the patch spoil
    many right matches. Straying from the motion of the neighbours does.

    Args:
        grey0: uint8 [H, W].
        grey1: uint8 [H, W].
        points: float32 [N, 4] rows (x0, y0, x1, y1), pixels.
        config: patch, steps and limits.
    """
    if len(points) <= config.neighbours:
        return Refinement(points, np.zeros(len(points), np.bool_), config, None)
    motion = LocalMotion(points[:, :2], config.neighbours)
    fit = align_patches(grey0, grey1, points, motion.warps(points[:, 2:]), config)
    is_aligned = (
        (fit.correlation > config.min_correlation)
        & (fit.shift_px < config.max_shift_px)
        & (fit.error_px < config.max_error_px)
    )
    refined = points.copy()
    refined[is_aligned, 2:] = fit.positions1[is_aligned]
    return Refinement(refined, is_aligned, config, motion)


@dataclass(frozen=True, slots=True)
class PatchFit:
    """How patches of image 0 fit into image 1."""

    positions1: Float32Array  # [N, 2] pixels, where they fit best
    correlation: Float32Array  # [N] normalised, there or a settled step before
    shift_px: Float32Array  # [N] from where they were looked for
    error_px: Float32Array  # [N] standard error of the position in its weakest direction, from residual and texture


def align_patches(
    grey0: Uint8Array, grey1: Uint8Array, points: Float32Array, warps: Float32Array, config: RefineConfig
) -> PatchFit:
    """Gauss-Newton alignment of the warped patch around each point 1 with the patch around point 0.

    Inverse compositional: gradients and normal equations are those of image 0, made once (Baker and Matthews, IJCV
    2004). Gain and offset are removed by comparing normalised patches. A patch is done when it has settled, and given
    up where it is when it cannot be accepted any more.

    Args:
        grey0: uint8 [H, W].
        grey1: uint8 [H, W].
        points: float32 [N, 4] pixels.
        warps: float32 [N, 2, 2], affine part of the map from image 0 to image 1.
        config: patch radius, number of steps at most, and what is accepted.
    """
    positions1 = points[:, 2:].copy()
    correlation, error_px = np.empty((2, len(points)), np.float32)
    aligner = _Aligner(grey0, grey1, config)
    for first in range(0, len(points), _CHUNK):
        rows = slice(first, first + _CHUNK)
        correlation[rows], error_px[rows] = aligner.align(points[rows, :2], positions1[rows], warps[rows])
    shift_px = np.linalg.norm(positions1 - points[:, 2:], axis=1)
    return PatchFit(positions1, correlation, shift_px, error_px)


class _Aligner:
    """Aligns patches of two images, some at a time, in memory that it keeps: fresh pages cost more than arithmetic."""

    def __init__(self, grey0: Uint8Array, grey1: Uint8Array, config: RefineConfig) -> None:
        self._config = config
        self._side = 2 * config.radius_px + 1
        self._wide0 = _Sampler(grey0, config.radius_px + 1)
        self._sampler1 = _Sampler(grey1, config.radius_px)
        self._room = np.empty((2, _CHUNK, 3, self._side**2), np.float32)

    def align(
        self, points0: Float32Array, positions1: Float32Array, warps: Float32Array
    ) -> tuple[Float32Array, Float32Array]:
        """Move positions1 float32 [n, 2], in place, to where the patches around points0 fit, n <= _CHUNK.

        Returns:
            float32 [n] correlation there, and float32 [n] standard error of the position in its weakest direction.
        """
        levels = self._levels_and_differences(points0)
        patch, along_x, along_y = levels.transpose(1, 0, 2)
        spread = np.sqrt(_dot(patch, patch)) + _TINY
        xx, xy, yy = _dot(along_x, along_x) + _TINY, _dot(along_x, along_y), _dot(along_y, along_y) + _TINY
        inverse = 4 * _inverted(xx, xy, yy)  # of the normal equations: differences are twice the gradients
        to_move = -warps @ (inverse / 2).astype(np.float32)  # from differences to a move in image 1
        correlation = self._move(levels, spread, to_move, positions1, warps)
        # |patch1 - patch0|^2, were the spread of patch 1 that of patch 0
        residual = 2 * spread.astype(np.float64) ** 2 * np.maximum(1 - correlation, 0)
        degrees = self._side**2 - 4  # two of motion, gain and offset
        noise = np.sqrt(residual / degrees + _GREY_NOISE**2)
        return correlation, noise * np.sqrt(_largest_eigenvalue(inverse))

    def _levels_and_differences(self, centres: Float32Array) -> Float32Array:
        """Patches of image 0 and their central differences along x and y, without their means: float32 [n, 3, P]."""
        affine = np.zeros((len(centres), 2, 3), np.float32)
        affine[:, 0, 0] = affine[:, 1, 1] = 1
        affine[:, :, 2] = centres
        around = self._wide0.at(affine).reshape(-1, self._side + 2, self._side + 2)
        flat = self._room[0, : len(centres)]
        levels = flat.reshape(-1, 3, self._side, self._side)
        levels[:, 0] = around[:, 1:-1, 1:-1]
        np.subtract(around[:, 1:-1, 2:], around[:, 1:-1, :-2], out=levels[:, 1])
        np.subtract(around[:, 2:, 1:-1], around[:, :-2, 1:-1], out=levels[:, 2])
        flat -= _mean(flat)
        return flat

    def _move(
        self,
        levels: Float32Array,
        spread: Float32Array,
        to_move: Float32Array,
        positions1: Float32Array,
        warps: Float32Array,
    ) -> Float32Array:
        """Move positions1, in place, step by step; correlation float32 [n] where the last step began or ended."""
        config, spare = self._config, self._room[1]
        correlation = np.empty(len(levels), np.float32)
        affine = np.concatenate([warps, positions1[:, :, None]], axis=2)
        start, rows = positions1.copy(), np.arange(len(levels))
        at_rest = _dot(to_move, _dot(levels[:, 1:], levels[:, :1])[:, None])
        least_correlation, farthest_px = _HOPELESS * config.min_correlation, config.max_shift_px + _RETURN_PX
        for step in range(config.steps + 1):
            patch1 = self._sampler1.at(affine)
            patch1 -= _mean(patch1)
            spread1 = np.sqrt(_dot(patch1, patch1)) + _TINY
            products = _dot(levels, patch1[:, None])
            correlation[rows] = products[:, 0] / (spread * spread1)
            if step == config.steps:
                break
            move = _dot(to_move, products[:, None, 1:]) * (spread / spread1)[:, None] - at_rest
            affine[:, :, 2] += move
            positions1[rows] = affine[:, :, 2]
            is_lost = correlation[rows] < least_correlation
            is_lost |= _squared(affine[:, :, 2] - start) > farthest_px**2
            going_on = np.flatnonzero((_squared(move) > _SETTLED_PX**2) & ~is_lost)
            if not len(going_on):
                break
            rows, affine, start = rows[going_on], affine[going_on], start[going_on]
            spread, to_move, at_rest = spread[going_on], to_move[going_on], at_rest[going_on]
            # The mode keeps numpy from writing to a copy first.
            kept = np.take(levels, going_on, axis=0, out=spare[: len(going_on)], mode="clip")
            levels, spare = kept, levels
        return correlation


class _Sampler:
    """Bilinear samples of an image on warped grids; what it returns is overwritten by its next call."""

    def __init__(self, grey: Uint8Array, radius: int) -> None:
        """Of an image uint8 [H, W] on grids of 2 * radius + 1 pixels a side."""
        self._image = np.asarray(grey, np.float32)  # levels between pixels are not rounded then
        steps = np.arange(-radius, radius + 1, dtype=np.float32)
        x, y = np.meshgrid(steps, steps)
        self._grid = np.stack([x.ravel(), y.ravel(), np.ones(x.size, np.float32)])  # rows x, y, 1
        self._x, self._y, self._samples = np.empty((3, _CHUNK, x.size), np.float32)

    def at(self, affine: Float32Array) -> Float32Array:
        """Samples float32 [n, P] at affine [n, 2, 3] @ grid, n <= _CHUNK."""
        num = len(affine)
        x, y, samples = self._x[:num], self._y[:num], self._samples[:num]
        np.matmul(affine[:, 0], self._grid, out=x)
        np.matmul(affine[:, 1], self._grid, out=y)
        cv2.remap(self._image, x, y, cv2.INTER_LINEAR, dst=samples, borderMode=cv2.BORDER_REPLICATE)
        return samples


def _squared(moves: Float32Array) -> Float32Array:
    """Squared length of each row of [n, 2]."""
    return np.asarray(moves[:, 0] ** 2 + moves[:, 1] ** 2)


def _dot(rows: Float32Array, others: Float32Array) -> Float32Array:
    """Over the last axis, each row by itself."""
    return np.asarray(np.vecdot(rows, others))


def _inverted(xx: Float32Array, xy: Float32Array, yy: Float32Array) -> Float64Array:
    """Inverses [n, 2, 2] of symmetric matrices, by their entries."""
    adjugate = np.array([[yy, -xy], [-xy, xx]], np.float64)
    determinant = adjugate[0, 0] * adjugate[1, 1] - adjugate[0, 1] ** 2
    return np.asarray((adjugate / determinant).transpose(2, 0, 1))


def _largest_eigenvalue(matrices: Float64Array) -> Float64Array:
    """Of symmetric [N, 2, 2]."""
    a, b, c = matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 1]
    return np.asarray((a + c) / 2 + np.hypot((a - c) / 2, b))


def _mean(rows: Float32Array) -> Float32Array:
    """Over the pixels, the last axis, which stays."""
    num = rows.shape[-1]
    return _dot(rows, np.full(num, 1 / num, np.float32))[..., None]
