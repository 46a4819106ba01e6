"""`gim evaluate report` and `check`: from files to a table, and an exit code that means something."""

import json
import time

import pytest
import typer

from gim.cli import main
from gim.cli._evaluate_report import add_commands
from tests.zeb_files import results_of, unpack_published, write_results


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """`gim evaluate` of these two commands only."""

    def build_app():
        app = typer.Typer()
        evaluate = typer.Typer()
        add_commands(evaluate)
        app.add_typer(evaluate, name="evaluate")
        return app

    monkeypatch.setattr(main, "build_app", build_app)


@pytest.fixture
def gim(capsys):
    def run(*words):
        code = main.run_command([str(word) for word in ("evaluate", *words)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def folder(tmp_path):
    there = tmp_path / "results"
    write_results(there, results_of([1.0, 7.0, float("inf")]), ("good", "yard", "gim-1"))
    write_results(there, results_of([4.0, 9.0, 30.0]), ("poor", "yard", "gim-1"))
    return there


def test_report_when_asked_for_all_formats_then_writes_each_whole(gim, folder, tmp_path):
    names = {"csv": "o.csv", "xlsx": "o.xlsx", "markdown": "o.md", "html": "deep/o.html"}
    options = [word for option, name in names.items() for word in (f"--{option}", tmp_path / name)]
    code, out, err = gim("report", folder, "--json", *options)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert list(found["methods"]) == ["good", "poor"]
    assert found["seconds"] >= 0
    assert all((tmp_path / name).stat().st_size > 300 for name in names.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "o.csv", "o.md", "o.xlsx", "results"]


def test_report_when_of_one_file_then_its_numbers_are_at_the_top(gim, folder):
    code, out, _ = gim("report", folder / "[T] good            yard gim-1.txt", "--json")
    found = json.loads(out)
    assert (code, found["pairs"], found["failures"], set(found["auc"])) == (0, 3, 1, {"5", "10", "20"})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "there is no such file or folder"),
        ((".", "--html", "."), "a folder"),
        ((".", "--csv", "file/x.csv"), "is a file, not a folder"),
        ((".", "--images", "."), "give --html"),
    ],
)
def test_report_when_asked_wrongly_then_is_one_line_and_nothing_is_written(gim, folder, monkeypatch, words, message):
    monkeypatch.chdir(folder)
    (folder / "file").touch()
    before = sorted(folder.iterdir())
    code, out, err = gim("report", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert sorted(folder.iterdir()) == before


def test_report_when_a_file_breaks_off_then_names_the_line(gim, folder):
    path = folder / "[T] good            yard gim-1.txt"
    path.write_text(path.read_text()[:-20])
    code, _, err = gim("report", folder)
    assert code == 2
    assert "good" in err
    assert "line" in err


def test_check_when_pairs_are_the_same_then_ends_well_and_says_what_was_compared(gim, folder):
    code, out, _ = gim("check", folder)
    assert code == 0
    assert "2 files of 1 datasets: the same pairs in the same order" in out
    assert "yard     2" in out
    assert "note: no results of KITTI" in out


def test_check_when_pairs_differ_then_fails_and_names_them(gim, folder):
    write_results(folder, results_of([4.0, 9.0]), ("short", "yard", "gim-1"))
    code, out, _ = gim("check", folder)
    assert code == 1
    assert "1 missing: scene#0002#x" in out
    code, out, _ = gim("check", folder, "--json")
    found = json.loads(out)
    assert (code, found["same"], len(found["findings"]), found["files"]) == (1, False, 1, {"yard": 3})


@pytest.mark.shared
def test_report_when_of_published_files_then_stands_beside_the_printed_rows(gim, shared_data, tmp_path):
    folder = unpack_published(shared_data, tmp_path / "published")
    paths = sorted(folder.glob("*RobotcarSeason*"))
    started = time.monotonic()
    code, out, _ = gim("report", *paths, "--json", "--html", tmp_path / "o.html")
    assert code == 0
    assert time.monotonic() - started < 20  # some seconds of a shared machine; a loop over pairs would take minutes
    methods = json.loads(out)["methods"]
    assert methods["gim_dkm"]["datasets"] == {"RobotcarSeason": pytest.approx(52.40, abs=0.01)}
    assert methods["root_sift"]["datasets"] == {"RobotcarSeason": pytest.approx(44.45, abs=0.01)}
    assert len(methods["gim_dkm"]["missing"]) == 11
    page = (tmp_path / "o.html").read_text()
    assert "52.40" in page
    assert "GIM_DKM 100h" in page
    assert gim("check", *paths)[0] == 0
