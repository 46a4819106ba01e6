"""Frames decoded no larger than they are needed, and no more often than memory allows."""

import threading
from collections import OrderedDict
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from gim.errors import CorruptObject
from gim.geometry.pixels import PixelMap, is_inside
from gim.photos.sizes import declared_size
from gim.records import BoolArray, Uint8Array

DEFAULT_BYTES = 512 * 2**20  # some 700 frames of 640 x 360: a shuffle window of pairs that share theirs
# libjpeg leaves out the high frequencies of a block, so a pixel is the mean of 2 x 2, 4 x 4, 8 x 8 ones.
# OpenCV names these flags for BGR only (IMREAD_REDUCED_COLOR_2 = 16 | IMREAD_COLOR_BGR, and so on).
_FLAGS = {1: cv2.IMREAD_COLOR_RGB} | {factor: 8 * factor | cv2.IMREAD_COLOR_RGB for factor in (2, 4, 8)}


class Frame(NamedTuple):
    """A decoded frame; its pixels are shared and read-only."""

    image: Uint8Array  # RGB [H, W, 3]
    reduction: int  # pixels of the stored frame to one of these: 1, 2, 4 or 8

    @property
    def from_stored(self) -> PixelMap:
        """Where positions of the stored frame lie in this one; columns and rows left over at the end move nothing."""
        return PixelMap.scaling(1 / self.reduction, 1 / self.reduction)

    def has(self, positions: npt.ArrayLike) -> BoolArray:
        """Whether positions [N, 2] of this frame lie on its pixels."""
        height, width, _ = self.image.shape
        return is_inside(positions, width, height)


class FrameCache:
    """Decodes frames and keeps those that were asked for last; called from many threads, shared by parts."""

    def __init__(self, *, max_bytes: int = DEFAULT_BYTES) -> None:
        """Begin with none; `max_bytes` of pixels are kept."""
        self._max_bytes = max_bytes
        self._guard = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], Frame] = OrderedDict()
        self._num_bytes = 0

    def frame(self, name: str, jpeg: bytes, size: tuple[int, int]) -> Frame:
        """A frame as `decode_frame` gives it.

        Args:
            name: the same one is the same picture.
            jpeg: its file.
            size: width and height that it is going to be fitted into, pixels.

        Raises:
            CorruptObject: not a readable image.
        """
        reduction = reduction_of(jpeg, size)
        with self._guard:
            if (name, reduction) in self._kept:
                self._kept.move_to_end((name, reduction))
                return self._kept[name, reduction]
        frame = decode_frame(jpeg, reduction)
        with self._guard:
            if (name, reduction) not in self._kept:
                self._kept[name, reduction] = frame
                self._num_bytes += frame.image.nbytes
            while self._num_bytes > self._max_bytes:
                _, oldest = self._kept.popitem(last=False)
                self._num_bytes -= oldest.image.nbytes
        return frame


def reduction_of(jpeg: bytes, size: tuple[int, int]) -> int:
    """By how much a frame may be decoded smaller and still be no smaller than what fits into `size` (width, height).

    Raises:
        CorruptObject: it does not say how large it is.
    """
    width, height = declared_size(jpeg)
    if not width or not height:
        raise CorruptObject(f"not a readable image ({len(jpeg)} bytes)")
    scale = min(size[0] / width, size[1] / height)
    return max((factor for factor in _FLAGS if factor * scale <= 1), default=1)


def decode_frame(jpeg: bytes, reduction: int) -> Frame:
    """A JPEG, with so many of its pixels to a side in one.

    Raises:
        CorruptObject: not a readable image.
    """
    flags = _FLAGS[reduction] | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), flags)
    if pixels is None:
        raise CorruptObject(f"not a readable image ({len(jpeg)} bytes)")
    pixels.flags.writeable = False
    return Frame(np.asarray(pixels, np.uint8), reduction)
