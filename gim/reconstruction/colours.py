"""Colours of a model's points: the mean over the images that see them. pycolmap reads fewer kinds of images than we."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gim.geometry.pixels import from_corner_origin
from gim.geometry.ply import colours_at
from gim.reconstruction.images import SourceImage, load_image
from gim.reconstruction.orientation import turn_back


def paint_points(model: Any, images: Mapping[str, SourceImage], max_pixels: int) -> None:
    """Give each point of a pycolmap model its colour.

    Args:
        model: changed in place.
        images: of the model, by name.
        max_pixels: see `load_image`.
    """
    ids = sorted(model.points3D)
    row_of = {point: row for row, point in enumerate(ids)}
    sums, counts = np.zeros((len(ids), 3)), np.zeros(len(ids))
    for index in sorted(model.reg_image_ids()):
        image = model.images[index]
        seen = [point for point in image.points2D if point.has_point3D()]
        if not seen:
            continue
        source = images[image.name]
        stored = turn_back(load_image(source, max_pixels).image, source.orientation)
        places = from_corner_origin([point.xy for point in seen]).astype(np.float64)
        rows = [row_of[point.point3D_id] for point in seen]
        np.add.at(sums, rows, colours_at(stored, places))
        np.add.at(counts, rows, 1)
    colours = np.rint(sums / np.maximum(counts, 1)[:, None]).astype(np.uint8)
    for point, colour in zip(ids, colours, strict=True):
        model.point3D(point).color = colour
