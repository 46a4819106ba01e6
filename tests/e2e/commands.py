"""`gim` as a user starts it: a process of its own, and what it leaves in the store."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gim.adapters.store_file import FileStore

ROOT = Path(__file__).resolve().parents[2]
_COMMAND = [sys.executable, "-m", "gim"]


def environment(**more: str) -> dict[str, str]:
    """That of this process, without settings of its own."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIM_")}
    return {**plain, "PYTHONPATH": str(ROOT), **more}


def run_gim(*arguments: str | Path, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*_COMMAND, *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=300, cwd=cwd, env=environment(**more),
    )  # fmt: skip


def start_gim(*arguments: str | Path, **more: str) -> subprocess.Popen[str]:
    """Start one command in a process group of its own."""
    return subprocess.Popen(
        [*_COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment(**more),
    )  # fmt: skip


def kill_after(process: subprocess.Popen[str], seconds: float) -> bool:
    """Kill -9 the process at that moment; whether it was still at work."""
    with process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
    return process.returncode == -signal.SIGKILL


def objects_of(store: Path, prefix: str = "") -> dict[str, bytes]:
    """Every object of a store by its key."""
    opened = FileStore(store, create=False)
    found = {key: opened.get(key) for key in opened.list(prefix)}
    opened.close()
    return found


def leftovers(store: Path) -> list[str]:
    """Files of a store that are neither objects nor its marker nor the private folders of its runs."""
    own = {*objects_of(store), "gim-store.json"} if store.exists() else set()
    found = sorted(str(path.relative_to(store)) for path in store.rglob("*") if path.is_file())
    return [name for name in found if name not in own and not name.startswith(".run/")]


def error_lines(stderr: str) -> Sequence[str]:
    """The lines of stderr, all of which have to be errors."""
    lines = stderr.splitlines()
    assert all(line.startswith("error: ") for line in lines), stderr
    return lines


def wait_until(condition: object, seconds: float = 60.0) -> None:
    """Poll a function until it is true."""
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.01)
