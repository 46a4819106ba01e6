"""`gim weights`: what is listed, fetched, checked and converted, in words and as JSON, and with which exit code."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from gim.cli.main import run_command
from gim.weights import catalogue, files
from gim.weights.integrity import digests_of
from gim.weights.spec import PublishedFile, WeightsSpec
from tests.integration.faulty_server import Page, serving
from tests.small_disk import run_on_small_disk

STATE = {"model.a": torch.arange(6.0).reshape(2, 3), "model.b": torch.ones(2).half(), "other.c": torch.zeros(1)}


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    (tmp_path / "given").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIM_WEIGHTS__DIR", str(tmp_path / "given"))
    monkeypatch.setenv("GIM_WEIGHTS__CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def served(tmp_path, monkeypatch):
    """One name that a server here has, and one that has to be fetched by hand."""
    torch.save(STATE, tmp_path / "served.pth")
    digests = digests_of(tmp_path / "served.pth")
    with serving() as server:
        body = (tmp_path / "served.pth").read_bytes()
        server.pages["/one.pth"] = Page(body, content_type="application/octet-stream")
        one = PublishedFile("one.pth", (server.url("/one.pth"),), digests.num_bytes, digests.sha256)
        specs = {
            "one": WeightsSpec("one", (one,), "MIT", True, "the first", "https://one.example"),
            "two": WeightsSpec("two", (PublishedFile("two.ckpt"),), "research only", False, "-", "https://two.example"),
        }
        monkeypatch.setattr(catalogue, "CATALOGUE", specs)
        monkeypatch.setattr(files, "CATALOGUE", specs)
        (tmp_path / "served.pth").unlink()
        yield server


def run(capsys, *arguments):
    code = run_command(["weights", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def run_json(capsys, *arguments):
    code, out, _ = run(capsys, *arguments, "--json")
    return code, json.loads(out)


def test_ls_tells_what_is_known_and_what_is_here(capsys, folders):
    (folders / "given" / "xfeat.pt").write_bytes(b"PK\x03\x04")
    code, found = run_json(capsys, "ls")
    rows = {row["weights"]: row for row in found["weights"]}
    assert code == 0
    assert rows["xfeat"]["here"] == str(folders / "given" / "xfeat.pt")
    assert rows["gim_roma_100h"]["here"] == ""
    assert (rows["gim_roma_100h"]["permissive"], rows["aliked_n16"]["permissive"]) == (False, True)
    code, out, _ = run(capsys, "ls")
    assert out.splitlines()[0].split() == ["weights", "here", "file", "num_bytes", "permissive", "licence", "what"]
    assert len(out.splitlines()) == len(rows) + 1


def test_get_fetches_once_and_tells_where_it_lies(capsys, folders, served):
    code, out, err = run(capsys, "get", "one", "one")
    assert (code, err) == (0, "")
    assert out == f"one: {folders / 'cache' / 'one.pth'} (MIT)\n"
    code, found = run_json(capsys, "get", "one")
    assert [row["path"] for row in found["weights"]] == [str(folders / "cache" / "one.pth")]
    assert len(served.requests) == 1


def test_get_goes_on_after_one_that_cannot_be_had(capsys, served):
    code, out, err = run(capsys, "get", "two", "one")
    assert code == 3
    assert out.startswith("one: ")
    assert err.startswith("error: weights two are not here: put two.ckpt into ")
    assert len(err.splitlines()) == 1


def test_get_of_a_wrong_name_fetches_nothing(capsys, served):
    code, out, err = run(capsys, "get", "one", "onne")
    assert (code, out, len(served.requests)) == (2, "", 0)
    assert "did you mean one?" in err


def test_get_refuses_by_licence(capsys, served):
    code, _, err = run(capsys, "get", "two", "--set", "weights.licences=permissive")
    assert code == 2
    assert "--set weights.licences=any" in err


def test_get_over_a_damaged_file_fetches_it_anew_when_asked(capsys, folders, served):
    run(capsys, "get", "one")
    (folders / "cache" / "one.pth").write_bytes(b"PK\x03\x04")
    code, _, err = run(capsys, "get", "one")
    assert code == 2
    assert "not the published file" in err
    assert run(capsys, "get", "one", "--overwrite")[0] == 0
    assert len(served.requests) == 2


def test_check_tells_the_published_from_ones_own_and_the_damaged(capsys, folders, served):
    run(capsys, "get", "one")
    torch.save(STATE, folders / "mine.pth")
    (folders / "half.pth").write_bytes((folders / "mine.pth").read_bytes()[:900])
    code, found = run_json(capsys, "check", "one", "mine.pth", "half.pth", "two")
    one, mine, half, two = found["weights"]
    assert code == 2
    assert (one["published"], one["hash_published"], one["num_tensors"], one["num_values"]) == (True, True, 3, 9)
    assert (mine["published"], mine["licence"], mine["sha256"]) == (
        False,
        "unknown",
        digests_of(Path("mine.pth")).sha256,
    )
    assert "cut off" in half["error"]
    assert "not here" in two["error"]
    code, out, _ = run(capsys, "check", "one", "mine.pth")
    assert code == 0
    assert out.splitlines()[0].startswith("one: ok, as published: ")
    assert out.splitlines()[1].startswith("mine.pth: ok, a file of your own: ")


def test_check_without_names_checks_all_that_is_here(capsys, folders, served):
    assert run(capsys, "check")[:2] == (0, "no weights are here; `gim weights get NAME` fetches some\n")
    run(capsys, "get", "one")
    code, found = run_json(capsys, "check")
    assert (code, [row["weights"] for row in found["weights"]]) == (0, ["one"])


@pytest.mark.shared
def test_check_of_real_weights_tells_the_model(capsys, shared_data):
    folder = shared_data / "weights" / "permissive"
    code, found = run_json(capsys, "check", folder / "aliked-n16.pth", folder / "xfeat_lighterglue_L3.pt")
    aliked, lighterglue = found["weights"]
    assert code == 0
    assert (aliked["name"], aliked["licence"], aliked["model"]) == ("aliked_n16", "BSD-3-Clause", "ALIKED")
    assert lighterglue["model"] == "LightGlue"


def test_convert_keeps_tensors_and_origin(capsys, folders):
    torch.save({"state_dict": {**STATE, "model.t": STATE["model.a"].T}, "epoch": 1}, folders / "in.ckpt")
    code, found = run_json(capsys, "convert", "in.ckpt", "out.safetensors", "--prefix", "model.")
    assert (code, found["num_tensors"]) == (0, 3)
    with safe_open(folders / "out.safetensors", "pt") as read:
        assert sorted(read.keys()) == ["a", "b", "t"]
        assert torch.equal(read.get_tensor("t"), STATE["model.a"].T)
        assert read.get_tensor("b").dtype == torch.float16
        assert read.metadata()["source_sha256"] == digests_of(folders / "in.ckpt").sha256
        assert read.metadata()["licence"] == "unknown"
    (folders / "made").touch()
    assert (folders / "out.safetensors").stat().st_mode == (folders / "made").stat().st_mode
    assert run(capsys, "check", "out.safetensors")[0] == 0


@pytest.mark.parametrize(
    ("out", "options", "said"),
    [
        ("out.pth", [], "named with .safetensors at its end"),
        ("nowhere/out.safetensors", [], "there is no folder nowhere"),
        ("taken.safetensors", [], "--overwrite replaces a file"),
        ("folder.safetensors", ["--overwrite"], "is there already"),
        ("out.safetensors", ["--prefix", "x."], "no name begins with 'x.'; they begin with model., other."),
    ],
)
def test_convert_that_cannot_be_done_changes_nothing(capsys, folders, out, options, said):
    torch.save(STATE, folders / "in.pth")
    (folders / "taken.safetensors").write_text("mine")
    (folders / "folder.safetensors").mkdir()
    before = sorted(path.name for path in folders.iterdir())
    code, _, err = run(capsys, "convert", "in.pth", out, *options)
    assert code == 2
    assert said in err
    assert sorted(path.name for path in folders.iterdir()) == before
    assert (folders / "taken.safetensors").read_text() == "mine"


def test_convert_replaces_when_asked(capsys, folders):
    torch.save(STATE, folders / "in.pth")
    (folders / "out.safetensors").write_text("mine")
    assert run(capsys, "convert", "in.pth", "out.safetensors", "--overwrite")[0] == 0
    with safe_open(folders / "out.safetensors", "pt") as read:
        assert len(list(read.keys())) == 3


def test_convert_of_what_tries_to_run_code_is_refused(capsys, folders):
    class Attack:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"state_dict": STATE, "x": Attack()}, folders / "in.pth")
    code, out, err = run(capsys, "convert", "in.pth", "out.safetensors")
    assert (code, out) == (2, "")
    assert "in.pth: it tries to run code: it calls builtins.print" in err
    assert not (folders / "out.safetensors").exists()


def test_convert_onto_a_full_disk_says_so_and_leaves_nothing(folders):
    torch.save({"a": torch.zeros(1_000_000)}, folders / "in.pth")
    (folders / "disk").mkdir()
    gim = f"{sys.executable} -m gim weights convert in.pth disk/out.safetensors; echo code $?; ls -A disk"
    root = str(Path(__file__).resolve().parents[3])
    done = run_on_small_disk(folders / "disk", "1m", gim, cwd=folders, env={**os.environ, "PYTHONPATH": root})
    assert done.stdout == "code 2\n"
    assert done.stderr.startswith("error: no space left on the disk of disk")
