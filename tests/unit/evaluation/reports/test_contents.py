"""One table of what was read and what is printed, and notes that leave nothing out."""

import pytest

from gim.benchmarks.zeb import DATASETS
from gim.errors import InvalidInput
from gim.evaluation.reports.contents import make_contents
from gim.evaluation.reports.notes import MEAN, NAME, RANK
from tests.unit.evaluation.reports.made_results import HOSTILE, results

ZEB = [dataset.name for dataset in DATASETS]


def note_of(contents, row, place):
    return next(note.text for note in contents.notes if note.mark == row.marks[place])


def test_rows_when_read_and_printed_then_read_first_and_each_sorted_by_mean(three):
    names = [row.name for row in three.rows if not row.is_printed]
    assert names == ["dkm", HOSTILE, "sift"]
    printed = [row for row in three.rows if row.is_printed]
    assert three.rows == three.rows[:3] + printed
    assert [row.mean for row in printed] == sorted((row.mean for row in printed), reverse=True)
    assert len(printed) == 16
    assert three.columns == ZEB


def test_a_mean_when_over_fewer_datasets_then_is_not_whole_and_says_over_which(three):
    row = three.rows[2]
    assert not row.is_whole
    text = note_of(three, row, MEAN)
    assert "over 1 of 12 datasets" in text
    assert all(name in text for name in ZEB if name != "GL3D")
    assert three.summaries[2].missing == [name for name in ZEB if name != "GL3D"]


def test_a_mean_when_over_fewer_pairs_then_is_not_whole_and_says_so():
    contents = make_contents([results("m", ZEB, num_pairs=7)], with_published=False)
    assert not contents.rows[0].is_whole
    assert "7 of KITTI (5,013)" in note_of(contents, contents.rows[0], MEAN)


def test_whole_means_when_others_are_partial_then_come_first(monkeypatch):
    # All pairs of ZEB would take long.
    monkeypatch.setattr("gim.evaluation.reports.notes.DATASETS", ())
    contents = make_contents(
        [results("all", ZEB, num_pairs=5, scale=9), results("good", ZEB[:4], num_pairs=5, scale=0.1)]
    )
    assert [(row.name, row.is_whole) for row in contents.rows[:2]] == [("all", True), ("good", False)]
    assert contents.rows[0].mean < contents.rows[1].mean
    assert MEAN not in contents.rows[0].marks
    assert (
        list(contents.results) == list(contents.scores) == [item.name for item in contents.summaries] == ["all", "good"]
    )


def test_protocols_when_stated_then_named_and_unlike_ones_called_so(three):
    assert "protocol gim, revision 1" in note_of(three, three.rows[0], NAME)
    assert "version vanilla, which is no protocol known here" in note_of(three, three.rows[2], NAME)
    general = [note.text for note in three.notes if not note.mark]
    assert any(f"dkm is of gim-1, {HOSTILE} is of strict-1" in text for text in general)
    assert any(text.startswith("The printed rows") and HOSTILE in text and "dkm" not in text for text in general)
    alike = make_contents([results("a", ["GL3D"]), results("b", ["GL3D"])])
    assert not any("protocols" in note.text for note in alike.notes)


def test_errata_when_printed_rows_are_there_then_are_at_their_numbers(three):
    rows = {row.name: row for row in three.rows if row.is_printed}
    assert rows["RootSIFT"].scores["GTA-SfM"] == 35.1
    assert "Printed as 43.9, right is 35.1" in note_of(three, rows["RootSIFT"], "GTA-SfM")
    assert "4.58" in note_of(three, rows["GIM_LoFTR 50h"], RANK)
    assert "arXiv 2402.11095" in note_of(three, rows["RootSIFT"], NAME)


def test_ranks_when_no_dataset_is_common_then_are_none_and_said_to_be():
    contents = make_contents([results("a", ["GL3D"]), results("b", ["KITTI"])])
    assert [row.rank for row in contents.rows[:2]] == [None, None]
    assert any(note.text.startswith("Rank: none") for note in contents.notes)
    assert contents.common == []


@pytest.mark.parametrize(("datasets", "asked"), [(["yard"], True), (["GL3D"], False)])
def test_printed_rows_when_not_of_zeb_or_not_asked_for_then_are_left_out(datasets, asked):
    contents = make_contents([results("a", datasets)], with_published=asked)
    assert [row.name for row in contents.rows] == ["a"]
    assert contents.published.scores == []
    assert contents.columns == (datasets if "yard" in datasets else ZEB)
    assert contents.rows[0].is_whole == ("yard" in datasets)


def test_a_mean_when_it_counts_another_dataset_than_zebs_then_is_not_whole():
    contents = make_contents([results("a", ["GL3D", "yard"])])
    assert "no dataset of ZEB, yard" in note_of(contents, contents.rows[0], MEAN)
    assert contents.columns == [*ZEB, "yard"]


def test_places_of_differences_when_of_a_mean_then_say_over_how_many(three):
    places = {(item.method, item.other): three.place_of(item) for item in three.differences(of_means=True)}
    assert places[("dkm", HOSTILE)] == "mean of 2 datasets"
    assert places[("dkm", "sift")] == "mean, which is over GL3D alone"
    assert {three.place_of(item) for item in three.differences(of_means=False)} == {"GL3D", "KITTI"}


def test_make_contents_when_pairs_differ_then_is_refused():
    with pytest.raises(InvalidInput, match="other pairs"):
        make_contents([results("a", ["GL3D"]), results("b", ["GL3D"], num_pairs=29)])
