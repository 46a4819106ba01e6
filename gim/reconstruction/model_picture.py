"""The picture of a pycolmap model; how it is drawn is `picture`'s business."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gim.reconstruction.images import SourceImage
from gim.reconstruction.orientation import down_direction
from gim.reconstruction.picture import DrawnCamera, draw_model
from gim.records import Uint8Array


def draw_reconstruction(model: Any, sources: Mapping[str, SourceImage], title: str) -> Uint8Array:
    """The picture of a pycolmap model: uint8 RGB [H, W, 3]."""
    points = list(model.points3D.values())
    cameras = []
    for index in sorted(model.reg_image_ids(), key=lambda index: model.images[index].name):
        image = model.images[index]
        to_world = np.asarray(image.cam_from_world().inverse().matrix())[:, :3]
        width, height = image.camera.width, image.camera.height
        ends = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)  # COLMAP counts from the corner
        rays = np.column_stack([image.camera.cam_from_img(ends), np.ones(4)])
        down = down_direction(sources[image.name].orientation)
        cameras.append(DrawnCamera(np.asarray(image.projection_center()), rays @ to_world.T, to_world @ down))
    places = np.array([point.xyz for point in points], np.float64).reshape(-1, 3)
    colours = np.array([point.color for point in points], np.uint8).reshape(-1, 3)
    return draw_model(places, colours, cameras, title)
