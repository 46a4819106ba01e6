"""The walls hold: each limit is met by a process that runs into it."""

import os
import signal
import subprocess
import sys

import pytest

from gim.video.config import DecodeLimits
from gim.video.sandbox import child_environment

_PROLOGUE = (
    "import os, resource, socket, sys\nfrom pathlib import Path\nfrom gim.video.config import DecodeLimits\n"
    "from gim.video.sandbox import confine_process, die_with_parent\n"
    "confine_process(DecodeLimits(max_memory_bytes=200 * 2**20, max_seconds=1))\n"
)


def run_confined(program: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-P", "-c", _PROLOGUE + program],
        env=child_environment(),
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("bytearray(300 * 2**20)", b"MemoryError"),
        ("Path('/tmp/gim-sandbox-test').write_bytes(b'x')", b"File too large"),
        ("files = [open('/dev/null') for _ in range(100)]", b"Too many open files"),
    ],
)
def test_confined_process_meets_its_limit(program: str, error: bytes) -> None:
    if "gim-sandbox-test" in program:
        program = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n" + program
    done = run_confined(program)
    assert done.returncode == 1
    assert error in done.stderr


def test_confined_process_stays_usable_below_its_limits() -> None:
    done = run_confined("bytearray(100 * 2**20); print(open('/proc/self/status').read())")
    assert done.returncode == 0
    assert b"NoNewPrivs:\t1" in done.stdout


def test_confined_process_that_computes_too_long_is_told_apart() -> None:
    assert run_confined("while True: pass").returncode == -signal.SIGXCPU


def test_confined_process_leaves_no_core() -> None:
    done = run_confined("print(resource.getrlimit(resource.RLIMIT_CORE))")
    assert done.stdout == b"(0, 0)\n"


def test_process_ends_when_its_stdin_ends() -> None:
    program = "die_with_parent(os.getppid(), 0)\nprint('up', flush=True)\nimport time; time.sleep(60)"
    command = [sys.executable, "-P", "-c", _PROLOGUE + program]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=child_environment(), stdin=pipe, stdout=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.stdin.close()
        assert process.wait(timeout=30) == 1


def test_process_whose_parent_is_another_ends_at_once() -> None:
    assert run_confined("die_with_parent(1234567, 0)").returncode == 1


def test_child_environment_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIM_SECRET_KEY", "hush")
    environment = child_environment()
    assert "hush" not in environment.values()
    assert environment["PYTHONPATH"] == os.pathsep.join(entry for entry in sys.path if entry)
    assert DecodeLimits().max_memory_bytes > 0
