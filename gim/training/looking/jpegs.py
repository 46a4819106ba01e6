"""Pictures as JPEGs of a width that a page has room for. Imports no torch."""

import cv2
import numpy as np

from gim.errors import CorruptObject
from gim.records import Uint8Array

_QUALITY = 82


def as_jpeg(picture: Uint8Array, *, max_width: int) -> bytes:
    """A picture, uint8 RGB [H, W, 3], as JPEG, shrunk where it is wider than `max_width` pixels."""
    if picture.shape[1] > max_width:
        size = (max_width, max(1, round(picture.shape[0] * max_width / picture.shape[1])))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise CorruptObject(f"cannot encode a picture of shape {picture.shape} as JPEG")
    return data.tobytes()
