"""Poses as text, and recall."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from gim.errors import InvalidInput
from gim.localisation.submission import Bound, pose_error, read_submission, recall, write_submission
from gim.records import Float64Array


def _pose(rotation: Rotation, centre: tuple[float, float, float]) -> Float64Array:
    pose = np.eye(4)
    pose[:3, :3] = rotation.as_matrix()
    pose[:3, 3] = -pose[:3, :3] @ centre
    return pose


def _turned(degrees: float, centre: tuple[float, float, float] = (0, 0, 0)) -> Float64Array:
    return _pose(Rotation.from_rotvec([0, np.radians(degrees), 0]), centre)


def test_a_pose_is_a_line_without_the_folder_and_the_real_part_first(tmp_path: Path) -> None:
    write_submission(tmp_path / "s.txt", {"query/day/a.jpg": _turned(90, (1, 2, 3))})
    name, *numbers = (tmp_path / "s.txt").read_text().split()
    assert name == "a.jpg"
    half = np.sqrt(0.5)
    np.testing.assert_allclose([float(number) for number in numbers], [half, 0, half, 0, -3, -2, 1], atol=1e-11)


@given(st.integers(0, 2**32 - 1))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    path = tmp_path_factory.getbasetemp() / "round.txt"
    rng = np.random.default_rng(seed)
    pose = _pose(Rotation.random(rng=rng), tuple(rng.normal(0, 100, 3)))
    write_submission(path, {"x/a.png": pose})
    np.testing.assert_allclose(read_submission(path)["a.png"], pose, atol=1e-7)


def test_two_queries_of_one_short_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"day/a.jpg and night/a.jpg are both a.jpg"):
        write_submission(tmp_path / "s.txt", {"day/a.jpg": np.eye(4), "night/a.jpg": np.eye(4)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no poses"),
        ("# nothing\n", "holds no poses"),
        ("a 1 0 0 0 0 0\n", "line 1: expected NAME QW QX QY QZ TX TY TZ, got 7 words"),
        ("a 1 0 0 0 0 0 0\nb 1 0 0 0 0 0 x\n", "line 2: could not convert"),
        ("a 2 0 0 0 0 0 0\n", "line 1: not a unit quaternion"),
        ("a 1 0 0 0 nan 0 0\n", "line 1: not a unit quaternion and a translation"),
        ("a 1 0 0 0 0 0 0\nx/a 1 0 0 0 0 0 0\n", "line 2: a again"),
    ],
)
def test_a_malformed_submission_names_the_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "s.txt").write_text(text)
    with pytest.raises(InvalidInput, match=said):
        read_submission(tmp_path / "s.txt")


def test_the_error_is_between_centres_and_not_between_translations() -> None:
    metres, degrees = pose_error(_turned(30, (10, 0, 0)), _turned(0, (10, 0, 0.25)))
    assert metres == pytest.approx(0.25)
    assert degrees == pytest.approx(30)


def test_recall_counts_both_errors_every_bound_and_what_has_no_pose() -> None:
    truth = dict.fromkeys(["good", "far", "turned", "lost"], _turned(0))
    poses = {"good": _turned(1, (0.1, 0, 0)), "far": _turned(0, (0, 0.4, 0)), "turned": _turned(9)}
    found = recall(poses, truth, (Bound(0.25, 2), Bound(0.5, 5), Bound(1, 10)), lambda name: "day" * (name != "lost"))
    assert found["all"] == {"0.25m/2deg": 25.0, "0.5m/5deg": 50.0, "1m/10deg": 75.0}
    assert found["day"]["1m/10deg"] == 100.0
    assert set(found) == {"all", "day"}
