"""`gim reconcile` after a run that was killed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from gim.cli.main import run_command
from tests.labelled_clip import label_clip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return label_clip(tmp_path_factory.mktemp("clip"))


def _objects(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.relative_to(root).parts[0].startswith(".") and path.name != "meta.json"
    }


@pytest.mark.parametrize("seen", ["frames/*/*/*.jpg", "frames/*/*/manifest.json", "labels/*/*/*/*.npz"])
def test_what_a_killed_run_left_undone_is_finished(made, tmp_path, capsys, seen):
    root = tmp_path / "s"
    arguments = ["--store", str(root), *made.arguments[2:]]
    command = [sys.executable, "-m", "gim", "run", str(made.root.parent / "clip.mp4"), *arguments, "--quiet"]
    run = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(root.glob(seen)) and run.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert run_command(["reconcile", *arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {video["status"] for video in document["videos"]} <= {"finished"}
    assert document["damaged"] == []
    assert _objects(root) == _objects(made.root)
    assert run_command(["reconcile", *arguments, "--verify"]) == 0
    assert "nothing has stopped" in capsys.readouterr().out


def test_people_read_what_was_found(made, tmp_path, capsys):
    root = tmp_path / "s"
    arguments = ["--store", str(root), *made.arguments[2:]]
    assert run_command(["run", str(made.root.parent / "clip.mp4"), *arguments, "--quiet"]) == 0
    next(root.glob("pairs/*/*/manifest.json")).unlink()
    assert run_command(["reconcile", *arguments, "--dry-run"]) == 0
    assert f"{made.video_id}: lacks pairs" in capsys.readouterr().out
    assert run_command(["reconcile", *arguments]) == 0
    assert f"{made.video_id}: finished" in capsys.readouterr().out
    next(root.glob("pairs/*/*/00000.tar")).write_bytes(b"x")
    assert run_command(["reconcile", *arguments, "--verify"]) == 2
    out = capsys.readouterr().out
    assert "damaged: pairs/" in out
    assert "--prune" in out


def test_no_store_is_one_line(tmp_path, capsys):
    assert run_command(["reconcile", "--store", str(tmp_path / "none")]) == 2
    assert "no store here" in capsys.readouterr().err
