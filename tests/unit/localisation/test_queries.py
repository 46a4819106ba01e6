"""Lists of queries."""

from pathlib import Path

import pytest

from gim.errors import InvalidInput
from gim.localisation.inloc import phone_camera
from gim.localisation.queries import read_queries


def test_cameras_of_several_models_are_read(tmp_path: Path) -> None:
    day, night = tmp_path / "day.txt", tmp_path / "night.txt"
    day.write_text("# name model\nq/a.jpg SIMPLE_RADIAL 1600 1200 1470.5 800 600 -0.03\n\n")
    night.write_text("q/b.jpg PINHOLE 640 480 500 501 320 240\n")
    first, second = read_queries([day, night])
    assert (first.name, first.camera().params.tolist()) == ("q/a.jpg", [1470.5, 800, 600, -0.03])
    assert (second.name, second.camera().focal_length_y, second.height) == ("q/b.jpg", 501, 480)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("q/a.jpg\n", "line 1: q/a.jpg has no intrinsics"),
        ("q/a.jpg SIMPLE_RADIAL 640 480\n", "line 1: q/a.jpg has no intrinsics; expected NAME MODEL"),
        ("q/a.jpg SIMPLE_RADIAL 640 480 500 320 240\n", "line 1: not a camera; SIMPLE_RADIAL takes f, cx, cy, k"),
        ("q/a.jpg PINHOLE 640 480 500 500 320 nan\n", "line 1: not a camera"),
        ("q/a.jpg PINHOLE 640 480 500 500 320 x\n", "line 1: could not convert"),
        ("q/a.jpg PINHOLE 0 480 500 500 320 240\n", "line 1: not a camera"),
        ("q/a.jpg FISH 640 480 500 500 320 240\n", "line 1: COLMAP has no camera model 'FISH'"),
        ("a PINHOLE 6 4 5 5 3 2\na PINHOLE 6 4 5 5 3 2\n", "line 2: the query a again"),
        ("\n", "no query in it"),
    ],
)
def test_what_is_no_query_names_the_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "q.txt").write_text(text)
    with pytest.raises(InvalidInput, match=said):
        read_queries([tmp_path / "q.txt"])


def test_the_phone_of_inloc_has_the_focal_length_of_hloc_whichever_way_it_is_held() -> None:
    for size in ((4032, 3024), (3024, 4032)):
        camera = phone_camera("q", *size).camera()
        assert camera.focal_length == pytest.approx(4032 * 28 / 36)
        assert (camera.principal_point_x, camera.principal_point_y) == (size[0] / 2, size[1] / 2)
