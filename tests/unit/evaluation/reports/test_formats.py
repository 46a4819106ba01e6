"""Every format says the same numbers, and what is missing; none can be broken by a name."""

import csv
import io
import json
import math
import re
import zipfile

import pytest
from openpyxl import load_workbook
from rich.console import Console

from gim.evaluation.reports import cells
from gim.evaluation.reports.as_csv import COLUMNS, as_csv
from gim.evaluation.reports.as_json import as_json
from gim.evaluation.reports.as_markdown import as_markdown
from gim.evaluation.reports.as_xlsx import as_xlsx
from gim.evaluation.reports.contents import make_contents
from gim.evaluation.reports.table import SHORT_NAMES, as_table
from tests.unit.evaluation.reports.made_results import HOSTILE, results


def printed(contents, width):
    console = Console(width=width, highlight=False, file=io.StringIO())
    console.print(as_table(contents, width))
    return console.file.getvalue()


def numbers_of(value):
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers_of(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers_of(item)]
    return [value] if isinstance(value, float) else []


def test_json_when_pairs_fail_then_is_one_object_of_finite_numbers_that_are_the_scores(three):
    found = json.loads(json.dumps(as_json(three), allow_nan=False))
    assert all(math.isfinite(number) for number in numbers_of(found))
    assert list(found["methods"]) == ["dkm", HOSTILE, "sift"]
    dkm = found["methods"]["dkm"]
    score = three.scores["dkm"].datasets["KITTI"]
    assert dkm["datasets"] == {"GL3D": dkm["scores"]["GL3D"]["auc"]["5"], "KITTI": score.auc["5"]}
    assert dkm["mean"] == dkm["auc"]["5"] == pytest.approx(sum(dkm["datasets"].values()) / 2)
    assert dkm["scores"]["KITTI"]["failures"] == 3
    assert sum(item["pairs"] for item in dkm["scores"]["KITTI"]["overlap_bins"]) == 30
    assert found["methods"]["sift"]["missing"][:2] == ["BlendedMVS", "ETH3DI"]
    assert found["methods"][HOSTILE]["seeds"] == 3
    assert found["methods"][HOSTILE]["protocol"]["name"] == "strict"
    assert found["methods"]["sift"]["protocol"] is None
    assert found["published"]["rows"][0]["method"] == "RootSIFT"
    assert len(found["published"]["errata"]) == 3
    assert "auc" not in found


def test_json_when_one_method_then_its_sums_are_at_the_top():
    found = as_json(make_contents([results("m", ["yard", "hall"])]))
    assert (found["pairs"], found["failures"]) == (60, 6)
    assert found["auc"] == found["methods"]["m"]["auc"]
    assert found["published"] == {"rows": [], "errata": []}


@pytest.mark.parametrize("num_pairs", [0, 1])
def test_formats_when_no_pair_has_a_pose_then_scores_are_zero(num_pairs):
    lost = results("m", ["GL3D"], num_pairs=num_pairs, scale=math.inf)
    contents = make_contents([lost, results("n", ["GL3D"], num_pairs=num_pairs, scale=math.inf)])
    found = json.loads(json.dumps(as_json(contents), allow_nan=False))
    assert found["methods"]["m"]["auc"] == {"5": 0.0, "10": 0.0, "20": 0.0}
    assert found["differences"][0]["excludes_zero"]["5"] is False
    for text in (as_csv(contents), as_markdown(contents), printed(contents, 200)):
        assert "nan" not in text.lower().replace("kitti", "")


def test_csv_when_read_back_then_has_every_number_and_names_what_is_missing(three):
    lines = list(csv.DictReader(io.StringIO(as_csv(three))))
    assert list(lines[0]) == COLUMNS
    read = {(line["method"], line["dataset"]): line for line in lines if line["kind"] == "read"}
    assert len(read) == 3 * (1 + 12)
    score = three.scores[HOSTILE].datasets["KITTI"]
    line = read[HOSTILE, "KITTI"]
    assert [float(line[f"auc_5{end}"]) for end in ("", "_low", "_high")] == pytest.approx(
        [score.auc["5"], score.interval["5"].low, score.interval["5"].high], abs=1e-4
    )
    assert float(line["spread_10"]) == pytest.approx(score.spread["10"], abs=1e-4)
    assert (line["pairs"], line["failures"], line["protocol"]) == ("30", "3", "strict-1")
    assert (read["sift", "KITTI"]["note"], read["sift", "KITTI"]["auc_5"]) == ("missing", "")
    assert "over 1 of 12" in read["sift", ""]["note"]
    errata = [line["note"] for line in lines if line["method"] == "RootSIFT" and line["dataset"] == "GTA-SfM"]
    assert "43.9" in errata[0]
    assert sum(line["kind"] == "difference" for line in lines) == len(three.comparison.differences)


