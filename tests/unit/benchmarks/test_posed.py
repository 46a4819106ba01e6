"""Lists of posed pairs: what is read, and what is refused by file and line."""

from pathlib import Path

import numpy as np
import pytest

from gim.benchmarks.posed import parse_posed_pairs, read_posed_pairs
from gim.errors import InvalidInput
from tests.posed_scene import pair_line, write_pairs

K = np.array([[300.0, 0, 160], [0, 301, 120], [0, 0, 1]])
T = np.eye(4) + np.array([[0, 0, 0, 0.25], [0, 0, 0, 0.5], [0, 0, 0, -1.0], [0, 0, 0, 0]])
GOOD = pair_line("a.png", "b.png", K, K, T)


def _changed(field: int, text: str) -> str:
    words = GOOD.split()
    words[field] = text
    return " ".join(words)


def test_matrices_and_names_are_read_as_written(tmp_path: Path) -> None:
    (first, second) = read_posed_pairs(write_pairs(tmp_path, [GOOD, _changed(36, "0.25").replace("a.png", "c.png")]))
    assert (first.image0, first.image1, first.overlap) == ("a.png", "b.png", None)
    assert (second.image0, second.overlap) == ("c.png", 0.25)
    for found, truth in ((first.K0, K), (first.K1, K), (first.T_0to1, T)):
        assert np.array_equal(found, truth)


@pytest.mark.shared
@pytest.mark.parametrize(("scene", "num_pairs"), [("kitti06", 51), ("fox", 90)])
def test_sample_scenes_are_read(shared_data: Path, scene: str, num_pairs: int) -> None:
    assert len(read_posed_pairs(shared_data / "data/posed" / scene / "pairs.txt")) == num_pairs


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (GOOD.rsplit(" ", 1)[0], "expected 37 fields, got 36"),
        (GOOD + " 0.5", "expected 37 fields, got 38"),
        (_changed(4, "wide"), "could not convert"),
        (_changed(25, "nan"), "not finite"),
        (_changed(2, "0.0"), "intrinsics that no pinhole camera has"),
        (_changed(19, "2.0"), "intrinsics that no pinhole camera has"),
        (_changed(20, "-1.0"), "no rotation"),
        (_changed(20, "1.5"), "no rotation"),
        (_changed(35, "2.0"), "no rotation and translation"),
    ],
)
def test_a_malformed_line_is_named(line: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=r"pairs\.txt, line 3: .*" + said):
        parse_posed_pairs(f"# pairs\n{GOOD}\n{line.replace('a.png', 'c.png')}\n", "pairs.txt")


def test_a_pair_listed_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"line 4: the pair of line 1 again, a\.png and b\.png"):
        parse_posed_pairs(f"{GOOD}\n\n# again\n{GOOD}", "pairs.txt")


@pytest.mark.parametrize("text", ["", "# only a comment\n", "\n\n"])
def test_no_pairs_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="holds no pairs"):
        parse_posed_pairs(text, "pairs.txt")


def test_a_file_that_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot read the pairs"):
        read_posed_pairs(tmp_path / "pairs.txt")
    (tmp_path / "pairs.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="not a text of pairs"):
        read_posed_pairs(tmp_path / "pairs.txt")
