"""Depth maps as they are published, as float32 in the unit of the poses; 0 where nothing is known.

16-bit PNG (TUM, KITTI, ScanNet), float TIFF, `.npy`, and COLMAP's `.bin` maps. Depth is along the camera's z axis.
"""

from pathlib import Path

import cv2
import numpy as np

from gim import npy
from gim.benchmarks.building.scene import DepthFile, SourceImage, named_first
from gim.errors import InvalidInput
from gim.records import Float32Array

_SUFFIXES = (".png", ".npy", ".tif", ".tiff")
_COLMAP_SUFFIXES = (".geometric.bin", ".photometric.bin", ".bin")
_HEADER_BYTES = 64  # of COLMAP's maps: `width&height&channels&`


def read_depth(file: DepthFile) -> Float32Array:
    """Depth of an image's pixels.

    Returns:
        float32 [H, W], 0 where it is not known.

    Raises:
        InvalidInput: absent, or no map of depths.
    """
    try:
        data = file.path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{file.path}: cannot be read ({error.strerror})") from error
    try:
        depth = _decode(file, data)
    except (ValueError, cv2.error) as error:
        raise InvalidInput(f"{file.path}: not a depth map ({error})") from error
    if depth is None or depth.ndim != 2 or 0 in depth.shape:
        raise InvalidInput(f"{file.path}: not a depth map: expected one number per pixel")
    if depth.dtype == np.uint8:
        raise InvalidInput(f"{file.path}: a picture of 8 bits, not a depth map; give 16-bit PNG, TIFF, npy or bin")
    scale = file.units_per_unit if np.issubdtype(depth.dtype, np.integer) else 1.0
    metres = np.asarray(depth, np.float32) / np.float32(scale)
    return np.where(np.isfinite(metres) & (metres > 0), metres, np.float32(0))


def _decode(file: DepthFile, data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None:
    if file.path.suffix == ".npy":
        return npy.array_of(data)
    if file.path.suffix != ".bin":
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    words = data[:_HEADER_BYTES].split(b"&", 3)
    if len(words) != 4 or words[2] != b"1":
        raise ValueError("no header of one channel as COLMAP writes it")
    width, height = int(words[0]), int(words[1])
    start = sum(len(word) + 1 for word in words[:3])
    return np.frombuffer(data, "<f4", offset=start).reshape(height, width)


def find_depth(images: tuple[SourceImage, ...], folder: Path, units_per_unit: float) -> list[DepthFile]:
    """The depth file of every image: the image's path below the folder, or its bare name, with a suffix of depth.

    Raises:
        InvalidInput: an image has none.
    """
    if not folder.is_dir():
        raise InvalidInput(f"depth {folder}: no such folder")
    found = [_depth_of(image.name, folder) for image in images]
    absent = [image.name for image, path in zip(images, found, strict=True) if path is None]
    if absent:
        raise InvalidInput(f"depth {folder}: has no {'/'.join(_SUFFIXES)}/.bin file for {named_first(absent)}")
    return [DepthFile(path, units_per_unit) for path in found if path is not None]


def _depth_of(name: str, folder: Path) -> Path | None:
    whole, bare = folder / name, folder / Path(name).name
    for base in (whole, bare):
        candidates = [base.with_suffix(suffix) for suffix in _SUFFIXES]
        candidates += [base.with_name(base.name + suffix) for suffix in _COLMAP_SUFFIXES]
        for candidate in candidates:
            if candidate.is_file():
                return candidate
    return None
