"""Whether files are of the same pairs: each fault is found when it is there, and only then."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gim.benchmarks.zeb import DATASETS
from gim.errors import InvalidInput
from gim.evaluation.check_results import Finding, check_results
from gim.evaluation.results_file import HEADER, results_file_name
from tests.zeb_files import unpack_published

PAIRS = [f"drive#{index:06d}.png#{index + 1:06d}.png" for index in range(5)]


def write(folder: Path, method: str, identifiers: list[str], dataset: str = "KITTI") -> Path:
    """A file with these pairs as they stand."""
    path = folder / results_file_name(method, dataset, "v1")
    path.write_text("\n".join([HEADER, *(f"{name} 0.5 0.5 1.0 1.0 1.0 1.0 9 1.0 9" for name in identifiers), ""]))
    return path


def findings(folder: Path, changed: list[str]) -> list[str]:
    """What is said of one file beside two others, of which nothing may be said."""
    for method in ("good", "other"):
        write(folder, method, PAIRS)
    path = write(folder, "changed", changed)
    found = check_results([folder]).findings
    assert {finding.file for finding in found} <= {path}
    return [finding.what for finding in found]


def test_nothing_is_found_where_all_agree(tmp_path: Path) -> None:
    assert findings(tmp_path, PAIRS) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (PAIRS[:2] + PAIRS[3:], [f"1 missing: {PAIRS[2]}"]),
        (PAIRS[1:], [f"1 missing: {PAIRS[0]}"]),
        (PAIRS[:1], [f"4 missing: {PAIRS[1]}, {PAIRS[2]}, {PAIRS[3]} and 1 more"]),
        ([], [f"5 missing: {PAIRS[0]}, {PAIRS[1]}, {PAIRS[2]} and 2 more"]),
        ([*PAIRS, PAIRS[1]], [f"1 twice: {PAIRS[1]}"]),
        ([PAIRS[0], *PAIRS], [f"1 twice: {PAIRS[0]}"]),
        ([*PAIRS, "drive#x.png#y.png"], ["1 extra: drive#x.png#y.png"]),
        (
            [PAIRS[0], PAIRS[2], PAIRS[1], *PAIRS[3:]],
            [f"another order: {PAIRS[2]} stands where {PAIRS[1]} should"],
        ),
        (
            [PAIRS[4], "drive#x.png#y.png", *PAIRS[1:4], PAIRS[1]],
            [
                f"1 twice: {PAIRS[1]}",
                f"1 missing: {PAIRS[0]}",
                "1 extra: drive#x.png#y.png",
                f"another order: {PAIRS[4]} stands where {PAIRS[1]} should",
            ],
        ),
    ],
)
def test_each_fault_is_named_and_nothing_said_of_the_others(
    tmp_path: Path, changed: list[str], said: list[str]
) -> None:
    assert findings(tmp_path, changed) == said


def test_of_two_files_the_shorter_lacks_what_the_longer_has(tmp_path: Path) -> None:
    longer = write(tmp_path, "longer", PAIRS)
    shorter = write(tmp_path, "shorter", PAIRS[:4])
    assert check_results([longer, shorter]).findings == [Finding(shorter, f"1 missing: {PAIRS[4]}")]


@given(st.lists(st.sampled_from([*PAIRS, "drive#x.png#y.png", "drive#z.png#y.png"]), max_size=9))
def test_faults_are_found_if_and_only_if_they_are_there(
    tmp_path_factory: pytest.TempPathFactory, changed: list[str]
) -> None:
    once = list(dict.fromkeys(changed))
    expected = {
        "twice": len([name for name, times in Counter(changed).items() if times > 1]),
        "missing": len(set(PAIRS) - set(changed)),
        "extra": len(set(changed) - set(PAIRS)),
        "order": int([name for name in once if name in PAIRS] != [name for name in PAIRS if name in once]),
    }
    found = dict.fromkeys(expected, 0)
    for what in findings(tmp_path_factory.mktemp("results"), changed):
        if what.startswith("another order"):
            found["order"] += 1
        else:
            number, word = what.partition(":")[0].split()
            found[word] += int(number)
    assert found == expected


def test_half_a_file_from_a_crash_is_found(tmp_path: Path) -> None:
    write(tmp_path, "good", PAIRS)
    path = write(tmp_path, "half", PAIRS)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3]))
    assert [finding.what.partition(":")[0] for finding in check_results([tmp_path]).findings] == ["3 missing"]
    path.write_text("".join(lines[:3])[:-8])
    with pytest.raises(InvalidInput, match=r"half .*v1\.txt, line 3: breaks off"):
        check_results([tmp_path])


def test_pairs_of_another_dataset_are_found_even_in_the_only_file(tmp_path: Path) -> None:
    path = write(tmp_path, "alone", ["kicker#a.JPG#b.JPG", *PAIRS])
    found = check_results([path])
    assert found.findings == [Finding(path, "1 of another dataset: kicker#a.JPG#b.JPG")]
    assert "one file, which was compared with nothing: KITTI" in found.notes


def test_datasets_are_compared_each_for_itself_and_in_the_order_of_the_table(tmp_path: Path) -> None:
    for dataset in ("own", "ICL-NUIM", "GTA-SfM", "Multi-FoV", "SceneNetRGBD"):
        suffix, prefix = {"GTA-SfM": ("", ""), "Multi-FoV": (".png", "img/")}.get(dataset, (".jpg", ""))
        for method in ("a", "b"):
            write(tmp_path, method, [f"s#{prefix}1{suffix}#{prefix}2{suffix}"], dataset)
    found = check_results([tmp_path])
    assert found.findings == []
    assert list(found.files.items()) == [
        (name, 2) for name in ("Multi-FoV", "SceneNetRGBD", "ICL-NUIM", "GTA-SfM", "own")
    ]
    assert "own is no dataset of ZEB: 1 pairs" in found.notes
    assert "GTA-SfM: 1 pairs, 5029 are published" in found.notes
    assert [note for note in found.notes if note.startswith("no results of")] == [
        f"no results of {dataset.name}" for dataset in DATASETS if dataset.name not in found.files
    ]


@pytest.mark.shared
def test_published_files_agree_and_a_changed_one_does_not(shared_data: Path, tmp_path: Path) -> None:
    folder = unpack_published(shared_data, tmp_path)
    found = check_results([folder])
    assert (found.findings, found.notes) == ([], [])
    assert list(found.files.items()) == [(dataset.name, 2) for dataset in DATASETS]
    path = folder / "[T] gim_dkm         GTA-SfM 100h.txt"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:100], *lines[101:]]))
    (finding,) = check_results(folder.glob("*GTA-SfM*")).findings
    assert finding == Finding(path, f"1 missing: {lines[100].split()[0]}")
