"""What a photograph's EXIF data say that matters here: which side is up, and the focal length.

EXIF is a TIFF file within the image file. Damaged data say nothing rather than raise: the picture may still be good.
"""

import math
import struct
from dataclasses import dataclass

_ORIENTATION, _EXIF_FOLDER = 0x0112, 0x8769
_FOCAL_MM, _FOCAL_35MM, _WIDTH, _HEIGHT = 0x920A, 0xA405, 0xA002, 0xA003
_PLANE_X_RESOLUTION, _PLANE_UNIT = 0xA20E, 0xA210
_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}  # of the focal plane's resolution
_DIAGONAL_35MM = math.hypot(36, 24)
_FORMATS = {1: "B", 3: "H", 4: "I", 5: "II"}  # types of values: byte, short, long, rational
_MAX_ENTRIES = 1000

Tags = dict[int, float]


@dataclass(frozen=True, slots=True)
class Exif:
    """What is known of how a photograph was taken."""

    orientation: int = 1  # 1 to 8, as in the standard; 1 = as stored
    focal_share: float | None = None  # focal length over the diagonal of the picture


def read_exif(data: bytes) -> Exif:
    """The EXIF data of an image file: JPEG, PNG, WebP or TIFF."""
    block = _tiff_block(data)
    tags = _tags(block)
    orientation = int(tags.get(_ORIENTATION, 1))
    return Exif(orientation if 1 <= orientation <= 8 else 1, _focal_share(tags))


def is_tiff(data: bytes) -> bool:
    """Whether a file, or a block of EXIF data, begins as a TIFF."""
    return data[:4] in (b"II*\0", b"MM\0*")


def tiff_size(data: bytes) -> tuple[int, int]:
    """Width and height that a TIFF file's first picture states; (0, 0) when it states none."""
    tags = _tags(data)
    return int(tags.get(0x0100, 0)), int(tags.get(0x0101, 0))


def _focal_share(tags: Tags) -> float | None:
    """From the equivalent for film of 36 x 24 mm (equal diagonals, CIPA DCG-001), else from the sensor's resolution."""
    if tags.get(_FOCAL_35MM, 0) > 0:
        share = tags[_FOCAL_35MM] / _DIAGONAL_35MM
    elif all(tags.get(tag, 0) > 0 for tag in (_FOCAL_MM, _PLANE_X_RESOLUTION, _WIDTH, _HEIGHT)):
        pixels_per_mm = tags[_PLANE_X_RESOLUTION] / _UNIT_MM.get(int(tags.get(_PLANE_UNIT, 2)), 25.4)
        share = tags[_FOCAL_MM] * pixels_per_mm / math.hypot(tags[_WIDTH], tags[_HEIGHT])
    else:
        return None
    return share if 0.1 < share < 50 else None  # from a fisheye to the longest telescope


def _tiff_block(data: bytes) -> bytes:
    if is_tiff(data):
        return data
    if data.startswith(b"\xff\xd8"):
        return _in_jpeg(data)
    if data.startswith(b"\x89PNG"):
        return _in_chunks(data, 8, b"eXIf", ">I4s", (0, 1), 4)
    if data[8:12] == b"WEBP":
        return _in_chunks(data, 12, b"EXIF", "<4sI", (1, 0), 0).removeprefix(b"Exif\0\0")
    return b""


def _in_jpeg(data: bytes) -> bytes:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4])
        if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            return data[at + 10 : at + 2 + length]
        at += 2 + max(length, 2)
    return b""


def _in_chunks(data: bytes, at: int, wanted: bytes, head: str, order: tuple[int, int], behind: int) -> bytes:
    """The content of a chunk: of PNG length, name, content, checksum; of RIFF name, length, content, padding."""
    while at + 8 <= len(data):
        fields = struct.unpack_from(head, data, at)
        length, name = fields[order[0]], fields[order[1]]
        if name == wanted:
            return data[at + 8 : at + 8 + length]
        at += 8 + length + (behind or length % 2)
    return b""


def _tags(block: bytes) -> Tags:
    """The first value of every number in the main folder and the EXIF folder of a TIFF block."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4], "")
    if not order or len(block) < 8:
        return {}
    tags = _folder(block, struct.unpack_from(order + "I", block, 4)[0], order)
    return tags | _folder(block, int(tags.get(_EXIF_FOLDER, len(block))), order)


def _folder(block: bytes, at: int, order: str) -> Tags:
    tags: Tags = {}
    try:
        (count,) = struct.unpack_from(order + "H", block, at)
        for entry in range(at + 2, at + 2 + 12 * min(count, _MAX_ENTRIES), 12):
            tag, kind, _, place = struct.unpack_from(order + "HHII", block, entry)
            if kind == 5:
                numerator, denominator = struct.unpack_from(order + "II", block, place)
                tags[tag] = numerator / denominator if denominator else 0.0
            elif kind in _FORMATS:
                tags[tag] = struct.unpack_from(order + _FORMATS[kind], block, entry + 8)[0]
    except struct.error:
        pass  # cut off: what was read so far counts
    return tags
