"""How large an image is matched, and back: sizes by rule, and matches in pixels of the image as it was given."""

from dataclasses import dataclass

import cv2
import numpy as np

from gim.geometry.pixels import PixelMap
from gim.records import Float32Array, Uint8Array


@dataclass(frozen=True, slots=True)
class SizeRule:
    """How images are brought to the size they are matched at."""

    longest_side: int | None = None  # images are shrunk to it, pixels; None: as they are
    multiple_of: int = 1  # then sides are cut to multiples of it
    padded_to: tuple[int, int] | None = None  # width and height, filled with black at the right and below
    is_enlarged: bool = False  # whether smaller images are brought to that side too
    shortest_side: int | None = None  # the same of the shorter side, in place of `longest_side`


@dataclass(frozen=True, slots=True)
class ResizedImage:
    """An image as it is matched."""

    pixels: Uint8Array  # [H', W', 3]
    size: tuple[int, int]  # width and height of what is filled by the image, the rest is padding
    original: tuple[int, int]  # width and height of the image as it was given
    mask: Uint8Array | None  # [H', W'] 0 where there is only padding; None without any


def matched_size(width: int, height: int, rule: SizeRule) -> tuple[int, int]:
    """Width and height at which an image is matched, before padding; at least one multiple each."""
    if rule.shortest_side is not None:
        scale = rule.shortest_side / min(width, height)
    else:
        scale = rule.longest_side / max(width, height) if rule.longest_side else 1.0
    scale = scale if rule.is_enlarged else min(scale, 1.0)
    sides = (round(width * scale), round(height * scale))
    step = rule.multiple_of
    return max(sides[0] // step, 1) * step, max(sides[1] // step, 1) * step


def size_scale(width: int, height: int, rule: SizeRule) -> tuple[float, float]:
    """What width and height of an image are multiplied by before it is matched."""
    matched = matched_size(width, height, rule)
    return matched[0] / width, matched[1] / height


def resized(image: Uint8Array, rule: SizeRule) -> ResizedImage:
    """An image at the size it is matched at: bilinear, as the original does.

    Args:
        image: [H, W, 3].
        rule: of the benchmark, or of the protocol where that has one.
    """
    height, width = image.shape[:2]
    size = matched_size(width, height, rule)
    pixels = image if size == (width, height) else np.asarray(cv2.resize(image, size), np.uint8)
    if rule.padded_to is None:
        return ResizedImage(pixels, size, (width, height), None)
    right, below = (max(whole - side, 0) for whole, side in zip(rule.padded_to, size, strict=True))
    padded = cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    mask = np.zeros(padded.shape[:2], np.uint8)
    mask[: size[1], : size[0]] = 255
    return ResizedImage(np.asarray(padded, np.uint8), size, (width, height), mask)


def to_original(points: Float32Array, image0: ResizedImage, image1: ResizedImage) -> Float32Array:
    """Correspondences [N, 4] of two resized images, in pixels of the originals whose origin is a pixel's centre."""
    back0, back1 = (PixelMap.resizing(item.size, item.original) for item in (image0, image1))
    return np.hstack([back0.apply(points[:, :2]), back1.apply(points[:, 2:])])
