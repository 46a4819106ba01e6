"""A disk that fills up: a tmpfs that one process and its children see and nobody else. Not a test; used by several."""

import subprocess
from pathlib import Path
from typing import Any

import pytest


def run_on_small_disk(
    mount: Path, size: str, script: str, *arguments: str, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a shell script where the folder `mount` is a file system of this size; its files go with the last process.

    The test is skipped on a machine that lets nobody mount one. `options` are those of `subprocess.run`.
    """
    on = f"mount -t tmpfs -o size={size} none {mount}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", on], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a file system")
    command = ["unshare", "-rm", "sh", "-c", f"{on} && {script}", "sh", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)
