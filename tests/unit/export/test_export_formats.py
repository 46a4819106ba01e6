"""Every format, read back by the libraries that will read it."""

import filecmp
import gc
import json
import sqlite3
import tarfile
import warnings

import h5py
import numpy as np
import pycolmap
import pytest

from gim import codecs
from gim.adapters.store_file import FileStore
from gim.errors import InvalidInput
from gim.export.base import ExportOptions
from gim.export.colmap import make_camera, to_corner_fundamental
from gim.export.formats import FORMATS, check_options, export_pairs
from gim.export.selection import parse_condition, read_pairs, select_pairs
from gim.geometry.epipolar import symmetric_epipolar_distance_px
from gim.labels.shards import read_shard
from gim.results import find_results
from tests import report_data


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two videos with pairs, and one without."""
    opened = FileStore(tmp_path_factory.mktemp("store") / "s")
    report_data.good_video(opened, num_samples=24)
    report_data.good_video(opened, num_samples=20, seed=8)
    report_data.rejected_video(opened)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pairs(store):
    """All stored pairs by video and frames."""
    videos = [select_pairs(store, result, []) for result in find_results(store)]
    read = [item for video in videos for item in read_pairs(store, video)]
    return {(item.pair.video_id, item.pair.frame0, item.pair.frame1): item for item in read}


@pytest.fixture(scope="module")
def exported(store, tmp_path_factory):
    """One export of each format."""
    root = tmp_path_factory.mktemp("out")
    options = ExportOptions(shard_pairs=7)
    summaries = {
        name: export_pairs(store, find_results(store), root / name, format_name=name, options=options)
        for name in FORMATS
    }
    return root, summaries


def test_counts_agree_and_the_export_describes_itself(exported, pairs):
    root, summaries = exported
    for name, summary in summaries.items():
        assert (summary.num_videos, summary.num_pairs, summary.num_pairs_left_out) == (2, len(pairs), 0)
        document = json.loads((root / name / "export.json").read_text())
        assert document["num_pairs"] == len(pairs)
        assert [video["licence"] for video in document["videos"]] == ["local", "local"]
        assert "CENTRE" in (root / name / "README.txt").read_text() or name == "colmap"


def test_the_same_pairs_give_the_same_bytes(exported, store, tmp_path):
    root, _ = exported
    for name in FORMATS:
        options = ExportOptions(shard_pairs=7)
        export_pairs(store, find_results(store), tmp_path / name, format_name=name, options=options)
        files = sorted(p.relative_to(tmp_path / name) for p in (tmp_path / name).rglob("*") if p.is_file())
        assert files == sorted(p.relative_to(root / name) for p in (root / name).rglob("*") if p.is_file())
        _, mismatch, errors = filecmp.cmpfiles(root / name, tmp_path / name, files, shallow=False)
        assert (name, mismatch, errors) == (name, [], [])


def test_npz_holds_every_pair_without_pickles(exported, pairs):
    root, _ = exported
    found = sorted((root / "npz").rglob("*.npz"))
    assert len(found) == len(pairs)
    for path in found:
        with np.load(path, allow_pickle=False) as archive:
            data = dict(archive)
        item = pairs[path.parent.name, int(data["frame0"]), int(data["frame1"])]
        assert data["correspondences"].dtype == np.float32
        np.testing.assert_array_equal(data["correspondences"], item.pair.correspondences)
        np.testing.assert_array_equal(data["F01"], item.pair.F01)
        assert (float(data["time0"]), float(data["time1"])) == (item.pair.time0, item.pair.time1)
        assert (path.parent / str(data["image0"])).read_bytes() == item.jpeg0
        assert (path.parent / str(data["image1"])).read_bytes() == item.jpeg1
        for name in data["quality"].dtype.names:
            assert data["quality"][name] == getattr(item.pair.quality, name), name
        assert len(data["quality"].dtype.names) == len(item.pair.quality.__slots__)


def test_webdataset_streams_every_pair(exported, pairs):
    webdataset = pytest.importorskip("webdataset")
    root, summaries = exported
    facts = summaries["webdataset"].facts
    assert facts["num_shards"] == -(-len(pairs) // 7)
    urls = str(root / "webdataset" / facts["shards"])
    dataset = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False).decode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the package leaves its last file to the collector
        samples = list(dataset)
        del dataset
        gc.collect()
    assert len({sample["__key__"] for sample in samples}) == len(samples) == len(pairs)
    for sample in samples:
        video_id, _, name = sample["__key__"].partition("/")
        item = pairs[video_id, *map(int, name.split("_"))]
        np.testing.assert_array_equal(sample["correspondences.npy"], item.pair.correspondences)
        assert sample["json"]["quality"]["coverage"] == item.pair.quality.coverage


def test_shards_are_full_and_readable_as_our_own(exported, pairs):
    root, _ = exported
    shards = sorted((root / "webdataset").glob("*.tar"))
    read = [list(read_shard(path)) for path in shards]
    assert {len(part) for part in read[:-1]} == {7}
    for pair, jpeg0, jpeg1 in (item for part in read for item in part):
        item = pairs[pair.video_id, pair.frame0, pair.frame1]
        assert (jpeg0, jpeg1) == (item.jpeg0, item.jpeg1)
        np.testing.assert_array_equal(pair.F01, item.pair.F01)
    with tarfile.open(shards[0]) as tar:
        assert {(info.mtime, info.uid) for info in tar} == {(0, 0)}


def _hloc_matches(path, name0, name1):
    """hloc's `get_matches` (utils/io.py), as its reconstruction calls it."""
    with h5py.File(path, "r", libver="latest") as file:
        matches = file["/".join((name0.replace("/", "-"), name1.replace("/", "-")))]["matches0"].__array__()
    index = np.where(matches != -1)[0]
    return np.stack([index, matches[index]], -1)


