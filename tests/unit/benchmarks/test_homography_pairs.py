"""Lists of homographies: what is in them, and each way they can be wrong."""

from pathlib import Path

import numpy as np
import pytest

from gim.benchmarks.homography_pairs import is_singular, read_homography_pairs
from gim.errors import InvalidInput
from tests.two_view_sets import grey_image

IDENTITY = "1 0 0 0 1 0 0 0 1"


def write(folder: Path, *lines: str) -> Path:
    (folder / "wall").mkdir(exist_ok=True)
    (folder / "wall/0.png").write_bytes(grey_image(80, 60))
    (folder / "wall/1.png").write_bytes(grey_image(40, 50))
    path = folder / "pairs_h.txt"
    path.write_text("\n".join(["# image0 image1 H_0to1", *lines, ""]))
    return path


def test_a_pair_has_its_matrix_sizes_and_folder(tmp_path: Path) -> None:
    (pair,) = read_homography_pairs(write(tmp_path, "wall/0.png wall/1.png 1 2 3 0 5 6 0.001 0 1"))
    assert (pair.image0, pair.image1, pair.group) == ("wall/0.png", "wall/1.png", "wall")
    assert (pair.size0, pair.size1) == ((80, 60), (40, 50))
    np.testing.assert_array_equal(pair.H01, [[1, 2, 3], [0, 5, 6], [0.001, 0, 1]])


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([f"wall/0.png wall/1.png {IDENTITY} 0"], "pairs_h.txt, line 2: expected 11 fields, got 12"),
        (["wall/0.png wall/1.png 1 2 3 2 4 6 0 0 1"], "line 2: not a homography, the matrix cannot be inverted"),
        (["wall/0.png wall/1.png 0 0 0 0 0 0 0 0 0"], "line 2: not a homography"),
        (["wall/0.png wall/1.png 1 0 0 0 1 0 0 0 nan"], "line 2: a homography holds a number that is not finite"),
        (["wall/0.png wall/1.png 1 0 0 0 one 0 0 0 1"], "line 2: could not convert string to float: 'one'"),
        ([f"wall/0.png wall/9.png {IDENTITY}"], "wall/9.png cannot be read (No such file or directory)"),
        ([f"wall/0.png pairs_h.txt {IDENTITY}"], "pairs_h.txt: not a readable image"),
        ([f"wall/0.png wall/1.png {IDENTITY}"] * 2, "line 3: the pair of line 2 again, wall/0.png and wall/1.png"),
        ([], "pairs_h.txt: holds no pairs"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_homography_pairs(write(tmp_path, *lines))
    assert said in str(caught.value)


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot read the pairs"):
        read_homography_pairs(tmp_path / "none.txt")


def test_real_maps_are_far_from_singular(shared_data: Path) -> None:
    pairs = read_homography_pairs(shared_data / "data/homography/pairs_h.txt")
    assert [sum(pair.group == group for pair in pairs) for group in ("graf", "dogman")] == [5, 5]
    assert max(np.linalg.cond(pair.H01) for pair in pairs) < 1e8
    assert is_singular(np.diag([1.0, 1.0, 1e-13]))
