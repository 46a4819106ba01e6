"""Which kubectl is used, and how one is built from the modules that its makers publish."""

import functools
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

from infra.commands import Steps
from infra.toolchains import Go

MINIMUM = (1, 32)  # the oldest that the tests were run with
_HERE = Path(__file__).parent
_SOURCES = tuple(_HERE / name for name in ("go.mod", "go.sum", "main.go"))


def version() -> str:
    """Of what is built. The modules of Kubernetes 1.x.y are published as 0.x.y."""
    required = re.search(r"k8s\.io/kubectl v0\.(\S+)", _SOURCES[0].read_text("utf-8"))
    assert required is not None
    return f"v1.{required[1]}"


def pin() -> str:
    """What is built, as a text that changes with it."""
    return f"{version()} {hashlib.sha256(b''.join(source.read_bytes() for source in _SOURCES)).hexdigest()}"


def on_path() -> Path | None:
    """The kubectl of this machine, if it is new enough."""
    found = shutil.which("kubectl")
    # Links are not followed: what they lead to may go by the name that it is called by.
    return Path(found).absolute() if found and version_of(found) >= MINIMUM else None


@functools.cache
def version_of(program: str) -> tuple[int, int]:
    """Major and minor version of a kubectl; (0, 0) where it does not say."""
    try:
        command = [program, "version", "--client", "--output=json"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = re.match(r"v(\d+)\.(\d+)\.", json.loads(said)["clientVersion"]["gitVersion"])
    except (OSError, subprocess.CalledProcessError, ValueError, LookupError, TypeError):
        return (0, 0)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def build(folder: Path, go: Go, steps: Steps) -> Path:
    """Compile it.

    Args:
        folder: where the program is put.
        go: to build with.
        steps: runs the compiler.

    Returns:
        The program.

    Raises:
        ToolMissing: the modules cannot be fetched, or do not compile.
    """
    program = folder / "kubectl"
    # As elsewhere without tables for debuggers. The sources say v0.0.0-master, and leave the version to the linker.
    linked = f"-ldflags=-s -w -X k8s.io/component-base/version.gitVersion={version()}"
    # Neither a git nor a Go workspace around the checkout has a say.
    options = ["-mod=readonly", "-trimpath", "-buildvcs=false", linked, "-o", str(program)]
    steps.run([go.program, "build", *options, "."], _HERE, environment={**go.environment, "GOWORK": "off"})
    return program
