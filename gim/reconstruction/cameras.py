"""Which images share a camera, and what is known of it before anything is reconstructed."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pycolmap

from gim.errors import InvalidInput
from gim.export.colmap import make_camera
from gim.reconstruction.config import ReconstructionConfig
from gim.reconstruction.images import SourceImage

_FOCAL_LENGTH_FACTOR = 1.2  # of the longer side: COLMAP's own first guess


@dataclass(frozen=True, slots=True)
class CameraGroup:
    """Images, by position, of one camera."""

    camera: Any  # pycolmap.Camera, without an id
    members: tuple[int, ...]


def group_cameras(images: Sequence[SourceImage], config: ReconstructionConfig) -> list[CameraGroup]:
    """The cameras of a list of images, in the order of their first images.

    `auto`: images of equal size and equal focal length in EXIF share one, which ties the focal length of photographs
    of one street or one walk down; an image without EXIF has its own.

    Raises:
        InvalidInput: images of different sizes are to share a camera, or there is no such camera model.
    """
    groups: dict[Hashable, list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(_group_of(image, config.camera), []).append(index)
    return [
        CameraGroup(_camera([images[index] for index in members], config), tuple(members))
        for members in groups.values()
    ]


def _group_of(image: SourceImage, sharing: str) -> Hashable:
    if sharing == "shared":
        return ""
    if sharing == "per-folder":
        return image.name.rpartition("/")[0]
    if sharing == "per-image" or image.focal_px is None:
        return ("image", image.name)
    return (image.stored_size, round(image.focal_px, 2))


def _camera(images: Sequence[SourceImage], config: ReconstructionConfig) -> Any:
    first = images[0]
    other = next((image for image in images if image.stored_size != first.stored_size), None)
    if other:
        sizes = [f"{image.name} has {image.stored_size[0]}x{image.stored_size[1]}" for image in (first, other)]
        raise InvalidInput(f"--camera {config.camera}: {sizes[0]}, {sizes[1]} pixels; one camera has one size")
    if "," in config.camera_model:
        return make_camera(config.camera_model, *first.stored_size)
    known = [name for name in pycolmap.CameraModelId.__members__ if name != "INVALID"]
    if config.camera_model not in known:
        raise InvalidInput(f"camera model {config.camera_model!r}: there are {', '.join(known)}")
    focal_px = next((image.focal_px for image in images if image.focal_px), None)
    guess = _FOCAL_LENGTH_FACTOR * max(first.stored_size)
    camera = pycolmap.Camera.create_from_model_name(0, config.camera_model, focal_px or guess, *first.stored_size)
    camera.has_prior_focal_length = focal_px is not None
    return camera