def test_hdf5_is_what_hloc_reads(exported, pairs):
    root, summaries = exported
    folder = root / "hdf5"
    listed = [line.split() for line in (folder / "pairs.txt").read_text().splitlines()]
    assert len(listed) == len(pairs)
    num_matches = 0
    with h5py.File(folder / "features.h5", "r") as features:
        for name0, name1 in listed:
            keypoints = [features[name]["keypoints"].__array__() for name in (name0, name1)]
            assert {k.dtype for k in keypoints} == {np.dtype(np.float32)}
            matches = _hloc_matches(folder / "matches.h5", name0, name1)
            rows = np.hstack([keypoints[0][matches[:, 0]], keypoints[1][matches[:, 1]]])
            item = pairs[name0.split("/")[0], int(name0[-12:-4]), int(name1[-12:-4])]
            assert {tuple(row) for row in rows.tolist()} <= {tuple(r) for r in item.pair.correspondences.tolist()}
            assert len(np.unique(matches[:, 1])) == len(matches)
            num_matches += len(matches)
            image = codecs.decode_grey((folder / "images" / name0).read_bytes())
            assert tuple(features[name0]["image_size"]) == image.shape[::-1]
    total = sum(len(item.pair.correspondences) for item in pairs.values())
    assert num_matches + summaries["hdf5"].facts["matches_dropped"] == total


def test_colmap_reads_the_database_back(exported, pairs):
    root, _ = exported
    database = pycolmap.Database.open(str(root / "colmap" / "database.db"))
    images = {image.name: image for image in database.read_all_images()}
    assert database.num_cameras() == database.num_rigs() == 2
    assert database.num_frames() == len(images)
    assert database.num_verified_image_pairs() == database.num_matched_image_pairs() == len(pairs)
    for (video_id, frame0, frame1), item in pairs.items():
        ids = [images[f"{video_id}/{frame:08d}.jpg"].image_id for frame in (frame0, frame1)]
        geometry = database.read_two_view_geometry(*ids)
        matches = geometry.inlier_matches
        keypoints = [database.read_keypoints(image_id) for image_id in ids]
        rows = np.hstack([keypoints[0][matches[:, 0]], keypoints[1][matches[:, 1]]])
        assert {tuple(row) for row in rows.tolist()} <= {tuple(r) for r in (item.pair.correspondences + 0.5).tolist()}
        np.testing.assert_array_equal(database.read_matches(*ids), matches)
        # the geometry moved with the origin: errors are those of the stored pair
        error_px = np.median(symmetric_epipolar_distance_px(rows, geometry.F))
        assert error_px == pytest.approx(item.pair.quality.epipolar_residual_px, abs=0.02)
        assert (root / "colmap" / "images" / f"{video_id}/{frame0:08d}.jpg").read_bytes() == item.jpeg0
    database.close()


