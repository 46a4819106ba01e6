"""Real child processes for the contract suites: started with a program, watched through a pipe, killed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def run_program(program: str) -> str:
    """Run Python source in a process of its own and return what it prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def program_until_ready(program: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python source until it prints a line; the process is killed by SIGKILL at the end of the block."""
    pipe = subprocess.PIPE  # for stdin too: a program waits for ever in `input()`
    with subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), "the program ended before it was ready"
            yield process
        finally:
            process.kill()
