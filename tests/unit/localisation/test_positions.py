"""Keypoints for matchers that find none."""

from pathlib import Path

import h5py
import numpy as np

from gim.localisation.growing_file import GrowingFile
from gim.localisation.hloc_files import pair_key, read_keypoints, read_matches
from gim.localisation.positions import join_positions

SIZE = np.array([640, 480])


def _write(folder: Path, found: dict[tuple[str, str], list[tuple[float, ...]]]) -> Path:
    file = GrowingFile(folder / "positions.h5")
    for pair, rows in found.items():
        numbers = np.array(rows, np.float32).reshape(-1, 5)
        datasets = {"keypoints0": numbers[:, :2], "keypoints1": numbers[:, 2:4], "scores": numbers[:, 4]}
        file.write({pair_key(*pair): {**datasets, "image_size0": SIZE, "image_size1": SIZE}})
    return file.merge()


def test_near_positions_of_the_database_are_one_keypoint_and_those_of_queries_stay(tmp_path: Path) -> None:
    found = {
        ("db/1", "db/2"): [(10, 10, 20, 20, 0.5), (50, 50, 60, 60, 0.9)],
        ("db/3", "db/1"): [(30, 30, 11, 10, 1.0)],  # one pixel beside
        ("q", "db/1"): [(5, 5, 10.5, 10, 1.0), (6, 5, 100, 100, 0.7)],
        ("q", "db/2"): [(5.5, 5, 20, 21, 1.0)],
    }
    join_positions(_write(tmp_path, found), list(found), ["q"], tmp_path, 2.0)
    with h5py.File(tmp_path / "features.h5") as features, h5py.File(tmp_path / "matches.h5") as matches:
        assert read_keypoints(features["db/1"]).tolist() == [[50, 50], [10, 10], [100, 100]]
        assert read_keypoints(features["q"]).tolist() == [[5, 5], [6, 5], [5.5, 5]]
        assert features["q"]["image_size"][()].tolist() == [640, 480]
        assert read_matches(matches, "db/1", "db/2").tolist() == [[0, 0], [1, 1]]
        assert read_matches(matches, "db/1", "db/3").tolist() == [[1, 0]]
        assert read_matches(matches, "q", "db/1").tolist() == [[0, 1], [1, 2]]
        assert read_matches(matches, "q", "db/2").tolist() == [[2, 1]]


def test_of_two_matches_of_one_keypoint_the_surer_stays(tmp_path: Path) -> None:
    found = {("db/1", "db/2"): [(10, 10, 20, 20, 0.5), (10, 10, 40, 40, 0.9)]}
    join_positions(_write(tmp_path, found), list(found), [], tmp_path, 0.0)
    with h5py.File(tmp_path / "features.h5") as features, h5py.File(tmp_path / "matches.h5") as matches:
        ((index0, index1),) = read_matches(matches, "db/1", "db/2").tolist()
        assert index0 == 0
        assert read_keypoints(features["db/2"])[index1].tolist() == [40, 40]


def test_pairs_stored_the_other_way_round_are_found(tmp_path: Path) -> None:
    file = _write(tmp_path, {("db/1", "db/2"): [(10, 10, 20, 20, 1)]})
    join_positions(file, [("db/2", "db/1")], [], tmp_path, 0.0)
    with h5py.File(tmp_path / "features.h5") as features:
        assert read_keypoints(features["db/2"]).tolist() == [[20, 20]]


def test_files_made_of_the_same_are_left_alone_and_others_made_again(tmp_path: Path) -> None:
    found = {("db/1", "db/2"): [(10.0, 10.0, 20.0, 20.0, 1.0)], ("q", "db/1"): [(1.0, 1.0, 10.0, 11.0, 1.0)]}
    file = _write(tmp_path, found)
    join_positions(file, list(found)[:1], [], tmp_path, 2.0)
    first = (tmp_path / "features.h5").stat().st_ino
    join_positions(file, list(found)[:1], [], tmp_path, 2.0)
    assert (tmp_path / "features.h5").stat().st_ino == first
    join_positions(file, list(found), ["q"], tmp_path, 2.0)
    with h5py.File(tmp_path / "features.h5") as features:
        assert read_keypoints(features["db/1"]).tolist() == [[10, 10]]  # ids of the database stay
        assert "q" in features
