"""A COLMAP model, as localisation asks it: by image name, in arrays."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from gim.errors import InvalidInput
from gim.records import Float64Array, Int64Array

_IMAGES_HELD = 4096
NO_POINT = -1


class SceneModel:
    """Cameras and points of a reconstruction."""

    def __init__(self, reconstruction: Any) -> None:
        self.reconstruction = reconstruction
        self._images = {image.name: image for image in reconstruction.images.values() if image.has_pose}
        points = reconstruction.points3D
        ids = np.fromiter(points.keys(), np.int64, len(points))
        positions = np.array([point.xyz for point in points.values()], np.float64).reshape(-1, 3)
        order = np.argsort(ids)
        self._ids, self._positions = ids[order], positions[order]
        self.point_ids = lru_cache(maxsize=_IMAGES_HELD)(self._read_point_ids)

    @classmethod
    def read(cls, folder: Path) -> "SceneModel":
        """The model of a folder, binary or text.

        Raises:
            InvalidInput: there is none, it is damaged, or it has no image with a pose.
        """
        if not folder.is_dir():
            raise InvalidInput(f"{folder}: no such folder; expected a COLMAP model, cameras, images and points3D")
        try:
            model = cls(pycolmap.Reconstruction(str(folder)))
        except (ValueError, RuntimeError, OSError) as error:
            why = str(error).splitlines()[0]
            raise InvalidInput(f"{folder}: not a readable COLMAP model ({why})") from error
        if not model.names:
            raise InvalidInput(f"{folder}: a model without images")
        return model

    @property
    def names(self) -> set[str]:
        """Images that have a pose."""
        return set(self._images)

    def image(self, name: str) -> Any:
        """The `pycolmap.Image` of a name."""
        return self._images[name]

    def pose(self, name: str) -> Float64Array:
        """World to camera, [4, 4]."""
        return np.vstack([self._images[name].cam_from_world().matrix(), [0.0, 0.0, 0.0, 1.0]])

    def positions(self, ids: Int64Array) -> Float64Array:
        """World positions [N, 3] of points [N] of the model."""
        return np.asarray(self._positions[np.searchsorted(self._ids, ids)])

    def _read_point_ids(self, name: str) -> Int64Array:
        """The point [N] that each keypoint of an image is an observation of, or NO_POINT."""
        image = self._images[name]
        ids = np.full(image.num_points2D(), NO_POINT, np.int64)
        observed = list(image.get_observation_point2D_idxs())
        ids[observed] = [point.point3D_id for point in image.get_observation_points2D()]
        return ids
