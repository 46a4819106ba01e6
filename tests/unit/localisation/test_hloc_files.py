"""Files as hloc itself writes them, made here by h5py alone, and ours read back by h5py alone."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from gim.errors import InvalidInput
from gim.localisation.growing_file import open_groups, write_group
from gim.localisation.hloc_files import (
    feature_datasets,
    match_datasets,
    pair_key,
    read_features,
    read_matches,
    read_pairs,
    write_pairs,
)
from gim.records import Features

KEYPOINTS = np.array([[1.5, 2.0], [3.0, 4.25], [9.0, 0.0]])
DESCRIPTORS = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_features_of_hloc_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "feats.h5", "w", libver="latest") as file:
        group = file.create_group("db/1.jpg")
        group.create_dataset("keypoints", data=KEYPOINTS.astype(np.float16))
        group["keypoints"].attrs["uncertainty"] = 1.5
        group.create_dataset("descriptors", data=DESCRIPTORS.T.astype(np.float16))
        group.create_dataset("scores", data=np.array([0.5, 0.25, 1.0], np.float16))
        group.create_dataset("image_size", data=np.array([640, 480]))
    with open_groups(tmp_path / "feats.h5") as file:
        found = read_features(file["db/1.jpg"])
    assert found.keypoints.dtype == np.float32
    assert found.keypoints.tolist() == KEYPOINTS.tolist()
    assert found.descriptors.tolist() == DESCRIPTORS.tolist()
    assert found.scores is not None
    assert found.scores.tolist() == [0.5, 0.25, 1.0]
    assert found.image_size == (640, 480)


def test_features_are_written_as_hloc_reads_them(tmp_path: Path) -> None:
    features = Features(KEYPOINTS.astype(np.float32), DESCRIPTORS, np.ones(3, np.float32))
    with h5py.File(tmp_path / "feats.h5", "w") as file:
        write_group(file, "db/1.jpg", feature_datasets(features, (640, 480)))
    with h5py.File(tmp_path / "feats.h5") as file:
        group = file["db"]["1.jpg"]
        assert set(group) == {"keypoints", "descriptors", "scores", "image_size"}
        assert (group["keypoints"].dtype, group["keypoints"].shape) == (np.float32, (3, 2))
        assert group["descriptors"].shape == (4, 3)
        assert group["image_size"][()].tolist() == [640, 480]


def test_matches_of_hloc_are_read_in_both_directions(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "matches.h5", "w", libver="latest") as file:
        group = file.create_group("query-day-a.jpg/db-1.jpg")
        group.create_dataset("matches0", data=np.array([-1, 2, -1, 0], np.int16))
        group.create_dataset("matching_scores0", data=np.array([0, 0.5, 0, 1], np.float16))
    with open_groups(tmp_path / "matches.h5") as file:
        assert read_matches(file, "query/day/a.jpg", "db/1.jpg").tolist() == [[1, 2], [3, 0]]
        assert read_matches(file, "db/1.jpg", "query/day/a.jpg").tolist() == [[2, 1], [0, 3]]
        with pytest.raises(InvalidInput, match=r"has no matches of db/1.jpg and db/2.jpg"):
            read_matches(file, "db/1.jpg", "db/2.jpg")


def test_matches_are_written_as_hloc_reads_them(tmp_path: Path) -> None:
    matches, scores = np.array([[1, 40_000], [3, 0]], np.int32), np.array([0.5, 1.0], np.float32)
    with h5py.File(tmp_path / "matches.h5", "w") as file:
        write_group(file, pair_key("query/day/a.jpg", "db/1.jpg"), match_datasets(matches, scores, 5))
    with h5py.File(tmp_path / "matches.h5") as file:
        group = file["query-day-a.jpg"]["db-1.jpg"]
        assert group["matches0"][()].tolist() == [-1, 40_000, -1, 0, -1]
        assert group["matching_scores0"][()].tolist() == [0, 0.5, 0, 1, 0]


def test_pairs_are_read_with_their_lines_and_once_each(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("q/a.jpg db/1.jpg\n\nq/a.jpg db/2.jpg\nq/a.jpg db/1.jpg\n")
    assert read_pairs(path) == [(1, ("q/a.jpg", "db/1.jpg")), (3, ("q/a.jpg", "db/2.jpg"))]
    write_pairs(path, [("x", "y")])
    assert path.read_text() == "x y\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "holds no pairs"), ("a b\na b c\n", "line 2: expected two image names, got 3 words"), ("a\n", "line 1: ")],
)
def test_malformed_pairs_name_the_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(InvalidInput, match=said):
        read_pairs(tmp_path / "pairs.txt")


def test_a_group_without_keypoints_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "feats.h5", "w") as file:
        write_group(file, "a.jpg", {"keypoints": np.zeros(4)})
        with pytest.raises(InvalidInput, match=r"/a.jpg has no keypoints \[N, 2\]"):
            read_features(file["a.jpg"])
