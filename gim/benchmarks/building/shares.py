"""Overlaps of a scene's pairs, from what the scene has: depth before tracks."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gim.benchmarks.building.depth import read_depth
from gim.benchmarks.building.drawing import Candidates, DrawSettings, candidate_pairs
from gim.benchmarks.building.overlap import DEPTH_TOLERANCE, DepthView, depth_overlap, depth_view, track_overlaps
from gim.benchmarks.building.pinhole import PinholeView
from gim.benchmarks.building.scene import Lens, SourceImage, SourceScene
from gim.errors import InvalidInput

Views = dict[Lens, PinholeView]


def overlap_source(scene: SourceScene) -> str:
    """`depth` where every image has it, else `tracks`."""
    return "depth" if all(image.depth is not None for image in scene.images) else "tracks"


def pair_overlaps(scene: SourceScene, views: Views, settings: DrawSettings, executor: ThreadPoolExecutor) -> Candidates:
    """Both overlaps of every candidate pair of a scene, those that share nothing left out.

    Raises:
        InvalidInput: a depth map cannot be read or is of another camera's shape.
    """
    pairs = candidate_pairs(len(scene.images), settings, scene.name)
    if overlap_source(scene) == "tracks":
        empty = np.empty(0, np.int64)
        shares = track_overlaps([empty if image.points is None else image.points for image in scene.images])
        found = [(int(i), int(j), float(shares[i, j]), float(shares[j, i])) for i, j in pairs]
    else:
        looked = list(executor.map(lambda image: _view_of(image, views[image.lens]), scene.images))
        both_ways = executor.map(
            lambda pair: (
                depth_overlap(looked[pair[0]], looked[pair[1]], tolerance=DEPTH_TOLERANCE),
                depth_overlap(looked[pair[1]], looked[pair[0]], tolerance=DEPTH_TOLERANCE),
            ),
            pairs,
        )
        found = [(int(i), int(j), *shares) for (i, j), shares in zip(pairs, both_ways, strict=True)]
    return [candidate for candidate in found if min(candidate[2:]) > 0]


def _view_of(image: SourceImage, view: PinholeView) -> DepthView:
    assert image.depth is not None
    depth = read_depth(image.depth)
    width, height = view.stored_size
    if abs(depth.shape[1] * height - depth.shape[0] * width) > max(depth.shape) * max(width, height) * 0.01:
        found = f"{depth.shape[1]}x{depth.shape[0]}"
        raise InvalidInput(f"{image.depth.path}: {found} pixels for an image of {width}x{height}: another shape")
    return depth_view(image, view, depth)
