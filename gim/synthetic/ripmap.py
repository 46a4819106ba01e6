"""Prefiltered textures: every combination of horizontal and vertical reduction, so that slanted surfaces stay sharp.

A ripmap (anisotropic mip-map) of a W x H texture is one image of about 2W x 2H: level (i, j),
reduced 2^i along u and 2^j along v, starts at (column_starts[i], row_starts[j]).
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from gim.records import Float32Array, Uint8Array

MAX_TEXELS = 16_000  # along one side: cv2.remap addresses 32,767

_SMALLEST_LEVEL = 4  # texels; a surface that small in the image shows no detail anyway
_SRGB = np.arange(256) / 255.0
_LINEAR = np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4)
TO_LINEAR: npt.NDArray[np.uint16] = np.round(_LINEAR * 65_535).astype(np.uint16)  # sRGB byte -> light, 16 bit
_LIGHT = np.arange(4096) / 4095.0
_ENCODED = np.where(_LIGHT <= 0.0031308, 12.92 * _LIGHT, 1.055 * _LIGHT ** (1 / 2.4) - 0.055)
_FROM_LINEAR: Uint8Array = np.round(_ENCODED * 255).astype(np.uint8)


def shrink(image: Uint8Array, width: int, height: int) -> Uint8Array:
    """Area-average an sRGB image in linear light, as a lens and a sensor do."""
    light = cv2.resize(cv2.LUT(image, TO_LINEAR), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(_FROM_LINEAR[np.right_shift(light, 4, dtype=np.uint16)], np.uint8)


@dataclass(frozen=True)
class Ripmap:
    """One texture with its reductions."""

    image: Uint8Array  # [about 2H, about 2W, 3] sRGB
    column_starts: Float32Array  # [levels along u]
    row_starts: Float32Array
    widths: Float32Array  # of each level along u, texels
    heights: Float32Array

    @staticmethod
    def of(texture: Uint8Array) -> "Ripmap":
        """All reductions of a texture uint8 [H, W, 3]."""
        widths, heights = _halvings(texture.shape[1]), _halvings(texture.shape[0])
        bands, column = [], texture
        for width in widths:
            column = column if width == texture.shape[1] else shrink(column, width, texture.shape[0])
            levels = [column]
            for height in heights[1:]:
                levels.append(shrink(levels[-1], width, height))
            bands.append(np.vstack(levels))
        starts = [np.concatenate([[0], np.cumsum(sizes[:-1])]).astype(np.float32) for sizes in (widths, heights)]
        return Ripmap(
            np.ascontiguousarray(np.hstack(bands)),
            starts[0],
            starts[1],
            np.array(widths, np.float32),
            np.array(heights, np.float32),
        )


def _halvings(size: int) -> list[int]:
    sizes = [size]
    while sizes[-1] > _SMALLEST_LEVEL:
        sizes.append((sizes[-1] + 1) // 2)
    return sizes
