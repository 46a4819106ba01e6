from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.errors import ConfigError, InvalidInput
from gim.reconstruction.config import ReconstructionConfig
from gim.reconstruction.pairs import choose_pairs, neighbours, read_pairs

NAMES = ["a.jpg", "b.jpg", "c/d.jpg"]


def nobody(count):
    raise AssertionError("looks were asked for")


@given(st.integers(0, 9), st.integers(1, 9))
def test_neighbours_are_all_that_are_near(num_images, overlap):
    slow = [(i, j) for i in range(num_images) for j in range(num_images) if 0 < j - i <= overlap]
    assert neighbours(num_images, overlap) == slow


def test_few_images_are_paired_exhaustively_and_many_by_their_looks():
    config = ReconstructionConfig(max_exhaustive=3, num_similar=7)
    assert choose_pairs(NAMES, config, nobody) == list(combinations(range(3), 2))
    assert choose_pairs([*NAMES, "e"], config, lambda count: [(0, count)]) == [(0, 7)]


def test_a_sequence_has_its_neighbours_and_what_closes_loops():
    config = ReconstructionConfig(pairs="sequential", overlap=1)
    assert choose_pairs([*NAMES, "e"], config, lambda count: [(0, 3), (1, 2)]) == [(0, 1), (0, 3), (1, 2), (2, 3)]


def test_pairs_of_a_file_come_once_and_in_order(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("# mine\nc/d.jpg a.jpg\n\na.jpg c/d.jpg # again\nb.jpg a.jpg\n")
    assert read_pairs(path, NAMES) == [(0, 1), (0, 2)]
    assert choose_pairs(NAMES, ReconstructionConfig(pairs=str(path)), nobody) == [(0, 1), (0, 2)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.jpg b.jpg\na.jpg\n", "line 2: 1 words"),
        ("a.jpg x.jpg\n", "line 1: no image x.jpg; names are like a.jpg"),
        ("a.jpg a.jpg\n", "line 1: a.jpg with itself"),
        ("# none\n", "no pair in it"),
    ],
)
def test_a_file_that_is_wrong_is_named_with_its_line(tmp_path, text, words):
    path = tmp_path / "pairs.txt"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=words) as error:
        read_pairs(path, NAMES)
    assert str(path) in str(error.value)


def test_a_kind_that_is_none_is_taken_for_a_file(tmp_path):
    with pytest.raises(InvalidInput, match=r"exhaustiv: No such file.*expected exhaustive, sequential"):
        choose_pairs(NAMES, ReconstructionConfig(pairs="exhaustiv"), nobody)


@pytest.mark.parametrize("bad", [{"overlap": 0}, {"merge_px": -1.0}, {"seed": -1}, {"min_inliers": 7}])
def test_settings_that_make_no_sense_are_refused(bad):
    with pytest.raises(ConfigError):
        ReconstructionConfig(**bad)
