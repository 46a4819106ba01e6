"""Real photographs: at least as many of them find a place as with pycolmap's own SIFT pipeline, in the same run."""

from pathlib import Path

import numpy as np
import pycolmap
import pytest

from gim.geometry.epipolar import fundamental_from_pose, sampson_distance_px
from gim.matchers.registry import load_matcher
from gim.reconstruction.colmap_labels import label_with_colmap
from gim.reconstruction.mapping import quiet_colmap
from gim.reconstruction.run import Work, reconstruct
from gim.runtime.threads import one_thread_each

THREADS = 2


def colmaps_own(images, folder):
    """Images that pycolmap registers by itself, with its defaults but for the seed."""
    folder.mkdir()
    database = str(folder / "database.db")
    extraction, matching = pycolmap.FeatureExtractionOptions(), pycolmap.FeatureMatchingOptions()
    mapping = pycolmap.IncrementalPipelineOptions()
    for options in (extraction, matching, mapping):
        options.num_threads = THREADS
    mapping.random_seed = 0
    with quiet_colmap():
        pycolmap.extract_features(database, str(images), extraction_options=extraction, device=pycolmap.Device.cpu)
        pycolmap.match_exhaustive(database, matching_options=matching, device=pycolmap.Device.cpu)
        models = pycolmap.incremental_mapping(database, str(images), str(folder), mapping)
    return max((model.num_reg_images() for model in models.values()), default=0)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", ["sacre_coeur", "lund"])
def test_at_least_as_many_photographs_as_colmaps_own(shared_data, tmp_path, name):
    images = shared_data / "data/unposed" / name
    with one_thread_each():
        ours = reconstruct(images, tmp_path / "ours", load_matcher("rootsift"), work=Work(threads=THREADS))
    theirs = colmaps_own(images, tmp_path / "theirs")
    assert ours.registered >= theirs, f"{theirs} by pycolmap alone"
    assert ours.registered == ours.images
    assert ours.mean_reprojection_error_px < 1
    assert ours.mean_track_length > 3


@pytest.mark.slow
@pytest.mark.shared
def test_frames_of_a_drive_are_labelled_along_it(shared_data, tmp_path):
    """Every fifth frame of KITTI: the labels agree with the pose that GPS and gyroscopes measured."""
    frames = tmp_path / "frames"
    frames.mkdir()
    source = shared_data / "data/posed/kitti06/images"
    for number in range(0, 50, 5):
        (frames / f"{number:06d}.png").symlink_to(source / f"{number:06d}.png")
    with one_thread_each():
        labels = label_with_colmap(frames, tmp_path / "out", load_matcher("rootsift"), work=Work(threads=THREADS))
    assert labels.num_registered >= 0.8 * labels.num_frames
    assert len(labels.pairs) >= labels.num_frames - 1
    poses = read_poses(source.parent / "poses.txt")
    errors_px = []
    for (name0, name1), rows in labels.pairs.items():
        (K, pose0), (_, pose1) = poses[name0], poses[name1]
        F01 = fundamental_from_pose(K, K, np.linalg.inv(pose1) @ pose0)
        errors_px.append(np.median(sampson_distance_px(rows, F01)))
    # Pairs of the first frame are 3 to 6 px off, and so are plain matches of theirs: the measured poses are there.
    assert np.median(errors_px) < 1.2


def read_poses(path):
    """K and T_camera_to_world by the name of the image."""
    rows = [line.split() for line in path.read_text().splitlines() if not line.startswith("#")]
    numbers = {Path(name).name: np.array(rest, float) for name, *rest in rows}
    return {name: (row[:9].reshape(3, 3), row[9:].reshape(4, 4)) for name, row in numbers.items()}
