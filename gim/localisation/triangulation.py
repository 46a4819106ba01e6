"""A reference model whose points are triangulated anew from our matches; its cameras stay as they are.

As in hloc, the known cameras verify the matches: what lies far from its epipolar line makes no point.
"""

import shutil
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from gim.errors import InvalidInput
from gim.geometry.epipolar import essential_from_pose
from gim.geometry.pixels import to_corner_origin
from gim.localisation.growing_file import open_groups
from gim.localisation.hloc_files import Pair, read_keypoints, read_matches
from gim.localisation.model import SceneModel
from gim.reconstruction.mapping import quiet_colmap
from gim.records import BoolArray, Float32Array, Float64Array, Int32Array

_IMAGES_HELD = 512


def triangulate(
    reference: SceneModel,
    pairs: Sequence[Pair],
    features: Path,
    matches: Path,
    folder: Path,
    *,
    images: Path,
    max_error_px: float,
) -> SceneModel:
    """The model in `folder`, made now or by a former run; a run that was killed has left none.

    Args:
        reference: cameras and poses.
        pairs: of its images, to take matches of.
        features: `features.h5`.
        matches: `matches.h5`.
        folder: for the model and its database.
        images: folder of the images; their colours are those of the points.
        max_error_px: from the epipolar line, in either image.

    Raises:
        InvalidInput: no match of any pair fits the cameras, or no point came of them.
    """
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        database = unfinished / "database.db"
        _write_database(database, reference, pairs, features, matches, max_error_px)
        made = _triangulate(reference, database, images, unfinished)
        if made.num_points3D() == 0:
            raise InvalidInput(f"{matches}: no point can be triangulated from the matches of the database images")
        unfinished.rename(folder)
    return SceneModel.read(folder)


def _triangulate(reference: SceneModel, database: Path, images: Path, folder: Path) -> Any:
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed = 0
    cameras_only = pycolmap.Reconstruction(reference.reconstruction)  # it is emptied of its points
    with quiet_colmap():
        return pycolmap.triangulate_points(cameras_only, str(database), str(images), str(folder), options=options)


def _write_database(
    path: Path, reference: SceneModel, pairs: Sequence[Pair], features: Path, matches: Path, max_error_px: float
) -> None:
    database = pycolmap.Database.open(str(path))
    try:
        _write_cameras(database, reference)
        with open_groups(features) as feature_file, open_groups(matches) as match_file:

            def read(name: str) -> Float32Array:
                return to_corner_origin(read_keypoints(feature_file[name]))

            @lru_cache(maxsize=_IMAGES_HELD)
            def rays_of(name: str) -> Float64Array:
                return _rays(reference.image(name).camera, read(name))

            for name in sorted({name for pair in pairs for name in pair}):
                database.write_keypoints(reference.image(name).image_id, read(name))
            num_kept = 0
            for name0, name1 in pairs:
                found = read_matches(match_file, name0, name1)
                keep = _fits_cameras(reference, (name0, name1), rays_of, found, max_error_px)
                num_kept += int(np.count_nonzero(keep))
                _write_geometry(database, reference, (name0, name1), found[keep])
    finally:
        database.close()
    if num_kept == 0:
        raise InvalidInput(f"{matches}: no match of two database images fits their known cameras")


def _write_cameras(database: Any, reference: SceneModel) -> None:
    model = reference.reconstruction
    for camera in model.cameras.values():
        database.write_camera(camera, use_camera_id=True)
    for rig in model.rigs.values():
        database.write_rig(rig, use_rig_id=True)
    for frame in model.frames.values():
        database.write_frame(frame, use_frame_id=True)
    for image in model.images.values():
        database.write_image(image, use_image_id=True)


def _write_geometry(database: Any, reference: SceneModel, pair: Pair, matches: Int32Array) -> None:
    ids = [reference.image(name).image_id for name in pair]
    kept = matches.astype(np.uint32)
    geometry = pycolmap.TwoViewGeometry(config=pycolmap.TwoViewGeometryConfiguration.CALIBRATED, inlier_matches=kept)
    database.write_matches(*ids, kept)
    database.write_two_view_geometry(*ids, geometry)


def _rays(camera: Any, keypoints: Any) -> Float64Array:
    """Directions (x, y, 1) of keypoints [N, 2] with the corner's origin, distortion undone; nan where none is."""
    undistorted = camera.cam_from_img(np.asarray(keypoints, np.float64)) if len(keypoints) else np.empty((0, 2))
    return np.column_stack([undistorted, np.ones(len(keypoints))])


def _fits_cameras(
    reference: SceneModel,
    pair: Pair,
    rays_of: Callable[[str], Float64Array],
    matches: Int32Array,
    max_error_px: float,
) -> BoolArray:
    """Whether matches [M, 2] lie near their epipolar lines in both images, bool [M]."""
    name0, name1 = pair
    E01 = essential_from_pose(reference.pose(name1) @ np.linalg.inv(reference.pose(name0)))
    rays0, rays1 = rays_of(name0)[matches[:, 0]], rays_of(name1)[matches[:, 1]]
    lines1, lines0 = rays0 @ E01.T, rays1 @ E01
    residual = np.abs(np.einsum("ni,ni->n", rays1, lines1))
    errors = [
        residual
        * reference.image(name).camera.mean_focal_length()
        / np.maximum(np.linalg.norm(lines[:, :2], axis=1), 1e-12)
        for name, lines in ((name0, lines0), (name1, lines1))
    ]
    return np.asarray(np.maximum(*errors) <= max_error_px)
