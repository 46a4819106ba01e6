"""`gim purge` on a store a real run has made."""

import json
import shutil

import pytest

from gim.cli.main import run_command
from tests.labelled_clip import label_clip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return label_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def root(made, tmp_path):
    shutil.copytree(made.root, tmp_path / "s")
    return tmp_path / "s"


def _naming(root, text):
    found = [path for path in root.rglob("*") if path.is_file()]
    return [path for path in found if text in str(path.relative_to(root)) or text.encode() in path.read_bytes()]


def test_a_video_goes_with_every_trace(made, root, capsys):
    store = ["--store", str(root)]
    assert run_command(["purge", made.video_id, *store, "--dry-run", "--json"]) == 0
    (planned,) = json.loads(capsys.readouterr().out)["videos"]
    assert len(_naming(root, made.video_id)) == len(planned["removed"])
    assert run_command(["purge", made.video_id, *store, "--yes"]) == 0
    out = capsys.readouterr().out
    assert all(trace["name"] in out for trace in planned["removed"])
    (record,) = _naming(root, made.video_id)
    assert record.parent.name == "audit"
    assert _naming(root, "clip.mp4") == []
    assert run_command(["ls", *store]) == 0
    assert "none" in capsys.readouterr().out
    assert run_command(["purge", made.video_id, *store, "--yes"]) == 0
    assert "nothing is left of it" in capsys.readouterr().out


def test_a_purged_video_can_be_labelled_again(made, root, capsys):
    before = {path.relative_to(root): path.read_bytes() for path in root.glob("pairs/*/*/*")}
    assert run_command(["purge", made.video_id, "--store", str(root), "--yes"]) == 0
    source = made.root.parent / "clip.mp4"
    assert run_command(["run", str(source), "--quiet", *made.arguments[2:], "--store", str(root)]) == 0
    assert {path.relative_to(root): path.read_bytes() for path in root.glob("pairs/*/*/*")} == before


def test_nothing_goes_without_consent_or_by_mistake(made, root, capsys):
    for words, said in [
        ([made.video_id], "add --yes"),
        (["file-0000000000000000", "--yes"], "the store holds nothing of it"),
        ([made.video_id, "file-0000000000000000", "--yes"], "file-0000000000000000: the store holds nothing"),
        (["*", "--yes"], "invalid video id"),
    ]:
        assert run_command(["purge", *words, "--store", str(root)]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert said in err
        assert next(root.glob("pairs/*/*/manifest.json"))
