"""`gim dataset`: build, list, show, check."""

import json
from pathlib import Path
from typing import Any

import pytest

from gim import keys
from gim.adapters.store_file import FileStore
from gim.cli.main import run_command
from tests.finished_pairs import RECIPE_ID, finish, video_id_of
from tests.unit.training.data.posed.layout_files import write_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    store = FileStore(tmp_path / "store")
    finish(store, 0)
    finish(store, 1)
    finish(store, 2, shards=())
    store.close()
    return tmp_path / "store"


def gim(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run_command(["dataset", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def built(capsys: pytest.CaptureFixture[str], root: Path, *words: str) -> dict[str, Any]:
    code, out, _ = gim(capsys, "build", "--store", str(root), "--held-out-share", "0", "--json", *words)
    assert code == 0
    return dict(json.loads(out))


def test_a_dataset_is_built_listed_shown_and_checked(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    summary = built(capsys, root, "--name", "films", "--where", "coverage>=0.2", "--recipe", "standard")
    name = summary["dataset"]
    assert name.startswith("films-")
    assert (summary["status"], summary["videos"], summary["pairs"]) == ("built", 2, 8)
    assert summary["left_out"] == {"no_pairs": 1}
    assert built(capsys, root, "--name", "films", "--where", "coverage>=0.2", "--recipe", "standard") == {
        **summary,
        "status": "present",
    }
    _, out, _ = gim(capsys, "ls", "--store", str(root), "--json")
    assert [row["dataset"] for row in json.loads(out)["datasets"]] == [name]
    _, out, _ = gim(capsys, "show", name, "--store", str(root))
    assert "8 pairs for training, 0 held out, of 2 videos" in out
    assert "labelled by rootsift (Apache-2.0)" in out
    assert f"left out: {video_id_of(2)} {RECIPE_ID} no_pairs: static_camera" in out
    _, out, _ = gim(capsys, "show", name, "--store", str(root), "--json")
    assert json.loads(out)["where"] == ["coverage>=0.2"]
    assert gim(capsys, "check", name, "--store", str(root))[0] == 0


def test_check_finds_what_has_changed_and_exits_with_1(capsys: pytest.CaptureFixture[str], root: Path) -> None:
    name = built(capsys, root)["dataset"]
    store = FileStore(root)
    key = keys.pairs_shard(video_id_of(0), RECIPE_ID, 0)
    store.put(key, b"x" * store.size(key))
    store.close()
    code, out, _ = gim(capsys, "check", name, "--store", str(root), "--json")
    assert code == 1
    assert [(fault["video_id"], fault["key"]) for fault in json.loads(out)["faults"]] == [(video_id_of(0), key)]
    assert gim(capsys, "check", name, "--store", str(root), "--sizes-only")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["build", "--where", "coverage>=2"], "0 pairs for training, at least 1 are asked for; left out: 2 conditions"),
        (["build", "--min-pairs", "100"], "10 pairs for training, at least 100"),
        (["build", "--video", "file-0000000000000000"], "file-0000000000000000 has no finished result"),
        (["build", "--where", "coverage"], "condition 'coverage'"),
        (["show", "films-00000000"], "no dataset 'films-00000000'"),
        (["check", "../../x"], "invalid store key"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    capsys: pytest.CaptureFixture[str], root: Path, words: list[str], said: str
) -> None:
    share = ["--held-out-share", "0"] if words[0] == "build" else []
    code, out, err = gim(capsys, *words, *share, "--store", str(root))
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {said}")
    assert err.count("\n") == 1


def test_posed_sets_are_built_shown_and_checked(capsys: pytest.CaptureFixture[str], root: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "room")
    summary = built(capsys, root, "--posed", f"posed={tmp_path}/room,name=room,pairs=7", "--posed-only")
    assert (summary["videos"], summary["pairs"], summary["posed"]) == (0, 0, {"room": 7})
    name = summary["dataset"]
    _, out, _ = gim(capsys, "show", name, "--store", str(root))
    assert "posed set room (posed): 7 pairs for training, 0 held out, of 1 scenes" in out
    assert "room:7" in gim(capsys, "ls", "--store", str(root))[1]
    code, out, _ = gim(capsys, "check", name, "--store", str(root))
    assert code == 1
    assert "room: posed set room: set dataset.posed_roots.room to its folder on this machine" in out
    code, out, _ = gim(
        capsys, "check", name, "--store", str(root), "--set", f"dataset.posed_roots.room={tmp_path}/room"
    )
    assert (code, out) == (0, f"{name}: 0 faults in 0 shards of 0 videos and 1 posed scenes\n")
    code, out, err = gim(capsys, "build", "--store", str(root), "--posed", f"posed={tmp_path}/nowhere")
    assert (code, out, err) == (2, "", f"error: posed set of kind posed: {tmp_path}/nowhere is no folder\n")
