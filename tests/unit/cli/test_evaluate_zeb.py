"""`gim evaluate zeb`: what it prints is what its files say, nothing is done twice, and what is wrong is one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gim import codecs
from gim.adapters.store_file import FileStore
from gim.benchmarks.zeb import DATASETS
from gim.cli import _evaluation
from gim.cli.main import run_command
from gim.evaluation import passes
from gim.evaluation.check_results import check_results
from gim.evaluation.comparison import compare, read_results
from gim.evaluation.results_file import read_results_file, results_files_of
from gim.matchers.rootsift import RootSift
from gim.records import Features
from tests.zeb_folder import write_zeb

NUM_PAIRS = 4  # of each dataset
QUICK = ("--set", "matcher.rootsift.max_keypoints=500", "--set", "run.threads=1")


@pytest.fixture(scope="module")
def zeb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_zeb(tmp_path_factory.mktemp("zeb"), num_pairs=NUM_PAIRS)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For what is matched alike by many tests."""
    return tmp_path_factory.mktemp("kept") / "store"


def words(zeb: Path, store: Path, out: Path, *more: str) -> list[str]:
    return ["evaluate", "zeb", str(zeb), "--store", str(store), "--out", str(out), *QUICK, *more]


def as_json(text: str) -> dict[str, Any]:
    """One object, and no number that JSON does not have."""
    assert text.count("\n") == 1
    return dict(json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON")))


def evaluate(capsys: pytest.CaptureFixture[str], *given: Any) -> dict[str, Any]:
    assert run_command([*words(*given), "--json"]) == 0
    return as_json(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *given: Any) -> str:
    """What is said on stderr, notes left out."""
    assert run_command(words(*given)) == 2
    caught = capsys.readouterr()
    assert caught.out == ""
    (line,) = [line for line in caught.err.splitlines() if not line.startswith("note: ")]
    return line.removeprefix("error: ")


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_printed_is_what_the_files_say(
    capsys: pytest.CaptureFixture[str], zeb: Path, store: Path, tmp_path: Path
) -> None:
    said = evaluate(capsys, zeb, store, tmp_path / "out")
    assert set(said["datasets"]) == {"GL3D", "KITTI"}
    assert (said["pairs"], said["failures"], said["unfinished"]) == (2 * NUM_PAIRS, 0, [])
    assert (said["matcher"], said["protocol"]["id"]) == ("rootsift", "gim-1")
    assert said["missing"] == [dataset.name for dataset in DATASETS if dataset.folder not in ("gl3d", "kitti")]
    assert said["seconds"] > 0
    assert said["auc"]["20"] > 60  # exact cameras, textured walls, but coarse images
    paths = results_files_of(tmp_path / "out")
    assert said["files"] == [str(path) for path in sorted(paths, key=lambda path: path.name.split()[2])]
    (method,) = compare(read_results(paths)).methods
    assert (method.method, method.version, method.mean) == ("rootsift", "gim-1", said["auc"])
    for name, score in method.datasets.items():
        shown = said["datasets"][name]
        assert (shown["auc"], shown["pairs"], shown["failures"]) == (score.auc, NUM_PAIRS, 0)
        assert shown["precision_before"] == score.precision_before > 50
        assert shown["interval"]["5"] == [score.interval["5"].low, score.interval["5"].high]
    assert check_results(paths).findings == []


def test_a_second_run_matches_nothing_and_writes_the_same_bytes(
    capsys: pytest.CaptureFixture[str], zeb: Path, store: Path, tmp_path: Path, matched: list[int]
) -> None:
    first = evaluate(capsys, zeb, store, tmp_path / "first")
    matched.clear()
    opened = FileStore(store)
    before = {key: opened.get(key) for key in opened.list()}
    again = evaluate(capsys, zeb, store, tmp_path / "again")
    assert matched == []
    assert {key: opened.get(key) for key in opened.list()} == before
    opened.close()
    assert files_of(tmp_path / "again") == files_of(tmp_path / "first")
    for facts in (first, again):
        del facts["seconds"], facts["files"]
    assert again == first
    # Nor does it ask where the folder lies.
    moved = evaluate(capsys, zeb.rename(zeb.with_name("moved")), store, tmp_path / "moved")
    zeb.with_name("moved").rename(zeb)
    assert (moved["auc"], matched) == (first["auc"], [])


def test_another_protocol_scores_the_same_matches(
    capsys: pytest.CaptureFixture[str], zeb: Path, store: Path, tmp_path: Path, matched: list[int]
) -> None:
    evaluate(capsys, zeb, store, tmp_path / "gim")
    matched.clear()
    said = evaluate(capsys, zeb, store, tmp_path / "strict", "--protocol", "strict", "--dataset", "gl3d")
    assert matched == []
    versions = [read_results_file(path).version for path in results_files_of(tmp_path / "strict")]
    assert versions == ["strict-1.seed0", "strict-1.seed1", "strict-1.seed2"]
    assert said["datasets"]["GL3D"]["spread"]["5"] >= 0
    (method,) = compare(read_results([tmp_path / "strict"])).methods
    assert method.mean == said["auc"]


def test_other_settings_of_the_matcher_or_other_images_are_matched_anew(
    capsys: pytest.CaptureFixture[str], zeb: Path, tmp_path: Path, matched: list[int]
) -> None:
    write_zeb(tmp_path / "zeb", ["gl3d"], num_pairs=1)
    given = (tmp_path / "zeb", tmp_path / "store", tmp_path / "out")
    evaluate(capsys, *given)
    evaluate(capsys, *given, "--set", "matcher.rootsift.ratio=0.7")
    assert len(matched) == 2
    image = next((tmp_path / "zeb/gl3d").glob("*.png"))
    image.write_bytes(image.read_bytes() + b"\0")
    evaluate(capsys, *given)
    assert len(matched) == 3


def test_datasets_that_are_absent_are_named_and_those_asked_for_are_enough(
    capsys: pytest.CaptureFixture[str], zeb: Path, store: Path, tmp_path: Path
) -> None:
    evaluate(capsys, zeb, store, tmp_path / "out")
    assert run_command(words(zeb, store, tmp_path / "out")) == 0
    (note,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert note.startswith(f"note: {zeb} has no blendedmvs, eth3di, ")
    assert note.endswith("gtasfm: the mean is over 2")
    given = (zeb, store, tmp_path / "out", "--dataset", "KITTI", "--dataset", "scenenet")
    assert run_command([*words(*given), "--json"]) == 0
    caught = capsys.readouterr()
    assert "has no scenenet: the mean is over 1" in caught.err
    said = as_json(caught.out)
    assert (list(said["datasets"]), said["missing"]) == (["KITTI"], ["SceneNetRGBD"])


def test_a_person_sees_a_table_and_where_the_files_are(
    capsys: pytest.CaptureFixture[str], zeb: Path, store: Path, tmp_path: Path
) -> None:
    assert run_command(words(zeb, store, tmp_path / "out", "--method", "mine")) == 0
    out = capsys.readouterr().out
    assert "mean AUC@5/10/20 over 2 of 12 datasets: " in out
    assert "rootsift, protocol gim-1" in out
    assert [line for line in out.splitlines() if line.startswith("/")] == [
        str(tmp_path / f"out/[T] mine {name:>15} gim-1.txt") for name in ("GL3D", "KITTI")
    ]


def test_progress_is_told_on_stderr_only(
    capsys: pytest.CaptureFixture[str], zeb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_evaluation, "_LINE_SECONDS", 0.0)
    monkeypatch.setattr(passes, "CHUNK", 1)
    given = (zeb, tmp_path / "store", tmp_path / "out", "--dataset", "gl3d")
    assert run_command(words(*given)) == 0
    caught = capsys.readouterr()
    lines = [line for line in caught.err.splitlines() if not line.startswith("note: ")]
    assert lines == [f"GL3D: {done} of {NUM_PAIRS} pairs" for done in range(1, NUM_PAIRS + 1)]
    assert " of 4 pairs" not in caught.out
    assert run_command([*words(*given), "--json"]) == 0
    assert " of 4 pairs" not in capsys.readouterr().err


def test_no_match_anywhere_is_a_score_of_zero_and_no_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_zeb(tmp_path / "zeb", ["gl3d"], num_pairs=3)
    for image in (tmp_path / "zeb/gl3d").glob("*.png"):
        image.write_bytes(codecs.encode_png(np.full((150, 200, 3), 90, np.uint8)))
    for protocol in ("gim", "strict"):
        said = evaluate(capsys, tmp_path / "zeb", tmp_path / "store", tmp_path / "out", "--protocol", protocol)
        assert (said["pairs"], said["failures"]) == (3, 3)
        assert said["auc"] == {"5": 0, "10": 0, "20": 0}
        assert said["datasets"]["GL3D"]["precision_before"] == 0
    results = read_results_file(results_files_of(tmp_path / "out")[0]).results
    assert {result.rotation_error_deg for result in results} == {np.inf}


def test_half_a_results_file_of_a_crash_is_replaced_whole(
    capsys: pytest.CaptureFixture[str], zeb: Path, store: Path, tmp_path: Path
) -> None:
    evaluate(capsys, zeb, store, tmp_path / "out")
    whole = files_of(tmp_path / "out")
    for name, data in whole.items():
        (tmp_path / "out" / name).write_bytes(data[:-30])
    evaluate(capsys, zeb, store, tmp_path / "out")
    assert files_of(tmp_path / "out") == whole


def test_shards_say_what_is_unfinished_and_the_last_writes_the_files(
    capsys: pytest.CaptureFixture[str], zeb: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate(capsys, zeb, store, tmp_path / "whole")
    monkeypatch.setattr(passes, "CHUNK", 1)
    given = (zeb, tmp_path / "store", tmp_path / "out")
    first = evaluate(capsys, *given, "--shard", "1/3")
    assert (first["unfinished"], first["files"], first["auc"], first["pairs"]) == (["GL3D", "KITTI"], [], {}, 0)
    assert not (tmp_path / "out").exists()
    assert run_command(words(*given, "--shard", "0/3")) == 0
    assert "other shards are missing of GL3D, KITTI" in capsys.readouterr().out
    assert evaluate(capsys, *given, "--shard", "2/3")["auc"] == whole["auc"]
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_an_interrupted_evaluation_goes_on_where_it_was(
    capsys: pytest.CaptureFixture[str], zeb: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(capsys, zeb, store, tmp_path / "whole")
    monkeypatch.setattr(passes, "CHUNK", 1)
    real, calls = RootSift.match_features, []

    def interrupted(self: RootSift, features0: Features, features1: Features) -> Any:
        calls.append(1)
        if len(calls) == NUM_PAIRS + 3:
            raise KeyboardInterrupt
        return real(self, features0, features1)

    monkeypatch.setattr(RootSift, "match_features", interrupted)
    given = (zeb, tmp_path / "store", tmp_path / "out")
    assert run_command(words(*given)) == 130
    caught = capsys.readouterr()
    assert "error: interrupted: the same command continues where this one stopped" in caught.err
    assert caught.out == ""
    evaluate(capsys, *given)
    assert len(calls) == 2 * NUM_PAIRS + 1  # the pair at which it was interrupted, and no other, again
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--dataset", "kity"], "no dataset of ZEB is called 'kity' (did you mean kitti?): gl3d, "),
        (["--dataset", "eth3di"], "holds no dataset of ZEB; expected a folder for each of eth3di"),
        (["--protocol", "gimm"], "no protocol 'gimm' (did you mean gim?): gim, glue-factory, strict"),
        (["--matcher", "rootsfit"], "no matcher 'rootsfit' (did you mean rootsift?)"),
        (["--method", "my matcher"], "a name has no blank and no slash"),
        (["--shard", "3/3"], "shard '3/3': expected I/N with I from 0 to N - 1, as in 0/4"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    capsys: pytest.CaptureFixture[str], zeb: Path, tmp_path: Path, more: list[str], said: str
) -> None:
    assert said in refused(capsys, zeb, tmp_path / "store", tmp_path / "out", *more)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("out", ["file", "file/below/it"])
def test_a_place_that_takes_no_files_is_refused_before_any_work(
    capsys: pytest.CaptureFixture[str], zeb: Path, tmp_path: Path, out: str, matched: list[int]
) -> None:
    (tmp_path / "file").write_text("in the way")
    line = refused(capsys, zeb, tmp_path / "store", tmp_path / out)
    assert line == f"--out {tmp_path / out}: {tmp_path / 'file'}: is a file, not a folder"
    assert matched == []


def test_a_damaged_folder_is_refused_with_its_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, matched: list[int]
) -> None:
    root = write_zeb(tmp_path / "zeb", ["gl3d"], num_pairs=2)
    given = (root, tmp_path / "store", tmp_path / "out")
    text = min((root / "gl3d").glob("*.txt"))
    line = text.read_text()
    text.write_text(line[: len(line) // 2].rpartition(" ")[0])
    said = refused(capsys, *given)
    assert said.startswith(f"{text}, line 1: expected 38 words, got ")
    text.write_text(line)
    image = min((root / "gl3d").glob("*.png"))
    data = image.read_bytes()
    image.unlink()
    assert f"names the image {image.name}, which is not in its folder" in refused(capsys, *given)
    assert matched == []
    image.write_bytes(data[:30])
    assert refused(capsys, *given).startswith(f"{image}: not a readable image")
    assert not (tmp_path / "out").exists()
    image.write_bytes(data)
    assert evaluate(capsys, *given)["pairs"] == 2


def test_a_folder_that_holds_something_else_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    given = (tmp_path / "store", tmp_path / "out")
    assert refused(capsys, tmp_path / "nowhere", *given).startswith(f"{tmp_path / 'nowhere'}: cannot be read")
    assert "holds no dataset of ZEB" in refused(capsys, tmp_path, *given)
