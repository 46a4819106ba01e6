"""kubectl: the machine's own where it is new enough, else the one that is built."""

import dataclasses
import json
import re
import subprocess

import pytest

from infra import tools as tools_module
from infra.kubectl.program import MINIMUM, pin, version, version_of
from infra.state import ROOT, TOOLS
from infra.tools import ALL, install
from tests.servers import needs_tool
from tests.unit.k8s.validate import KUBERNETES

_FOLDER = ROOT / "infra" / "kubectl"


@pytest.fixture
def on_path(monkeypatch, tmp_path):
    """Puts a program `kubectl`, given as a script, where PATH leads, and nothing else."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(script):
        path = folder / "kubectl"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return put


@pytest.fixture
def made(monkeypatch):
    """Counts builds, each of which makes a file; no compiler is run."""
    folders = []

    def make(making):
        folders.append(making.folder)
        (making.folder / "kubectl").write_text("built")
        return making.folder / "kubectl"

    monkeypatch.setitem(tools_module.ALL, "kubectl", dataclasses.replace(ALL["kubectl"], make=make))
    return folders


def _says(git_version):
    return f"echo '{json.dumps({'clientVersion': {'gitVersion': git_version}})}'"


@pytest.mark.parametrize("git_version", ["v1.32.4-dispatcher", "v1.32.0", "v1.36.1+k3s1", "v2.0.0"])
def test_one_that_is_new_enough_is_used_and_nothing_is_built(on_path, made, tmp_path, git_version):
    own = on_path(_says(git_version))
    said = []
    assert install(["kubectl"], tmp_path / "tools", said.append) == {}
    assert (said, made) == ([], [])
    assert ALL["kubectl"].path(tmp_path / "tools") == own


@pytest.mark.parametrize(
    "script",
    [
        _says("v1.20.5+really1.20.2"),  # Debian 12's
        _says("v1.31.14"),
        _says("v0.0.0-master+$Format:%H$"),
        _says("new"),
        "echo '{}'",
        "echo '[]'",
        "echo Client Version: v1.34.4",
        f"{_says('v1.34.4')}; exit 1",
        "printf '\\377'",
    ],
)
def test_one_that_is_too_old_or_does_not_say_gives_way_to_one_that_is_built(on_path, made, tmp_path, script):
    on_path(script)
    assert not ALL["kubectl"].is_installed(tmp_path / "tools")
    assert install(["kubectl"], tmp_path / "tools", print) == {}
    assert len(made) == 1
    assert ALL["kubectl"].path(tmp_path / "tools").read_text() == "built"


@pytest.mark.usefixtures("on_path")
def test_where_there_is_none_it_is_built_once(made, tmp_path):
    for _ in range(2):
        assert install(["kubectl"], tmp_path / "tools", print) == {}
    assert len(made) == 1
    assert ALL["kubectl"].path(tmp_path / "tools") == tmp_path / "tools" / "bin" / "kubectl"


def test_one_that_cannot_be_run_says_no_version(on_path):
    assert version_of(str(on_path("").with_name("no-such-program"))) == (0, 0)


def test_what_is_used_says_its_version():
    program = needs_tool("kubectl")
    done = subprocess.run([program, "version", "--client", "--output=json"], capture_output=True, check=True)
    assert version_of(str(program)) >= MINIMUM
    if program.parent.parent == TOOLS:
        assert json.loads(done.stdout)["clientVersion"]["gitVersion"] == version()


def test_what_is_built_is_of_one_release_that_of_the_cluster_of_the_tests():
    modules = dict(re.findall(r"^\s+(k8s\.io/\S+) v(\S+)", (_FOLDER / "go.mod").read_text(), re.MULTILINE))
    with_numbers_of_their_own = {"k8s.io/klog/v2", "k8s.io/kube-openapi", "k8s.io/utils"}
    released = {number for name, number in modules.items() if name not in with_numbers_of_their_own}
    assert released == {version().replace("v1.", "0.")}
    assert version().startswith(f"v{KUBERNETES}.")
    assert tuple(map(int, KUBERNETES.split("."))) >= MINIMUM
    assert version() in pin()
    assert f"| kubectl | {version().removeprefix('v')} |" in (ROOT / "infra" / "README.md").read_text()


def test_every_module_that_is_built_has_a_hash_and_no_address():
    modules, sums = (_FOLDER / "go.mod").read_text(), (_FOLDER / "go.sum").read_text()
    pinned = re.findall(r"^\s+(\S+/\S+) (v\S+)", modules, re.MULTILINE)
    assert pinned
    # The hash of the files, not only that of the go.mod, which is enough for what others ask for and nobody compiles.
    assert all(re.search(rf"^{re.escape(f'{name} {number}')} h1:\S+=$", sums, re.MULTILINE) for name, number in pinned)
    assert "://" not in modules + sums
    assert "replace" not in modules
