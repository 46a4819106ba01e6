"""From decoded frames to the pixels that are analysed and stored: luma, colours, fields, orientation, size.

Stored pixels are as coded: a sample aspect ratio other than 1 is reported and not applied, because epipolar geometry
and homographies hold in any affine grid, and resampling would only lose detail. Everything here is a function of one
frame, so it does not depend on the number of decoder threads.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import av
import av.filter
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from gim.records import Uint8Array

_SMALL_WIDTH = 160  # pixels; enough to see cuts and stillness
_HD_HEIGHT = 720  # players take unmarked video for BT.709 from here on, for BT.601 below
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
_FIXED_POINT = 16  # fractional bits of the display matrix
_LIMITED_BLACK, _LIMITED_GAIN = 16, 255 / 219  # ITU-R BT.601 and BT.709: luma codes 16 to 235
_COLORSPACES = {  # AVColorSpace -> swscale's
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}


@dataclass(frozen=True, slots=True)
class Orientation:
    """How a coded frame becomes a displayed one: transpose, then flips. One of the eight without resampling."""

    transposes: bool = False
    flips_columns: bool = False
    flips_rows: bool = False

    @property
    def is_mirrored(self) -> bool:
        """Whether the eight-fold position is a mirror image."""
        return self.transposes ^ self.flips_columns ^ self.flips_rows

    @property
    def rotation_degrees(self) -> int:
        """Clockwise, after mirroring left to right where `is_mirrored`."""
        if self.transposes:
            return 270 if self.flips_rows else 90
        return 180 if self.flips_rows else 0

    def apply(self, image: Uint8Array) -> Uint8Array:
        """The displayed image [H', W', ...] of a coded one [H, W, ...]."""
        if self.transposes:
            image = image.swapaxes(0, 1)
        if self.flips_columns:
            image = image[:, ::-1]
        if self.flips_rows:
            image = image[::-1]
        return np.ascontiguousarray(image)


def read_orientation(frame: av.VideoFrame) -> Orientation:
    """The orientation of a frame's display matrix (ISO/IEC 14496-12, 8.3.2).

    A matrix that turns by anything but a multiple of 90 degrees is ignored: the picture would need resampling and
    corners that nobody filmed, and labels of frames as coded are just as true.
    """
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Orientation()
    a, b, _, c, d, *_ = (int(value) >> (_FIXED_POINT - 1) for value in np.frombuffer(data, "<i4"))
    # (x, y) is shown at (a x + c y, b x + d y); half units, so that 0.5 and above counts as set.
    if a and d and not (b or c):
        return Orientation(flips_columns=a < 0, flips_rows=d < 0)
    if b and c and not (a or d):
        return Orientation(transposes=True, flips_columns=c < 0, flips_rows=b < 0)
    return Orientation()


@dataclass(frozen=True, slots=True)
class StoredForm:
    """What every stored frame of a video looks like."""

    width: int  # displayed
    height: int
    orientation: Orientation

    def fit(self, image: Uint8Array) -> Uint8Array:
        """A coded image [H, W, ...] shrunk (or, after a change of size in mid-stream, scaled) and turned."""
        size = (self.height, self.width) if self.orientation.transposes else (self.width, self.height)
        if image.shape[1::-1] != size:
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        return self.orientation.apply(image)


def choose_form(frame: av.VideoFrame, max_long_side: int) -> StoredForm:
    """The stored form of a video, from its first frame."""
    orientation = read_orientation(frame)
    width, height = (frame.height, frame.width) if orientation.transposes else (frame.width, frame.height)
    scale = min(1.0, max_long_side / max(width, height))
    return StoredForm(max(1, round(width * scale)), max(1, round(height * scale)), orientation)


def small_luma(frame: av.VideoFrame, size: tuple[int, int] | None = None) -> Uint8Array:
    """The luma of a frame, some 160 pixels wide, full range, as coded; cheap enough for every frame.

    Args:
        frame: any pixel format; of an interlaced frame only the first field is read.
        size: width and height of the result, where it must equal that of an earlier frame.

    Returns:
        uint8 [h, w].
    """
    luma = _luma_plane(frame)
    if frame.interlaced_frame:
        luma = luma[::2]
    if size is None:
        factor = max(1, round(frame.width / _SMALL_WIDTH))
        rows = max(1, round(factor * luma.shape[0] / frame.height))
        size = (max(1, luma.shape[1] // factor), max(1, luma.shape[0] // rows))
    return _to_full_range(_average_blocks(luma, size), frame)


def _average_blocks(luma: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """Shrink by area; where the factors are whole, the few columns and rows beyond are cut off first."""
    columns, rows = luma.shape[1] // size[0] * size[0], luma.shape[0] // size[1] * size[1]
    luma = luma[:rows, :columns] if columns and rows else luma
    # OpenCV halves with vector instructions: three halvings are five times as fast as blocks of eight.
    while columns and rows and columns % (2 * size[0]) == 0 and rows % (2 * size[1]) == 0:
        columns, rows = columns // 2, rows // 2
        luma = cv2.resize(luma, (columns, rows), interpolation=cv2.INTER_AREA)
    return luma if (columns, rows) == size else cv2.resize(luma, size, interpolation=cv2.INTER_AREA)


def full_luma(frame: av.VideoFrame) -> Uint8Array:
    """The luma of a frame, uint8 [H, W], full range, as coded."""
    return _to_full_range(_luma_plane(frame), frame)


def to_rgb(frame: av.VideoFrame) -> Uint8Array:
    """The colours of a frame, uint8 [H, W, 3] RGB, as coded; matrix and range as the frame or else its size says."""
    unmarked = Colorspace.ITU709 if frame.height >= _HD_HEIGHT else Colorspace.ITU601
    converted = frame.reformat(
        format="rgb24",
        src_colorspace=_COLORSPACES.get(frame.colorspace, unmarked),
        src_color_range=ColorRange.JPEG if _is_full_range(frame) else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.BILINEAR,
        threads=1,
    )
    return np.asarray(converted.to_ndarray(), np.uint8)


def deinterlace(frame: av.VideoFrame) -> av.VideoFrame:
    """One instant of an interlaced frame: its first field, the lines between found along edges (FFmpeg's estdif).

    Spatial on purpose: it needs no neighbouring frame, so a sample stays the frame its index names. A frame that does
    not call itself interlaced is returned as it is.
    """
    if not frame.interlaced_frame:
        return frame
    graph = av.filter.Graph()  # built anew: a used one would answer with the frame before
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 1000)
    )
    graph.link_nodes(source, graph.add("estdif", "mode=frame:deint=interlaced"), graph.add("buffersink")).configure()
    graph.push(frame)
    graph.push(frame)  # the filter gives a frame when it sees the next
    return graph.pull()  # type: ignore[return-value]


def _luma_plane(frame: av.VideoFrame) -> npt.NDArray[Any]:
    """The luma samples [H, W] without a copy where a plane holds nothing else: uint8, or uint16 of deeper formats."""
    if not _has_luma_plane(frame.format.name):
        frame = frame.reformat(format="gray", dst_color_range=ColorRange.JPEG, threads=1)
    plane: Any = frame.planes[0]
    dtype = np.dtype(np.uint8 if frame.format.components[0].bits == 8 else "<u2")
    rows: npt.NDArray[Any] = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height].view(dtype)
    return rows[:, : frame.width]


@cache
def _has_luma_plane(pixel_format: str) -> bool:
    form = av.VideoFormat(pixel_format)
    components = form.components
    return (
        not (form.is_rgb or form.has_palette or form.name.endswith("be"))
        and bool(components)
        and 8 <= components[0].bits <= 16
        and all(component.plane != 0 for component in components[1:])
    )


def _is_full_range(frame: av.VideoFrame) -> bool:
    unmarked_grey = frame.color_range == 0 and frame.format.name.startswith("gray")
    return frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj") or unmarked_grey


def _to_full_range(luma: npt.NDArray[Any], frame: av.VideoFrame) -> Uint8Array:
    if not _has_luma_plane(frame.format.name):
        return luma.astype(np.uint8)  # converted by swscale
    if luma.dtype != np.uint8:
        # P010 and its kin keep their bits at the top of the word, all others at the bottom.
        bits = 16 if frame.format.name.startswith("p") else frame.format.components[0].bits
        luma = (luma >> (bits - 8)).astype(np.uint8)
    if _is_full_range(frame):
        return np.ascontiguousarray(luma)
    # (Y - 16) * 255 / 219, rounded and saturated; twice as fast as a table.
    above_black = cv2.subtract(luma, _LIMITED_BLACK)  # type: ignore[call-overload]
    return np.asarray(cv2.convertScaleAbs(above_black, dst=above_black, alpha=_LIMITED_GAIN), np.uint8)
