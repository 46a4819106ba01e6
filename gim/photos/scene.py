"""Two matched photographs as a scene: their cameras, given or guessed, and the points both see. Writes no files."""

from dataclasses import dataclass

import numpy as np

from gim.geometry.ply import colours_at, scene_to_ply
from gim.geometry.pose import rotation_error_deg
from gim.geometry.two_view import TwoViewConfig, TwoViewScene, reconstruct
from gim.photos.matching import PhotoMatch
from gim.photos.reading import Photo
from gim.records import Float64Array


@dataclass(frozen=True, slots=True)
class Camera:
    """Intrinsics, and who says so."""

    K: Float64Array  # [3, 3] pixels
    source: str


@dataclass(frozen=True, slots=True)
class PhotoScene:
    """A reconstruction, as a file and in numbers."""

    scene: TwoViewScene
    ply: bytes
    num_tried: int  # correspondences

    @property
    def rotation_deg(self) -> float:
        """Angle by which the camera turned."""
        return rotation_error_deg(self.scene.T_0to1[:3, :3], np.eye(3))

    @property
    def median_angle_deg(self) -> float:
        """Under which a point is seen from the two cameras."""
        return float(np.median(self.scene.angles_deg))


def cameras_of(
    photo0: Photo, photo1: Photo, given0: Float64Array | None, given1: Float64Array | None
) -> tuple[Camera, Camera]:
    """Both cameras: as given; else as the given other one, where the sizes are equal; else from EXIF; else guessed."""
    photos, given = (photo0, photo1), (given0, given1)

    def camera(view: int) -> Camera:
        own, other = given[view], given[1 - view]
        if own is not None:
            return Camera(own, "given")
        if other is not None and photo0.size == photo1.size:
            return Camera(other, f"as camera {1 - view}")
        return Camera(*photos[view].guess_intrinsics())

    return camera(0), camera(1)


def reconstruct_photos(
    photo0: Photo, photo1: Photo, match: PhotoMatch, camera0: Camera, camera1: Camera, seed: int
) -> PhotoScene:
    """Cameras and points from a match's inliers, coloured as in photograph 0.

    Raises:
        InvalidInput: there is no scene to be had from them; see `gim.geometry.two_view.reconstruct`.
    """
    rows = match.found.points[match.inliers]
    scene = reconstruct(rows, camera0.K, camera1.K, TwoViewConfig(seed=seed))
    colours = colours_at(photo0.image, rows[scene.rows, :2].astype(np.float64))
    return PhotoScene(scene, scene_to_ply(scene, colours, photo0.size, photo1.size), len(rows))
