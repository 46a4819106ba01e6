"""A query in a model: its matches with retrieved images lead to points of the model, and these to its pose."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gim.localisation.config import LocalisationConfig
from gim.localisation.covisibility import covisible_groups
from gim.localisation.hloc_files import read_keypoints, read_matches
from gim.localisation.model import NO_POINT, SceneModel
from gim.localisation.pose import Localisation, estimate_pose
from gim.localisation.queries import Query
from gim.records import Float32Array, Float64Array, Int64Array


def localise_in_model(
    query: Query, retrieved: Sequence[str], model: SceneModel, files: tuple[Any, Any], config: LocalisationConfig
) -> Localisation:
    """Localise a query.

    Args:
        query: with its camera.
        retrieved: images of the model that it was matched with, the most similar first.
        model: with points made of the same keypoints.
        files: `features.h5` and `matches.h5`, open.
        config: with clusters, every group of images that hang together gives a pose of its own, and the one with most
            inliers wins; without, all images give one.
    """
    if not retrieved:
        return Localisation(query.name, reason="no image is retrieved for it")
    groups = covisible_groups(model, retrieved) if config.clusters else [list(retrieved)]
    tried = [_localise_by(query, group, model, files, config) for group in groups]
    return max(tried, key=lambda found: (found.pose is not None, found.num_inliers))


def _localise_by(
    query: Query, names: Sequence[str], model: SceneModel, files: tuple[Any, Any], config: LocalisationConfig
) -> Localisation:
    keypoints, positions = points_of_matches(query.name, names, model, files)
    return estimate_pose(
        query.name, keypoints, positions, query.camera(), max_error_px=config.max_error_px, seed=config.seed
    )


def points_of_matches(
    name: str, retrieved: Sequence[str], model: SceneModel, files: tuple[Any, Any]
) -> tuple[Float32Array, Float64Array]:
    """Keypoints [N, 2] of an image and the points of the model [N, 3] they are matched with, each such couple once."""
    features, matches = files
    couples = [np.empty((0, 2), np.int64)]
    for image in retrieved:
        found = read_matches(matches, name, image).astype(np.int64)
        couples.append(_with_points(found, model.point_ids(image)))
    rows = np.unique(np.concatenate(couples), axis=0)
    keypoints = read_keypoints(features[name])
    return keypoints[rows[:, 0]], model.positions(rows[:, 1])


def _with_points(matches: Int64Array, point_ids: Int64Array) -> Int64Array:
    """Matches [M, 2] with the database keypoint replaced by its point, where it has one."""
    # Keypoints may have been added since the model was made, by the pairs of queries.
    known = matches[matches[:, 1] < len(point_ids)]
    ids = point_ids[known[:, 1]]
    return np.asarray(np.stack([known[:, 0], ids], axis=1)[ids != NO_POINT])
