"""InLoc, as hloc's pipeline of that name: queries against laser scans, without a model.

    <root>/database/cutouts/<floor>/<scan>/<building>_cutout_<scan>_<yaw>_<pitch>.jpg, and .jpg.mat beside it
    <root>/database/alignments/<floor>/transformations/<building>_trans_<scan>.txt
    <root>/query/iphone7/*.JPG

hloc needs nothing of <root>/database/scans, and neither do we.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gim.errors import InvalidInput
from gim.localisation.config import LocalisationConfig
from gim.localisation.hloc_files import read_keypoints, read_matches, write_pairs
from gim.localisation.pose import Localisation, estimate_pose
from gim.localisation.queries import Query
from gim.localisation.result import LocalisationResult, Truth, conclude
from gim.localisation.scans import check_scans, places_at, read_scan, scan_pose
from gim.localisation.submission import Bound
from gim.localisation.workplace import Workplace, check_folders, find_retrieval, read_retrieval
from gim.records import Float32Array, Float64Array

BOUNDS = (Bound(0.25, 10), Bound(0.5, 10), Bound(1, 10))
_CUTOUTS, _ALIGNMENTS, _QUERIES = "database/cutouts", "database/alignments", "query/iphone7"
_SOURCE = "it is laid out as hloc's pipeline_InLoc says, from the InLoc dataset"
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_FOCAL_SHARE = 28 / 36  # of the longer side: a 28 mm lens on film of 36 mm, hloc's number for the iPhone 7
_SCANS_HELD = 32  # a scan of 1600 x 1200 takes 46 MB


@dataclass(frozen=True, slots=True)
class InLoc:
    """The dataset, read but for its images and scans."""

    root: Path
    queries: tuple[str, ...]
    retrieved: dict[str, list[str]]  # database images of each query, the most similar first

    @classmethod
    def read(cls, root: Path, retrieval: Path | None) -> "InLoc":
        """Read a folder.

        Args:
            root: of the dataset.
            retrieval: list of pairs; None: the one in the folder.

        Raises:
            InvalidInput: a folder or list is absent or malformed, or the pairs name an unknown image.
        """
        check_folders(root, [_CUTOUTS, _ALIGNMENTS, _QUERIES], _SOURCE)
        pairs = find_retrieval(retrieval, root, 40, "pairs/inloc/pairs-query-netvlad40.txt")
        queries = _images_below(root, _QUERIES)
        if not queries:
            raise InvalidInput(f"{root / _QUERIES}: no image in it; {_SOURCE}")
        database = _images_below(root, _CUTOUTS)
        return cls(root, tuple(queries), read_retrieval(pairs, queries, database, f"{root / _CUTOUTS}"))

    def truth(self, path: Path | None) -> Truth | None:
        """Known poses of queries, if a file is given.

        Raises:
            InvalidInput: see `Truth.read`.
        """
        return Truth.read(path, self.queries, BOUNDS, lambda _: "") if path else None


def localise_inloc(dataset: InLoc, workplace: Workplace, truth: Truth | None) -> LocalisationResult:
    """Match, look the places of matches up in the scans, localise, and write the submission.

    Raises:
        InvalidInput: an image or scan is absent or cannot be read.
    """
    pairs = [(query, image) for query, images in dataset.retrieved.items() for image in images]
    check_scans(dataset.root, (image for _, image in pairs))
    workplace.match(pairs, dataset.retrieved)
    write_pairs(workplace.folder / "pairs-query.txt", pairs)
    scans = _Scans(dataset.root)
    found = []
    with h5py.File(workplace.features, "r") as features, h5py.File(workplace.matches, "r") as matches:
        for done, name in enumerate(dataset.queries):
            workplace.progress("queries", done, len(dataset.queries))
            retrieved = dataset.retrieved.get(name, [])
            found.append(_localise(name, retrieved, scans, (features, matches), workplace.config))
    workplace.progress("queries", len(dataset.queries), len(dataset.queries))
    path = workplace.folder / f"InLoc_{workplace.folder.name}.txt"
    return conclude(found, {}, path, truth)


def phone_camera(name: str, width: int, height: int) -> Query:
    """The camera of a query, from its size alone."""
    return Query(name, "SIMPLE_PINHOLE", width, height, (_FOCAL_SHARE * max(width, height), width / 2, height / 2))


class _Scans:
    """Places in the building of positions in database images."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._read = lru_cache(maxsize=_SCANS_HELD)(lambda name: read_scan(root, name))

    def places(self, name: str, keypoints: Float32Array, image_size: Sequence[int]) -> Float64Array:
        """[N, 3] of positions [N, 2]; nan where the laser saw nothing."""
        scan = self._read(name)
        width, height = (int(side) for side in image_size)
        if scan.shape[:2] != (height, width):
            size = f"{scan.shape[1]}x{scan.shape[0]}"
            raise InvalidInput(f"{self._root / name}.mat: a scan of {size} pixels for an image of {width}x{height}")
        pose = scan_pose(self._root, name)
        return places_at(scan, keypoints) @ pose[:3, :3].T + pose[:3, 3]


def _localise(
    name: str, retrieved: Sequence[str], scans: _Scans, files: tuple[Any, Any], config: LocalisationConfig
) -> Localisation:
    if not retrieved:
        return Localisation(name, reason="no image is retrieved for it")
    features, matches = files
    query = features[name]
    keypoints: list[Float32Array] = [np.empty((0, 2), np.float32)]
    places: list[Float64Array] = [np.empty((0, 3))]
    for image in retrieved:
        found = read_matches(matches, name, image)
        if len(found) < max(config.min_matches, 1):
            continue
        there = scans.places(image, read_keypoints(features[image])[found[:, 1]], features[image]["image_size"])
        is_known = np.isfinite(there).all(axis=1)
        keypoints.append(read_keypoints(query)[found[is_known, 0]])
        places.append(there[is_known])
    camera = phone_camera(name, *(int(side) for side in query["image_size"])).camera()
    return estimate_pose(
        name,
        np.concatenate(keypoints),
        np.concatenate(places),
        camera,
        max_error_px=config.max_error_px,
        seed=config.seed,
    )


def _images_below(root: Path, folder: str) -> list[str]:
    """Images below a folder, by their path from the root, ascending."""
    files = (path for path in (root / folder).rglob("*") if path.suffix.lower() in _IMAGE_SUFFIXES)
    return sorted(path.relative_to(root).as_posix() for path in files)
