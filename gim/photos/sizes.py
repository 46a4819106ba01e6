"""The size an image file states in its first bytes, so that one too large is refused before it is decoded."""

import re
import struct

from gim.photos.exif import is_tiff, tiff_size

_NO_FRAME_MARKERS = {0xC4, 0xC8, 0xCC}  # of JPEG, among those that begin a frame and state its size
_BARE_MARKERS = {0x01, *range(0xD0, 0xDA)}  # without a length; no writer puts one before the frame, but a forger may
_PNM = re.compile(rb"P[1-6](?:\s+|\s*#[^\n]*\n)+(\d+)(?:\s+|\s*#[^\n]*\n)+(\d+)\s")


def declared_size(data: bytes) -> tuple[int, int]:
    """Width and height that a PNG, JPEG, TIFF, WebP, BMP, GIF or PNM file states; (0, 0) for anything else."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height = struct.unpack_from(">II", data, 16)
        elif data.startswith(b"\xff\xd8"):
            width, height = _jpeg_size(data)
        elif is_tiff(data):
            width, height = tiff_size(data)
        elif data[8:12] == b"WEBP":
            width, height = _webp_size(data)
        elif data.startswith(b"BM"):
            width, height = _bmp_size(data)
        elif data[:6] in (b"GIF87a", b"GIF89a"):
            width, height = struct.unpack_from("<HH", data, 6)
        elif stated := _PNM.match(data[:4096]):
            width, height = int(stated[1]), int(stated[2])
        else:
            return 0, 0
    except struct.error:  # cut off
        return 0, 0
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME_MARKERS:
            return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        if marker in _BARE_MARKERS:
            return 0, 0
        # 0xFF may be repeated as padding before a marker.
        at += 1 if marker == 0xFF else 2 + length
    return 0, 0


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def _bmp_size(data: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 14)[0] == 12:  # the oldest header
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)  # negative: stored from top to bottom
