"""Refinement: align the image patches of correspondences, and drop those that do not align.

Epipolar geometry says nothing about errors along the line, and every hop of a chain adds some. So the patch around each
point of frame 0 is compared with frame 1 itself, warped by the affine map that the correspondences nearby suggest, and
moved by Gauss-Newton steps until it fits (Lucas and Kanade, IJCAI 1981; gain and offset free). Point 0 stays.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from gim.labels.config import RefineConfig
from gim.records import BoolArray, Float32Array, Uint8Array

_RIDGE_PX = 4.0  # neighbours nearer than this say little about scale and turn
_LABEL_NOISE_PX = 0.3
_GREY_NOISE = np.float32(0.5)  # grey levels, of any picture: no residual proves a perfect position
_CHUNK = 256  # patches aligned together: their arrays stay in the cache
_TINY = np.float32(1e-3)  # keeps flat patches from dividing by zero


@dataclass(frozen=True, slots=True)
class Refinement:
    """What patch alignment makes of correspondences."""

    points: Float32Array  # [N, 4] points 1 moved where the patches align, else as they were
    is_aligned: BoolArray  # [N]
    is_plausible: BoolArray  # [N] moving roughly as all the others around do
    config: RefineConfig

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
        return Refinement(points, np.zeros(len(points), np.bool_), np.ones(len(points), np.bool_), config)
    fit = align_patches(grey0, grey1, points, local_warps(points, config.neighbours), config)
    is_aligned = (
        (fit.correlation > config.min_correlation)
        & (fit.shift_px < config.max_shift_px)
        & (fit.error_px < config.max_error_px)
    )
    refined = points.copy()
    refined[is_aligned, 2:] = fit.positions1[is_aligned]
    is_plausible = deviation(refined, config.neighbours) < config.max_plausible_deviation
    return Refinement(refined, is_aligned, is_plausible, config)


def deviation(points: Float32Array, neighbours: int) -> Float32Array:
    """How far each correspondence strays from the motion of its neighbours, in units of how far they stray themselves.

    The median residual of the neighbours under the point's own local affine map, over their median distance from that
    median (plus 0.3 px, the noise of a good label). Large on wrong matches, about 1 at depth edges.

    Args:
        points: float32 [N, 4] pixels.
        neighbours: looked at.

    Returns:
        float32 [N]; infinite when there are not enough neighbours.
    """
    if len(points) <= neighbours:
        return np.full(len(points), np.inf, np.float32)
    offset0, offset1 = _offsets_to_neighbours(points, neighbours)
    residual = offset1 - offset0 @ _affine(offset0, offset1).transpose(0, 2, 1)
    median = np.median(residual, axis=1)
    spread = np.median(np.linalg.norm(residual - median[:, None], axis=2), axis=1)
    return np.linalg.norm(median, axis=1) / (spread + _LABEL_NOISE_PX)  # type: ignore[no-any-return]


def local_warps(points: Float32Array, neighbours: int) -> Float32Array:
    """The affine part of the map from image 0 to image 1 around each correspondence, fitted to its neighbours.

    Args:
        points: float32 [N, 4] pixels, N > neighbours.
        neighbours: fitted to each.

    Returns:
        float32 [N, 2, 2]; the identity where the neighbours say nothing.
    """
    return _affine(*_offsets_to_neighbours(points, neighbours))


def _offsets_to_neighbours(points: Float32Array, neighbours: int) -> tuple[Float32Array, Float32Array]:
    """From each correspondence to its nearest ones in image 0: offsets [N, k, 2] in image 0 and in image 1."""
    _, nearest = cKDTree(points[:, :2]).query(points[:, :2], k=neighbours + 1)
    around = points[nearest[:, 1:]] - points[:, None]
    return around[..., :2], around[..., 2:]


def _affine(offset0: Float32Array, offset1: Float32Array) -> Float32Array:
    """Least-squares maps [N, 2, 2] from offsets [N, k, 2] to offsets, with a ridge towards the identity."""
    # About the neighbours' own centre: a wrong point among right neighbours must not bend the map.
    offset0 = offset0 - offset0.mean(axis=1, keepdims=True)
    offset1 = offset1 - offset1.mean(axis=1, keepdims=True)
    turned = offset0.transpose(0, 2, 1)
    normal = turned @ offset0 + np.float32(_RIDGE_PX**2) * np.eye(2, dtype=np.float32)
    change = np.linalg.solve(normal, turned @ (offset1 - offset0))
    return (np.eye(2) + change.transpose(0, 2, 1)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class PatchFit:
    """How patches of image 0 fit into image 1."""

    positions1: Float32Array  # [N, 2] pixels, where they fit best
    correlation: Float32Array  # [N] normalised, there
    shift_px: Float32Array  # [N] from where they were looked for
    error_px: Float32Array  # [N] standard error of the position in its weakest direction, from residual and texture


def align_patches(
    grey0: Uint8Array, grey1: Uint8Array, points: Float32Array, warps: Float32Array, config: RefineConfig
) -> PatchFit:
    """Gauss-Newton alignment of the warped patch around each point 1 with the patch around point 0.

    Inverse compositional: gradients and normal equations are those of image 0, made once (Baker and Matthews, IJCV
    2004). Gain and offset are removed by comparing normalised patches.

    Args:
        grey0: uint8 [H, W].
        grey1: uint8 [H, W].
        points: float32 [N, 4] pixels.
        warps: float32 [N, 2, 2], affine part of the map from image 0 to image 1.
        config: patch radius and number of steps.
    """
    chunks = [
        _align_chunk(grey0, grey1, points[first : first + _CHUNK], warps[first : first + _CHUNK], config)
        for first in range(0, len(points), _CHUNK)
    ]
    columns = ("positions1", "correlation", "shift_px", "error_px")
    return PatchFit(*(np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in columns))


def _align_chunk(
    grey0: Uint8Array, grey1: Uint8Array, points: Float32Array, warps: Float32Array, config: RefineConfig
) -> PatchFit:
    patch0, gradient_x, gradient_y, grid = _patches_with_gradient(grey0, points[:, :2], config.radius_px)
    spread0 = np.sqrt(_dot(patch0, patch0)) + _TINY
    normal = np.empty((len(points), 2, 2), np.float32)
    normal[:, 0, 0] = _dot(gradient_x, gradient_x) + _TINY
    normal[:, 1, 1] = _dot(gradient_y, gradient_y) + _TINY
    normal[:, 0, 1] = normal[:, 1, 0] = _dot(gradient_x, gradient_y)
    inverse = np.linalg.inv(normal)
    step1 = -warps @ inverse  # from image gradients to a move in image 1
    around_x = np.outer(warps[:, 0, 0], grid[:, 0]) + np.outer(warps[:, 0, 1], grid[:, 1])
    around_y = np.outer(warps[:, 1, 0], grid[:, 0]) + np.outer(warps[:, 1, 1], grid[:, 1])
    positions1 = points[:, 2:].copy()
    for step in range(config.steps + 1):
        patch1 = _sample(grey1, around_x + positions1[:, :1], around_y + positions1[:, 1:])
        patch1 -= patch1.mean(axis=1, keepdims=True)
        spread1 = np.sqrt(_dot(patch1, patch1)) + _TINY
        residual = patch1 * (spread0 / spread1)[:, None] - patch0
        if step < config.steps:
            slope = np.stack([_dot(gradient_x, residual), _dot(gradient_y, residual)], axis=1)
            positions1 += (step1 @ slope[..., None])[..., 0]
    degrees = len(grid) - 4  # two of motion, gain and offset
    noise = np.sqrt(_dot(residual, residual) / degrees + _GREY_NOISE**2)
    return PatchFit(
        positions1=positions1,
        correlation=_dot(patch0, patch1) / (spread0 * spread1),
        shift_px=np.linalg.norm(positions1 - points[:, 2:], axis=1),
        error_px=noise * np.sqrt(_largest_eigenvalue(inverse)),
    )


def _dot(rows: Float32Array, others: Float32Array) -> Float32Array:
    """Row by row, float32 [N] of two [N, P]."""
    return np.einsum("np,np->n", rows, others)  # type: ignore[no-any-return]


def _largest_eigenvalue(matrices: Float32Array) -> Float32Array:
    """Of symmetric [N, 2, 2]."""
    a, b, c = matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 1]
    return ((a + c) / 2 + np.hypot((a - c) / 2, b)).astype(np.float32)


def _patches_with_gradient(
    grey: Uint8Array, centres: Float32Array, radius: int
) -> tuple[Float32Array, Float32Array, Float32Array, Float32Array]:
    """Zero-mean patches and gradients along x and y [N, P], and the offsets [P, 2] of their pixels."""
    steps = np.arange(-radius - 1, radius + 2, dtype=np.float32)
    wide = np.stack(np.meshgrid(steps, steps), axis=-1)
    x, y = centres[:, :1] + wide[..., 0].ravel(), centres[:, 1:] + wide[..., 1].ravel()
    around = _sample(grey, x, y).reshape(-1, len(steps), len(steps))
    along_x: Float32Array = (around[:, 1:-1, 2:] - around[:, 1:-1, :-2]).reshape(len(centres), -1) / np.float32(2)
    along_y: Float32Array = (around[:, 2:, 1:-1] - around[:, :-2, 1:-1]).reshape(len(centres), -1) / np.float32(2)
    patch = around[:, 1:-1, 1:-1].reshape(len(centres), -1)
    for rows in (patch, along_x, along_y):
        np.subtract(rows, rows.mean(axis=1, keepdims=True), out=rows)
    return patch, along_x, along_y, wide[1:-1, 1:-1].reshape(-1, 2)


def _sample(grey: Uint8Array, x: Float32Array, y: Float32Array) -> Float32Array:
    """Bilinear samples float32 [N, P] at positions x, y float32 [N, P]."""
    return cv2.remap(grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
