"""Colour and sharpness of one image: drawn first, then applied, so that what was drawn can be looked at.

The operations are those of the published sets (albumentations 1.0), in their order. Two differ, for the sake of the
labels: motion blur is centred, where the original also shifts the image by up to 12 px, and a grey pixel stays grey.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from gim.records import Float32Array, Uint8Array
from gim.training.augment.config import PhotometricConfig, Range


@dataclass(frozen=True, slots=True)
class PhotometricDraw:
    """What happens to one image; the default is nothing."""

    contrast: float = 1.0  # factor of values
    brightness: float = 0.0  # then added, share of white
    blur_px: int = 1  # side of a box
    motion_px: tuple[float, float] = (0.0, 0.0)  # (x, y) from the motion's start to its end
    gamma: float = 1.0
    hsv: tuple[float, float, float] = (0.0, 0.0, 0.0)  # added to OpenCV's hue, saturation and value


def draw_photometric(config: PhotometricConfig, rng: np.random.Generator) -> PhotometricDraw:
    """Draw what happens to one image."""
    if rng.random() >= config.probability:
        return PhotometricDraw()
    changes: dict[str, object] = {}
    if rng.random() < config.brightness_contrast_probability:
        changes["contrast"] = 1 + _uniform(config.contrast, rng)
        changes["brightness"] = _uniform(config.brightness, rng)
    if rng.random() < config.blur_probability:
        changes["blur_px"] = _odd(config.blur_px, rng)
    if rng.random() < config.motion_blur_probability:
        # Between two random pixels of a square, as published.
        ends = rng.integers(_odd(config.motion_blur_px, rng), size=(2, 2))
        changes["motion_px"] = (float(ends[1, 0] - ends[0, 0]), float(ends[1, 1] - ends[0, 1]))
    if rng.random() < config.gamma_probability:
        changes["gamma"] = _uniform(config.gamma, rng)
    if rng.random() < config.hsv_probability:
        changes["hsv"] = tuple(_uniform(limits, rng) for limits in (config.hue, config.saturation, config.value))
    return PhotometricDraw(**changes)  # type: ignore[arg-type]


def _uniform(limits: Range, rng: np.random.Generator) -> float:
    return float(rng.uniform(*limits))


def _odd(limits: tuple[int, int], rng: np.random.Generator) -> int:
    low, high = limits
    return low + 2 * int(rng.integers((high - low) // 2 + 1))


def apply_photometric(image: Uint8Array, draw: PhotometricDraw, *, scale: float = 1.0) -> Uint8Array:
    """Change an image as drawn; every position keeps what was there.

    Args:
        image: uint8 RGB [H, W, 3]; not written to.
        draw: what happens.
        scale: pixels of this image per pixel that lengths in `draw` are counted in.

    Returns:
        uint8 [H, W, 3]; the image itself where nothing happens.
    """
    if draw.contrast != 1 or draw.brightness != 0:
        image = _mapped(image, np.arange(256) * draw.contrast + 255 * draw.brightness)
    side_px = 2 * round((draw.blur_px * scale - 1) / 2) + 1
    if side_px > 1:
        image = np.asarray(cv2.blur(image, (side_px, side_px)), np.uint8)
    motion = np.array(draw.motion_px) * scale
    if np.abs(motion).max() > 0:
        image = np.asarray(cv2.filter2D(image, -1, motion_kernel(*motion)), np.uint8)
    if draw.gamma != 1:
        image = _mapped(image, 255 * (np.arange(256) / 255) ** draw.gamma)
    return _shifted_hsv(image, draw.hsv) if any(draw.hsv) else image


def motion_kernel(x_px: float, y_px: float) -> Float32Array:
    """A straight motion seen by an open shutter: float32 [k, k], sum 1, symmetric about its centre.

    Symmetry keeps every point of the image where it is, on average.
    """
    radius = math.ceil(max(abs(x_px), abs(y_px)) / 2)
    steps = np.linspace(-0.5, 0.5, 8 * radius + 1)
    x, y = radius + x_px * steps, radius + y_px * steps
    kernel = np.zeros((2 * radius + 2, 2 * radius + 2))
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    for dx in (0, 1):
        for dy in (0, 1):
            weight = (1 - np.abs(x - column - dx)) * (1 - np.abs(y - row - dy))
            np.add.at(kernel, (row + dy, column + dx), weight)
    return np.asarray(kernel[:-1, :-1] / kernel.sum(), np.float32)


def _mapped(image: Uint8Array, values: npt.NDArray[np.floating[Any]]) -> Uint8Array:
    return np.asarray(cv2.LUT(image, _bytes(values)), np.uint8)


def _shifted_hsv(image: Uint8Array, shift: tuple[float, float, float]) -> Uint8Array:
    levels = np.arange(256.0)
    hue, saturation, value = levels + round(shift[0]), levels + shift[1], levels + shift[2]
    saturation[0] = 0  # else red comes into what is grey, whose hue is not known
    table = np.stack([_bytes(hue % 180), _bytes(saturation), _bytes(value)], axis=1)[None]
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), table)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def _bytes(values: npt.NDArray[np.floating[Any]]) -> Uint8Array:
    return np.asarray(np.rint(values).clip(0, 255), np.uint8)
