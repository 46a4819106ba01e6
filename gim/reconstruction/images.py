"""The photographs of a folder and their masks: what is known of each before it is decoded, and reading one."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from gim.errors import InvalidInput
from gim.photos.exif import is_tiff, read_exif
from gim.photos.reading import decode_photo
from gim.photos.sizes import declared_size
from gim.reconstruction.orientation import TURNS, turn_upright
from gim.records import Uint8Array

_READ = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".pbm", ".pgm", ".ppm", ".pnm")
_REFUSED = (".heic", ".heif", ".avif", ".jp2", ".exr")  # by name: a folder of them is not an empty one


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One photograph of the folder."""

    name: str  # path below the folder, with `/`: COLMAP's name of it
    path: Path
    mask_path: Path | None
    content_id: str  # hash of the file and its mask
    stored_size: tuple[int, int]  # (width, height), pixels, as in the file
    orientation: int = 1  # of EXIF, one of `orientation.TURNS`
    focal_px: float | None = None  # as its EXIF data say


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """Pixels of a photograph, upright."""

    image: Uint8Array  # RGB [H, W, 3]
    mask: Uint8Array | None  # [H, W], 0 = ignore


def find_images(folder: Path, masks: Path | None, max_pixels: int) -> list[SourceImage]:
    """The images below a folder, ascending by name; decodes none.

    Args:
        folder: searched with all folders in it; what has no suffix of an image, or begins with a dot, is passed over.
        masks: folder of COLMAP's layout, `<image name>.png`, 0 = ignore; an image without one is used whole.
        max_pixels: larger images are refused.

    Raises:
        InvalidInput: fewer than two images, one that is not readable, too large or mirrored, or masks of no image.
    """
    if not folder.is_dir():
        raise InvalidInput(f"images {folder}: no such folder")
    if masks is not None and not masks.is_dir():
        raise InvalidInput(f"masks {masks}: no such folder")
    paths = sorted(path for path in folder.rglob("*") if _is_wanted(path.relative_to(folder)) and path.is_file())
    if len(paths) < 2:
        found = "one image" if paths else "no images"
        raise InvalidInput(f"images {folder}: {found}; a reconstruction needs at least two")
    images = [_described(path, path.relative_to(folder).as_posix(), masks, max_pixels) for path in paths]
    if masks is not None and not any(image.mask_path for image in images):
        raise InvalidInput(f"masks {masks}: none of an image of {folder}; expected names like {images[0].name}.png")
    return images


def load_image(image: SourceImage, max_pixels: int) -> LoadedImage:
    """Decode an image and its mask, upright; transparent pixels are masked as well.

    Raises:
        InvalidInput: damaged, or the mask has another size.
    """
    photo = decode_photo(str(image.path), _bytes_of(image.path), max_pixels)
    if image.mask_path is None:
        return LoadedImage(photo.image, photo.mask)
    mask = cv2.imdecode(np.frombuffer(_bytes_of(image.mask_path), np.uint8), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise InvalidInput(f"mask {image.mask_path}: not a readable image")
    size = (mask.shape[1], mask.shape[0])
    if size != image.stored_size:
        raise InvalidInput(
            f"mask {image.mask_path}: {_text(size)} pixels, but {image.path} has {_text(image.stored_size)}"
        )
    upright = turn_upright(np.asarray(mask, np.uint8), image.orientation)
    return LoadedImage(photo.image, upright if photo.mask is None else np.minimum(upright, photo.mask * np.uint8(255)))


def _is_wanted(name: Path) -> bool:
    return name.suffix.lower() in (*_READ, *_REFUSED) and not any(part.startswith(".") for part in name.parts)


def _described(path: Path, name: str, masks: Path | None, max_pixels: int) -> SourceImage:
    data = _bytes_of(path)
    width, height = declared_size(data)
    if min(width, height) < 1 or width * height > max_pixels:
        decode_photo(str(path), data, max_pixels)  # says what is wrong with it
        raise InvalidInput(f"image {path}: not a readable image")
    exif = read_exif(data)
    orientation = 1 if is_tiff(data) else exif.orientation  # as `decode_photo` reads it
    if orientation not in TURNS:
        raise InvalidInput(
            f"image {path}: its EXIF data ask to mirror it, which no camera does; store it as it is seen"
        )
    mask_path = masks / f"{name}.png" if masks else None
    if mask_path is None or not mask_path.is_file():
        mask_path = None
    content = hashlib.sha256(data)
    content.update(b"\0" + (_bytes_of(mask_path) if mask_path else b""))
    focal_px = exif.focal_share * float(np.hypot(width, height)) if exif.focal_share else None
    return SourceImage(name, path, mask_path, content.hexdigest()[:32], (width, height), orientation, focal_px)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"image {path}: {error.strerror or error}") from error


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
