"""COLMAP's own mapper finds the true cameras from an export: origin, ids and matches are what it takes them for."""

import itertools
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pycolmap
import pytest

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.export.base import ExportOptions
from gim.export.formats import export_pairs
from gim.records import Funnel, TrainingPair
from gim.results import find_results
from tests import report_data
from tests.synthetic import random_tracks

_MAP = """
import sys, pycolmap
pycolmap.logging.minloglevel = 3
options = pycolmap.IncrementalPipelineOptions()
options.num_threads = 1
options.random_seed = 0
options.ba_refine_focal_length = options.ba_refine_extra_params = False
pycolmap.incremental_mapping(sys.argv[1] + "/database.db", sys.argv[1] + "/images", sys.argv[2], options)
"""


@pytest.fixture(scope="module")
def tracks():
    return random_tracks(2, num_points=1500, num_frames=8, seconds_per_frame=0.6, noise_px=0.2)


@pytest.fixture(scope="module")
def model(tracks, tmp_path_factory):
    """What COLMAP makes of pairs whose points are the same keypoints in every pair."""
    root = tmp_path_factory.mktemp("mapping")
    video_id = keys.file_video_id("0" * 64)
    with_store = FileStore(root / "store")
    _write_tracks(with_store, video_id, tracks)
    K = tracks.cameras[0].K
    options = ExportOptions(camera=f"SIMPLE_PINHOLE,{K[0, 0]},{K[0, 2] + 0.5},{K[1, 2] + 0.5}")
    export_pairs(with_store, find_results(with_store), root / "out", format_name="colmap", options=options)
    with_store.close()
    (root / "sparse").mkdir()
    # a process of its own: COLMAP logs from C++, and may end it
    command = [sys.executable, "-c", _MAP, str(root / "out"), str(root / "sparse")]
    subprocess.run(command, check=True, capture_output=True)
    return pycolmap.Reconstruction(str(root / "sparse" / "0"))


def _write_tracks(store, video_id, tracks):
    num = len(tracks.cameras)
    frames = report_data._manifest(video_id, list(range(num)), [0.6 * i for i in range(num)], [])
    frames = replace(frames, shots=[report_data.Shot(0, 0, num - 1, 0.0, 0.6 * num, 0, num)])
    size = (tracks.cameras[0].height, tracks.cameras[0].width)
    jpegs = dict.fromkeys(range(num), codecs.encode_jpeg(np.full(size, 90, np.uint8)))
    pairs = [_pair(tracks, video_id, i, j) for i, j in itertools.combinations(range(num), 2) if j - i <= 3]
    funnel = Funnel(num, num, num, {}, {}, {}, {}, num, len(pairs), {}, {})
    meta = report_data._meta(video_id, "tracks")
    report_data.write_video(store, meta, frames, pairs=pairs, jpegs=jpegs, funnel=funnel)


def _pair(tracks, video_id, i, j):
    points = tracks.correspondences(i, j).astype(np.float32)
    F01, times = tracks.fundamental(i, j), (0.6 * i, 0.6 * j)
    quality = report_data.quality_of(points, F01, (i, j), times)
    return TrainingPair(video_id, i, j, *times, points, F01, replace(quality, coverage=1.0))


def test_every_image_is_registered_with_long_tracks(tracks, model):
    assert model.num_reg_images() == len(tracks.cameras)
    assert model.compute_mean_track_length() > 3.5
    assert model.compute_mean_reprojection_error() < 0.35  # of noise of 0.2 px in x and y


def test_the_cameras_are_the_true_ones(tracks, model):
    images = sorted(model.images.values(), key=lambda image: image.name)
    found = np.array([image.projection_center() for image in images])
    true = np.array([camera.centre for camera in tracks.cameras])
    # the sharpest sign of a shifted origin or a transposed match is a bent path: compare it up to a similarity
    found, true = found - found.mean(axis=0), true - true.mean(axis=0)
    U, S, Vt = np.linalg.svd(true.T @ found)
    fitted = (S.sum() / np.sum(found**2)) * found @ (U @ Vt).T
    assert np.abs(fitted - true).max() < 0.02 * np.linalg.norm(true[-1] - true[0])
    turns = [np.trace(_rotation(a).T @ _rotation(b)) for a, b in itertools.pairwise(images)]
    expected = [
        np.trace(a.T_camera_to_world[:3, :3].T @ b.T_camera_to_world[:3, :3])
        for a, b in itertools.pairwise(tracks.cameras)
    ]
    np.testing.assert_allclose(turns, expected, atol=1e-4)


def _rotation(image):
    return image.cam_from_world().rotation.matrix()