def test_colmap_leaves_one_plain_file(exported):
    root, _ = exported
    assert sorted(path.name for path in (root / "colmap").iterdir()) == [
        "README.txt",
        "database.db",
        "export.json",
        "images",
    ]
    with sqlite3.connect(root / "colmap" / "database.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_cameras_are_guessed_or_as_given():
    guess = make_camera("", 640, 360)
    assert (guess.model_name, list(guess.params)) == ("SIMPLE_RADIAL", [768.0, 320.0, 180.0, 0.0])
    assert not guess.has_prior_focal_length
    given = make_camera("PINHOLE,500,510,320,180", 640, 360)
    assert (given.model_name, list(given.params), given.has_prior_focal_length) == (
        "PINHOLE",
        [500.0, 510.0, 320.0, 180.0],
        True,
    )


@pytest.mark.parametrize("text", ["NONSENSE,1", "PINHOLE,1,2", "PINHOLE,a,b,c,d", "PINHOLE,nan,1,1,1", "INVALID"])
def test_a_camera_that_is_none_is_refused_before_anything_is_written(store, tmp_path, text):
    options = ExportOptions(camera=text)
    with pytest.raises(InvalidInput, match="camera"):
        export_pairs(store, find_results(store), tmp_path / "o", format_name="colmap", options=options)
    assert list(tmp_path.iterdir()) == []


def test_the_fundamental_matrix_moves_with_the_origin():
    rng = np.random.default_rng(1)
    F01, points = rng.normal(size=(3, 3)), rng.uniform(0, 100, (20, 4))
    moved = symmetric_epipolar_distance_px(points + 0.5, to_corner_fundamental(F01))
    np.testing.assert_allclose(moved, symmetric_epipolar_distance_px(points, F01))


def test_merging_keypoints_makes_fewer_of_them(store, tmp_path):
    counts = []
    for merge_px in (0.0, 2.0):
        out = tmp_path / f"merge{merge_px}"
        options = ExportOptions(merge_px=merge_px)
        export_pairs(store, find_results(store), out, format_name="hdf5", options=options)
        with h5py.File(out / "features.h5", "r") as features:
            counts.append(sum(len(image["keypoints"]) for video in features.values() for image in video.values()))
    assert counts[1] < 0.8 * counts[0]


def test_conditions_leave_pairs_out(store, pairs, tmp_path):
    conditions = [parse_condition("interval_seconds>1")]
    summary = export_pairs(store, find_results(store), tmp_path / "o", format_name="npz", conditions=conditions)
    expected = sum(item.pair.quality.interval_seconds > 1 for item in pairs.values())
    assert (summary.num_pairs, summary.num_pairs_left_out) == (expected, len(pairs) - expected)


def test_nothing_to_export_is_said_and_nothing_is_written(store, tmp_path):
    conditions = [parse_condition("coverage>2")]
    with pytest.raises(InvalidInput, match="nothing to export: none of"):
        export_pairs(store, find_results(store), tmp_path / "o", format_name="hdf5", conditions=conditions)
    assert list(tmp_path.iterdir()) == []


def test_options_of_other_formats_are_refused():
    check_options("colmap", ["camera", "merge_px"])
    with pytest.raises(InvalidInput, match="--camera is for colmap, not for npz"):
        check_options("npz", ["camera"])
    with pytest.raises(InvalidInput, match="--merge-px is for hdf5 and colmap"):
        check_options("webdataset", ["merge_px"])
