"""Reads two posed images with depth into a sample: pictures, depth as recorded, and how the pixels of both lie.

Images and depth maps of one view may differ in size, not in shape.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from gim import codecs
from gim.benchmarks.building.depth import read_depth
from gim.benchmarks.building.scene import DepthFile
from gim.errors import CorruptObject, InvalidInput
from gim.geometry.pixels import PixelMap, resize_image
from gim.records import BoolArray, Float32Array, Float64Array, Uint8Array
from gim.training.samples import DepthView, Posed, Sample, SampleSkipped

_SHAPE_TOLERANCE = 0.01  # of a side: images and depth are rounded to whole pixels, each on its own
_H5_KEY = "depth"  # of MegaDepth's files


@dataclass(frozen=True, slots=True, eq=False)
class ViewFiles:
    """Where a posed image and its depth lie."""

    image: Path
    depth: Path
    K: Float64Array  # [3, 3] pixels, the centre of the top-left one at (0, 0)
    K_of: Literal["image", "depth"] = "image"  # whose pixels; "depth": the image is brought to the depth map's size
    depth_units: float = 1.0  # of an integer depth map, to one unit of the poses


def read_posed_pair(name: str, view0: ViewFiles, view1: ViewFiles, T_0to1: Float64Array) -> Sample:
    """A pair as it was recorded, every pixel of both images valid.

    Raises:
        CorruptObject: a file is absent or damaged, or a depth map is of another shape than its image.
        SampleSkipped: a depth map knows nothing.
    """
    image0, depth0 = _read_view(view0)
    image1, depth1 = _read_view(view1)
    truth = Posed(depth0, depth1, np.asarray(T_0to1, np.float64))
    return Sample(name, "", image0, image1, all_valid(image0), all_valid(image1), truth)


def all_valid(image: Uint8Array) -> BoolArray:
    """The mask [H, W] of an image that is photograph everywhere."""
    return np.ones(image.shape[:2], np.bool_)


def read_image(path: Path) -> Uint8Array:
    """An image of a posed set, RGB [H, W, 3].

    Raises:
        CorruptObject: it is absent or no image.
    """
    try:
        return codecs.decode_image(path.read_bytes())
    except OSError as error:
        raise CorruptObject(f"{path}: cannot be read ({error.strerror})") from error
    except CorruptObject as error:
        raise CorruptObject(f"{path}: {error}") from error


def read_depth_map(path: Path, units: float) -> Float32Array:
    """Depth [h, w] along the optical axis, 0 where it is not known: MegaDepth's `.h5`, or any of `read_depth`.

    Raises:
        CorruptObject: it is absent or no map of depths.
    """
    if path.suffix != ".h5":
        try:
            return read_depth(DepthFile(path, units))
        except InvalidInput as error:
            raise CorruptObject(str(error)) from error
    try:
        with h5py.File(path, "r") as file:
            depth = np.asarray(file[_H5_KEY], np.float32)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise CorruptObject(f"{path}: not a depth map in HDF5 under {_H5_KEY!r} ({error})") from error
    if depth.ndim != 2 or 0 in depth.shape:
        raise CorruptObject(f"{path}: a depth map of shape {depth.shape}: expected one number per pixel")
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))


def _read_view(files: ViewFiles) -> tuple[Uint8Array, DepthView]:
    image, depth = read_image(files.image), read_depth_map(files.depth, files.depth_units)
    if not depth.any():
        raise SampleSkipped("no_depth", str(files.depth))
    size, depth_size = (image.shape[1], image.shape[0]), (depth.shape[1], depth.shape[0])
    if abs(size[0] * depth_size[1] - size[1] * depth_size[0]) > _SHAPE_TOLERANCE * size[0] * depth_size[1]:
        found = f"{depth_size[0]}x{depth_size[1]}"
        raise CorruptObject(f"{files.depth}: {found} pixels for an image of {size[0]}x{size[1]}: another shape")
    if files.K_of == "depth":
        smaller, _ = resize_image(image, depth_size)
        return smaller, DepthView(depth, files.K, np.eye(3))
    to_depth = PixelMap.resizing(size, depth_size)
    return image, DepthView(
        depth, to_depth.apply_to_intrinsics(files.K), to_depth.inverse().apply_to_intrinsics(np.eye(3))
    )
