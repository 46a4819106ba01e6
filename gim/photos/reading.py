"""Photographs as people have them, read into 8-bit RGB: grey, transparent, 16-bit, floating point, turned by EXIF.

Whatever is done to the pixels is said in `Photo.notes`. The size is read and checked before anything is decoded.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from gim.errors import InvalidInput
from gim.geometry.two_view import guess_intrinsics
from gim.photos.exif import is_tiff, read_exif
from gim.photos.sizes import declared_size
from gim.records import Float64Array, Uint8Array

_READABLE = "PNG, JPEG, TIFF, WebP, BMP, GIF or PNM"
_MAX_BYTES = 2**30  # of a file
Pixels = npt.NDArray[Any]
_LEVELS = (255, 1023, 4095, 65535)  # brightest value of 8, 10, 12 and 16 bits: what sensors put into 16


@dataclass(frozen=True, slots=True)
class Photo:
    """One photograph as it is displayed, and what is known of its camera."""

    name: str
    image: Uint8Array  # RGB [H, W, 3]
    mask: Uint8Array | None  # [H, W], 0 where it is transparent; None: nowhere
    focal_px: float | None  # as its EXIF data say
    notes: tuple[str, ...]  # what was done to its pixels, for people

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        return self.image.shape[1], self.image.shape[0]

    def guess_intrinsics(self) -> tuple[Float64Array, str]:
        """K [3, 3] in pixels, and where its focal length is from."""
        source = "focal length from EXIF" if self.focal_px else "guessed, focal length 1.2 x the longer side"
        return guess_intrinsics(*self.size, self.focal_px), source


def read_photo(path: Path, max_pixels: int) -> Photo:
    """Read an image file.

    16 bits are scaled to 8 by the range of 10, 12 or 16 bits that holds them, other numbers by their own range; the
    turn that EXIF asks for is made; what is fully transparent is masked; of several pictures the first is taken.

    Args:
        path: of the file.
        max_pixels: larger images are refused before they are decoded.

    Raises:
        InvalidInput: absent, not an image of a format that is read, too large, or not a number everywhere.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"image {path}: {error.strerror or error}") from error
    if len(data) > _MAX_BYTES:
        raise InvalidInput(f"image {path}: more than 1 GiB")
    return decode_photo(str(path), data, max_pixels)


def decode_photo(name: str, data: bytes, max_pixels: int) -> Photo:
    """The same of the bytes of an image file.

    Raises:
        InvalidInput: as for `read_photo`.
    """
    width, height = declared_size(data)
    if width < 1 or height < 1:
        hint = " (HEIC and AVIF: export it as JPEG)" if data[4:8] == b"ftyp" else ""
        raise InvalidInput(f"image {name}: not a readable image; give {_READABLE}{hint}")
    if width * height > max_pixels:
        raise InvalidInput(f"image {name}: {width}x{height} pixels exceed limits.max_pixels={max_pixels}; shrink it")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise InvalidInput(f"image {name}: not a readable image") from error
    if pixels is None:
        raise InvalidInput(f"image {name}: not a readable image: damaged, or of an unusual kind")
    exif = read_exif(data)
    notes: list[str] = []
    colours, mask = _split(np.asarray(pixels), notes)
    image = np.asarray(cv2.cvtColor(_eight_bit(name, colours, notes), cv2.COLOR_BGR2RGB), np.uint8)
    turn = exif.orientation
    if turn != 1:
        notes.append("turned as its EXIF data say")
    if is_tiff(data):  # OpenCV turns these by itself, whatever it is asked for
        turn = 1
    focal_px = exif.focal_share * float(np.hypot(width, height)) if exif.focal_share else None
    return Photo(
        name,
        _upright(image, turn),
        None if mask is None else _upright(mask, turn),
        focal_px,
        tuple(notes),
    )


def _split(pixels: Pixels, notes: list[str]) -> tuple[Pixels, Uint8Array | None]:
    """Colours [H, W, 3] of a grey, colour or transparent picture, and where it can be seen at all."""
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2), None
    if pixels.shape[2] == 3:
        return pixels, None
    colours = pixels[..., :-1] if pixels.shape[2] == 4 else np.repeat(pixels[..., :1], 3, axis=2)
    mask = (pixels[..., -1] > 0).astype(np.uint8)
    if mask.all():
        return colours, None
    notes.append("transparent pixels are ignored")
    return colours, mask


def _eight_bit(name: str, pixels: Pixels, notes: list[str]) -> Uint8Array:
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    if not np.isfinite(pixels).all():
        raise InvalidInput(f"image {name}: has pixels that are no number (NaN or infinite); replace them first")
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.dtype == np.uint16:
        low, high = 0.0, float(next(level for level in _LEVELS if high <= level))
    notes.append(f"{pixels.dtype} pixels, {low:g} to {high:g} scaled to 8 bits")
    scale = 255 / (high - low) if high > low else 0.0
    return np.rint((pixels.astype(np.float64) - low) * scale).astype(np.uint8)


def _upright(image: Uint8Array, orientation: int) -> Uint8Array:
    """A stored picture as it is to be seen: EXIF's 2 to 4 mirror or turn it by a half, 5 to 8 swap its sides first."""
    if orientation >= 5:
        image = np.swapaxes(image, 0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