def test_workbook_when_read_back_then_numbers_are_numbers_and_names_are_texts(three):
    book = load_workbook(io.BytesIO(as_xlsx(three)))
    assert book.sheetnames == ["Table", "Scores", "Overlap", "Differences", "Published", "Notes"]
    for sheet in book:
        assert sheet.freeze_panes in ("A2", "B2")
        assert all(cell.data_type != "f" for row in sheet.iter_rows() for cell in row)
    heads = [cell.value for cell in book["Table"][1]]
    row = dict(zip(heads, book["Table"][3], strict=True))
    assert (row["method"].value, row["over all datasets"].value) == (HOSTILE, "no")
    assert row["KITTI"].value == pytest.approx(three.scores[HOSTILE].datasets["KITTI"].auc["5"])
    assert row["KITTI"].number_format == "0.00"
    assert row["ICL-NUIM"].value is None
    missing = [line[1].value for line in book["Scores"].iter_rows(min_row=2) if line[2].value == "missing"]
    assert len(missing) == 3 * 12 - 5
    assert book["Published"].max_row == 1 + 16 + 3


def test_files_when_written_twice_then_have_the_same_bytes_and_no_time(three):
    first = [as_xlsx(three), as_csv(three), as_markdown(three)]
    assert [as_xlsx(three), as_csv(three), as_markdown(three)] == first
    with zipfile.ZipFile(io.BytesIO(first[0])) as book:
        assert {item.date_time[0] for item in book.infolist()} == {1980}
        times = re.findall(r"<dcterms:\w+[^>]*>([^<]*)", book.read("docProps/core.xml").decode())
    assert times == ["1980-01-01T00:00:00Z"] * 2


def test_markdown_when_names_are_hostile_then_every_row_has_the_same_cells(three):
    text = as_markdown(three)
    assert "<b>" not in text.replace("\\<b\\>", "")
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert "no results of BlendedMVS" in text
    assert "*RootSIFT* (printed)" in text
    assert text.count("\n## ") == 2


@pytest.mark.parametrize("width", [60, 80, 130, 10_000])
def test_table_when_narrow_then_comes_in_blocks_that_fit_and_leave_nothing_out(three, width):
    text = printed(three, width)
    scores = text.partition("Datasets:")[0]
    assert all(len(line.rstrip()) <= width for line in scores.splitlines())
    heads = [word for line in scores.splitlines() if line.startswith("method") for word in line.split()]
    assert [head for head in heads if head in SHORT_NAMES.values()] == list(SHORT_NAMES.values())
    assert f"{three.scores['dkm'].datasets['KITTI'].auc['5']:.2f}" in scores
    assert f"({three.rows[2].mean:.2f})" in scores
    assert "no results of BlendedMVS" in " ".join(text.split())


def test_table_when_three_methods_then_has_the_differences_of_means_and_says_where_others_are(three):
    text = printed(three, 10_000)
    assert len(re.findall(r"^(?:dkm|=<b>).*mean", text, re.MULTILINE)) == 3
    assert "--html" in text


@pytest.mark.parametrize(("name", "shown"), [("a\x1b[2Jb\n", "a?[2Jb?"), ("\udcff|", "?|"), ("größe", "größe")])
def test_printable_when_a_name_would_move_the_cursor_then_it_cannot(name, shown):
    assert cells.printable(name) == shown
    contents = make_contents([results(name, ["yard"])])
    assert shown in printed(contents, 200)
    as_xlsx(contents)
    as_csv(contents).encode()
    as_markdown(contents).encode()
