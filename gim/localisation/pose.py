"""The pose of one camera from points in its image and their places in the world, by pycolmap's LO-RANSAC."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pycolmap

from gim.geometry.pixels import to_corner_origin
from gim.records import Float32Array, Float64Array

_FEWEST = 4  # three leave several poses


@dataclass(frozen=True, slots=True)
class Localisation:
    """What became of one query."""

    name: str
    pose: Float64Array | None = None  # world to camera [4, 4]; None: none was found
    num_matches: int = 0  # with a place in the world
    num_inliers: int = 0
    reason: str = ""  # why there is no pose


def estimate_pose(
    name: str, keypoints: Float32Array, positions: Float64Array, camera: Any, *, max_error_px: float, seed: int
) -> Localisation:
    """Localise an image.

    Args:
        name: of the image.
        keypoints: [N, 2] pixels, origin at the centre of the top-left pixel.
        positions: [N, 3] in the world; a keypoint may stand in several rows.
        camera: `pycolmap.Camera`.
        max_error_px: of an inlier.
        seed: of the random samples.
    """
    num_matches = len(keypoints)
    if num_matches < _FEWEST:
        reason = f"{num_matches} matches with a place in the world, {_FEWEST} are needed"
        return Localisation(name, num_matches=num_matches, reason=reason)
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.max_error = max_error_px
    options.ransac.random_seed = seed
    corners = to_corner_origin(keypoints).astype(np.float64)
    found = pycolmap.estimate_and_refine_absolute_pose(corners, positions, camera, options)
    if found is None:
        return Localisation(name, num_matches=num_matches, reason=f"no pose fits the {num_matches} matches")
    pose = np.vstack([found["cam_from_world"].matrix(), [0.0, 0.0, 0.0, 1.0]])
    if not np.isfinite(pose).all():
        return Localisation(name, num_matches=num_matches, reason=f"no pose fits the {num_matches} matches")
    return Localisation(name, pose, num_matches, int(found["num_inliers"]))
