"""Result files: what is read is written again byte for byte, and what is not whole is refused by file and line."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.errors import InvalidInput
from gim.evaluation.results_file import (
    HEADER,
    PairResult,
    format_results,
    parse_results,
    parts_of_name,
    read_identifiers,
    read_results_file,
    results_file_name,
    results_files_of,
)
from tests.zeb_files import results_of, unpack_published, write_results

NAME = ("mine", "KITTI", "v1")
LINE = "s#a#b 0.25 0.5 1.5 2.0 inf 0.75 12 1.0 9"
NUMBERS = st.floats(0, allow_nan=False)
RESULTS = st.builds(
    PairResult,
    st.text("aZ09_#/.-", min_size=1, max_size=4),
    *[NUMBERS] * 6,
    st.integers(0, 10**6),
    NUMBERS,
    st.integers(0, 10**6),
)


@given(st.lists(RESULTS, max_size=5, unique_by=lambda result: result.identifier))
def test_results_are_read_as_they_were_written(results: list[PairResult]) -> None:
    found = parse_results(format_results(results), "text")
    assert found == sorted(results, key=lambda result: result.identifier)
    assert format_results(found) == format_results(results)


@pytest.mark.shared
def test_published_files_are_written_byte_for_byte(shared_data: Path, tmp_path: Path) -> None:
    paths = results_files_of(unpack_published(shared_data, tmp_path))
    assert len(paths) == 24
    for path in paths:
        read = read_results_file(path)
        assert results_file_name(read.method, read.dataset, read.version) == path.name
        assert format_results(read.results).encode() == path.read_bytes()


def test_columns_are_what_the_header_says() -> None:
    assert HEADER.split() == [
        *("identifiers", "covisible0", "covisible1", "R_errs", "t_errs", "t_errs2"),
        *("Bef.Prec", "Bef.Num", "Aft.Prec", "Aft.Num"),
    ]
    (found,) = parse_results(f"{HEADER}\n{LINE}\n", "text")
    assert found == PairResult(
        identifier="s#a#b",
        overlap0=0.25,
        overlap1=0.5,
        rotation_error_deg=1.5,
        translation_error_deg=2.0,
        translation_error=math.inf,
        precision_before=0.75,
        num_right_before=12,
        precision_after=1.0,
        num_right_after=9,
    )


@pytest.mark.parametrize(
    ("rotation", "translation", "error"),
    [
        (1.0, 2.0, 2.0),
        (3.0, 2.0, 3.0),
        (math.inf, math.inf, math.inf),
        (math.nan, 1, math.inf),
        (1, math.nan, math.inf),
    ],
)
def test_the_larger_angle_counts_and_no_number_is_a_failure(rotation: float, translation: float, error: float) -> None:
    assert PairResult("s#a#b", 0, 0, rotation, translation, 0, 0, 0, 0, 0).pose_error_deg == error


@pytest.mark.parametrize("dataset", ["KITTI", "RobotcarWeather", "my-own-and-long-one"])
def test_a_name_is_read_as_it_was_made(dataset: str) -> None:
    name = results_file_name("gim_dkm", dataset, "100h")
    assert parts_of_name(Path("anywhere") / name) == ("gim_dkm", dataset, "100h")


def test_a_name_is_spelt_as_published() -> None:
    assert results_file_name("gim_dkm", "KITTI", "100h") == "[T] gim_dkm           KITTI 100h.txt"
    assert results_file_name("root_sift", "RobotcarWeather", "vanilla") == "[T] root_sift RobotcarWeather vanilla.txt"


@pytest.mark.parametrize("part", ["", "a b", "a/b", "a\nb", " a"])
@pytest.mark.parametrize("place", range(3))
def test_a_part_that_could_not_be_read_back_is_refused(part: str, place: int) -> None:
    parts = list(NAME)
    parts[place] = part
    with pytest.raises(InvalidInput, match="a name has no blank and no slash"):
        results_file_name(*parts)


@pytest.mark.parametrize(
    "name", ["[T] mine KITTI.txt", "[T] a b KITTI v1.txt", "mine KITTI v1.txt", "[T] mine KITTI v1.csv"]
)
def test_the_name_of_something_else_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"results are in files called '\[T\] METHOD DATASET VERSION\.txt'"):
        parts_of_name(Path(name))


def test_files_are_found_in_a_folder_and_others_left_alone(tmp_path: Path) -> None:
    paths = [write_results(tmp_path, results_of([1]), (method, "KITTI", "v1")) for method in ("b", "a")]
    for other in ("README.md", "notes.txt", "[T] a KITTI v1.txt.partial"):
        (tmp_path / other).write_text("no results")
    assert results_files_of(tmp_path) == sorted(paths)
    assert results_files_of(paths[0]) == [paths[0]]


def test_nothing_to_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no such file or folder"):
        results_files_of(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="holds no results"):
        results_files_of(tmp_path)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([""], "line 1: expected the header"),
        (["image0 image1", LINE], "line 1: expected the header"),
        ([LINE], "line 1: expected the header"),
        ([HEADER, LINE, LINE.rpartition(" ")[0]], "line 3: expected 10 columns, got 9"),
        ([HEADER, LINE + " 1"], "line 2: expected 10 columns, got 11"),
        ([HEADER, "", LINE], "line 2: expected 10 columns, got 0"),
        ([HEADER, LINE.replace("1.5", "wide")], "line 2: could not convert string to float: 'wide'"),
        ([HEADER, LINE.replace(" 12 ", " 12.5 ")], "line 2: invalid literal for int"),
        ([HEADER, LINE, LINE.replace("a", "c"), LINE], "line 4: the pair of line 2 again, s#a#b"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path: Path, lines: list[str], said: str) -> None:
    path = tmp_path / results_file_name(*NAME)
    path.write_text("\n".join([*lines, ""]))
    with pytest.raises(InvalidInput) as refused:
        read_results_file(path)
    assert str(refused.value).startswith(f"{path}, {said}")
    assert "\n" not in str(refused.value)


def test_identifiers_are_read_with_those_that_are_there_twice(tmp_path: Path) -> None:
    path = tmp_path / results_file_name(*NAME)
    path.write_text("\n".join([HEADER, LINE, LINE.replace("a", "c"), LINE, ""]))
    assert read_identifiers(path) == ["s#a#b", "s#c#b", "s#a#b"]


def test_half_a_file_is_read_only_up_to_a_whole_line(tmp_path: Path) -> None:
    results = list(results_of([1.0, math.inf, 12.5]))
    path = write_results(tmp_path, results, NAME)
    text = path.read_text()
    ends = [index + 1 for index, sign in enumerate(text) if sign == "\n"]
    assert len(ends) == 4
    for length in range(len(text)):
        path.write_text(text[:length])
        if length in ends:
            assert list(read_results_file(path).results) == results[: ends.index(length)]
            continue
        with pytest.raises(InvalidInput, match=r"line 1: expected the header|breaks off; the file"):
            read_results_file(path)


def test_a_file_without_pairs_is_read(tmp_path: Path) -> None:
    assert read_results_file(write_results(tmp_path, [], NAME)).results == ()


def test_what_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / results_file_name(*NAME)
    with pytest.raises(InvalidInput, match=r"v1\.txt: cannot be read"):
        read_results_file(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match=r"v1\.txt: not a text of results"):
        read_results_file(path)
