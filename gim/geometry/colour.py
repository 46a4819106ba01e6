"""Images as arrays: what counts as one, and the way from grey to colour and back."""

import cv2
import numpy as np

from gim.errors import ShapeError
from gim.records import Uint8Array


def check_image(image: Uint8Array, mask: Uint8Array | None = None) -> None:
    """Raise ShapeError unless an image is uint8 RGB [H, W, 3] or grey [H, W], and its mask uint8 [H, W]."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ShapeError(f"expected a uint8 image [H, W] or [H, W, 3], got {image.dtype} {image.shape}")
    if mask is not None and (mask.dtype != np.uint8 or mask.shape != image.shape[:2]):
        raise ShapeError(f"expected a uint8 mask {image.shape[:2]}, got {mask.dtype} {mask.shape}")


def to_rgb(image: Uint8Array) -> Uint8Array:
    """An image [H, W, 3] as it is, a grey one [H, W] with the same in all three channels."""
    return image if image.ndim == 3 else np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)


def to_grey(image: Uint8Array) -> Uint8Array:
    """A grey image [H, W] as it is, the luma (ITU-R BT.601) of an RGB one [H, W, 3]."""
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
