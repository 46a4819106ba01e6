"""Verification and mapping by pycolmap: from a database of matches to the largest model. Seeded.

Thresholds differ from COLMAP's where the sample photographs asked for it (docs/reconstruction.md has the numbers).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pycolmap

from gim.errors import InvalidInput
from gim.reconstruction.config import ReconstructionConfig

_MAX_TRIALS = 2000  # of verification: enough for 30 % inliers; pairs with fewer fit by chance or not at all
# A street is photographed walking forwards, and seen under small angles: COLMAP's 0.95 and 16 degrees leave no first
# pair there. Its 30 inliers at 12 px for a new image become fewer and stricter ones.
_INIT_MAX_FORWARD_MOTION = 1.0
_INIT_MIN_ANGLE_DEG = 4.0
_MIN_POSE_INLIERS = 15
_MAX_POSE_ERROR_PX = 6.0
_FATAL = 3  # of glog; what else goes wrong is said by ourselves, in one line


class NoModel(InvalidInput):
    """The images have too little in common for a model, or what they have does not agree."""


@contextmanager
def quiet_colmap() -> Iterator[None]:
    """Have COLMAP keep to itself what it would tell stderr of every image."""
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = _FATAL
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before


def verify_pairs(
    database: Path, pairs: Sequence[tuple[str, str]], folder: Path, config: ReconstructionConfig
) -> tuple[int, int]:
    """Fit a two-view geometry to the matches of each pair; how many pairs have one, and their inliers.

    Args:
        database: with matches; geometries are added.
        pairs: names of images.
        folder: for the list that pycolmap reads; it is left there.
        config: thresholds and seed.
    """
    listed = folder / "pairs.txt"
    listed.write_text("".join(f"{name0} {name1}\n" for name0, name1 in pairs), encoding="utf-8")
    options = pycolmap.TwoViewGeometryOptions()
    options.min_num_inliers = config.min_inliers
    options.ransac.max_error = config.max_error_px
    options.ransac.max_num_trials = _MAX_TRIALS
    options.ransac.random_seed = config.seed
    if pairs:
        pycolmap.verify_matches(str(database), str(listed), options)
    with pycolmap.Database.open(str(database)) as opened:
        _, geometries = opened.read_two_view_geometries()
        inliers = [len(geometry.inlier_matches) for geometry in geometries]
    verified = [count for count in inliers if count >= config.min_inliers]
    return len(verified), sum(verified)


def map_images(database: Path, images: Path, folder: Path, config: ReconstructionConfig, *, threads: int) -> list[Any]:
    """The models of a verified database, largest first.

    Args:
        database: with two-view geometries.
        images: folder of the images; none is read.
        folder: for what pycolmap writes by the way.
        config: which mapper, and the seed.
        threads: of bundle adjustment; with one, equal input gives equal models.

    Raises:
        InvalidInput: pycolmap has no such mapper.
    """
    folder.mkdir()
    run = _map_global if config.mapper == "global" else _map_incremental
    models = list(run(database, images, folder, config, threads).values())
    return sorted(models, key=lambda model: (-model.num_reg_images(), -model.num_points3D()))


def _map_incremental(
    database: Path, images: Path, folder: Path, config: ReconstructionConfig, threads: int
) -> dict[int, Any]:
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = threads
    options.random_seed = config.seed
    options.extract_colors = False  # ours: pycolmap does not read every kind of image that we do
    options.min_model_size = 3
    options.mapper.init_max_forward_motion = _INIT_MAX_FORWARD_MOTION
    options.mapper.init_min_tri_angle = _INIT_MIN_ANGLE_DEG
    options.mapper.abs_pose_min_num_inliers = _MIN_POSE_INLIERS
    options.mapper.abs_pose_max_error = _MAX_POSE_ERROR_PX
    if hasattr(options, "structure_less_registration_fallback"):
        options.structure_less_registration_fallback = False  # minutes for an image, and a pose without support
    found: dict[int, Any] = pycolmap.incremental_mapping(str(database), str(images), str(folder), options)
    return found


def _map_global(
    database: Path, images: Path, folder: Path, config: ReconstructionConfig, threads: int
) -> dict[int, Any]:
    if not hasattr(pycolmap, "global_mapping"):
        raise InvalidInput(f"--mapper global: pycolmap {pycolmap.__version__} has none; take incremental, or install 4")
    options = pycolmap.GlobalPipelineOptions()
    options.num_threads = threads
    options.random_seed = config.seed
    found: dict[int, Any] = pycolmap.global_mapping(str(database), str(images), str(folder), options)
    return found
