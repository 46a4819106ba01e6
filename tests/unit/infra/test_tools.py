"""Tools get into place once, whole or not at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra import tools as tools_module
from infra.errors import ToolMissing
from infra.state import ROOT
from infra.tools import Tool, install


@pytest.fixture
def said():
    return []


@pytest.fixture
def make(monkeypatch):
    """Declares a tool by how it is made; counts how often that is done."""

    def declare(how, *, result="bin/thing", pin="1"):
        made = []

        def counted(making):
            made.append(making.folder)
            return how(making)

        tool = Tool("thing", result, pin, "a test", counted)
        monkeypatch.setitem(tools_module.ALL, "thing", tool)
        return made

    return declare


def _write(making) -> Path:
    path = making.folder / "thing"
    path.write_text("whole")
    return path


def _fail(making) -> Path:
    (making.folder / "thing").write_text("half")
    raise ToolMissing("no network")


def test_a_tool_is_made_once(make, said, tmp_path):
    made = make(_write)
    assert install(["thing", "thing"], tmp_path, said.append) == {}
    assert (tmp_path / "bin/thing").read_text() == "whole"
    assert said[0] == "thing: installing (a test)"
    assert said[1].startswith("thing: installed in ")
    assert install(["thing"], tmp_path, said.append) == {}
    assert len(made) == 1
    assert len(said) == 2


def test_a_tool_of_another_version_is_made_again(make, said, tmp_path):
    make(_write)
    install(["thing"], tmp_path, said.append)
    made = make(_write, pin="2")
    install(["thing"], tmp_path, said.append)
    assert len(made) == 1


def test_a_folder_takes_the_place_of_an_older_one(make, said, tmp_path):
    def folder(making, name) -> Path:
        (making.folder / "jars").mkdir()
        (making.folder / "jars" / name).touch()
        return making.folder / "jars"

    make(lambda making: folder(making, "old.jar"), result="jars")
    install(["thing"], tmp_path, said.append)
    make(lambda making: folder(making, "new.jar"), result="jars", pin="2")
    install(["thing"], tmp_path, said.append)
    assert [path.name for path in (tmp_path / "jars").iterdir()] == ["new.jar"]


def test_what_fails_leaves_nothing_and_is_tried_again(make, said, tmp_path):
    make(_fail)
    failed = install(["thing"], tmp_path, said.append)
    assert str(failed["thing"]) == "no network"
    assert not (tmp_path / "bin").exists()
    assert not list(tmp_path.glob("making-*"))
    make(_write)
    assert install(["thing"], tmp_path, said.append) == {}


_KILLED = """
import os, signal, sys
from pathlib import Path
from infra import tools
def make(making):
    (making.folder / "thing").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
tools.ALL["thing"] = tools.Tool("thing", "bin/thing", "1", "a test", make)
tools.install(["thing"], Path(sys.argv[1]), print)
"""


def test_an_install_that_is_killed_leaves_nothing_that_is_taken_for_whole(make, said, tmp_path):
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.glob("making-thing.*"))
    assert not (tmp_path / "bin").exists()
    made = make(_write)
    assert install(["thing"], tmp_path, said.append) == {}
    assert len(made) == 1
    assert not list(tmp_path.glob("making-*"))


def test_a_tool_whose_program_of_the_system_is_gone_is_not_installed(tmp_path, monkeypatch):
    tool = Tool("thing", "thing", "1", "a test", _write, runs_with=("java",))
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "thing").write_text("1")
    (tmp_path / "thing").touch()
    assert tool.is_made(tmp_path)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    assert not tool.is_installed(tmp_path)


def test_every_tool_is_pinned_and_named_by_its_key():
    for name, tool in tools_module.ALL.items():
        assert tool.name == name
        assert tool.pin
        assert "latest" not in tool.pin
