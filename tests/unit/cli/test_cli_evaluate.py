"""`gim benchmark` and `gim evaluate`: the same numbers from a folder and from a store."""

import json
from pathlib import Path
from typing import Any

import pytest

from gim.adapters.store_file import FileStore
from gim.cli.main import run_command
from tests.posed_scene import write_scene

QUICK = ("--set", "matcher.rootsift.max_keypoints=500", "--set", "run.threads=1")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scene") / "room", num_pairs=2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    FileStore(tmp_path / "store").close()
    return tmp_path / "store"


def gim(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert run_command(list(words)) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_a_list_of_pairs_scores_as_the_benchmark_made_of_it(
    capsys: pytest.CaptureFixture[str], scene: Path, root: Path
) -> None:
    direct = gim(capsys, "evaluate", "pairs", str(scene / "pairs.txt"), "--json", *QUICK)
    assert (direct["pairs"], direct["failures"], direct["matcher"]) == (2, 0, "rootsift")
    assert set(direct["auc"]) == {"5", "10", "20"}
    assert direct["auc"]["20"] > 80
    assert direct["protocol"]["id"] == "strict-1"
    put = gim(capsys, "benchmark", "put", "room", str(scene), "--licence", "CC0", "--store", str(root), "--json")
    stored = gim(capsys, "evaluate", "checkpoint", "sift", "0", "--store", str(root), "--json", *QUICK)
    assert stored["benchmark"] == put["benchmark_id"]
    assert stored["auc"] == direct["auc"]
    assert stored["matches"] == direct["matches"]
    run_command(["benchmark", "put", "hall", str(scene), "--store", str(root)])
    capsys.readouterr()
    both = gim(capsys, "evaluate", "checkpoint", "sift", "0", "--store", str(root), "--json", *QUICK)
    assert [scores["auc"] for scores in both["benchmarks"].values()] == [direct["auc"]] * 2


def test_benchmarks_are_listed_and_removed(capsys: pytest.CaptureFixture[str], scene: Path, root: Path) -> None:
    put = gim(capsys, "benchmark", "put", "room", str(scene), "--store", str(root), "--json")
    (row,) = gim(capsys, "benchmark", "ls", "--store", str(root), "--json")["benchmarks"]
    assert (row["benchmark"], row["pairs"], row["licence"]) == (put["benchmark_id"], 2, "unknown")
    assert run_command(["benchmark", "rm", "room", "--store", str(root)]) == 0
    capsys.readouterr()
    assert gim(capsys, "benchmark", "ls", "--store", str(root), "--json") == {"benchmarks": []}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "pairs", "nowhere/pairs.txt"], "nowhere/pairs.txt: cannot read the pairs"),
        (["evaluate", "checkpoint", "sift", "0", "--store", "ROOT"], "the store holds no benchmark"),
        (["benchmark", "put", "room", "nowhere", "--store", "ROOT"], "nowhere/pairs.txt: cannot read the pairs"),
        (["benchmark", "rm", "room", "--store", "ROOT"], "the store holds no benchmark"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    capsys: pytest.CaptureFixture[str], root: Path, words: list[str], said: str
) -> None:
    assert run_command([str(root) if word == "ROOT" else word for word in words]) == 2
    caught = capsys.readouterr()
    assert caught.err.startswith(f"error: {said}")
    assert caught.err.count("\n") == 1


def test_scores_are_shown_to_people_as_a_table(capsys: pytest.CaptureFixture[str], scene: Path) -> None:
    assert run_command(["evaluate", "pairs", str(scene / "pairs.txt"), *QUICK]) == 0
    out = capsys.readouterr().out
    assert "@5" in out
    assert "protocol strict-1" in out
