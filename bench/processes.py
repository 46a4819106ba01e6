"""Running a command and saying what it cost: wall time, processor time, peak memory of it and all its children."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_POLL_SECONDS = 0.05
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took."""

    wall_seconds: float
    processor_seconds: float  # user and system, of all its processes
    peak_bytes: int  # most memory resident at one time, shared pages counted in every process
    output: str  # stdout


def run_measured(arguments: Sequence[str]) -> Cost:
    """Run `python ARGUMENTS` from the checkout.

    Raises:
        SystemExit: the command failed; its errors are shown.
    """
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, *arguments], stdout=output, cwd=ROOT)
        peak_bytes, status, usage = _watch(process.pid)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)  # it was reaped here, not by Popen
        output.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(map(str, arguments))}: exit code {process.returncode}\n{output.read()}")
        return Cost(wall, usage.ru_utime + usage.ru_stime, peak_bytes, output.read())


def hold_to_cores(number: int) -> int:
    """Let this process and its children run on so many cores only; how many there are then."""
    cores = sorted(os.sched_getaffinity(0))[:number]
    os.sched_setaffinity(0, cores)
    return len(cores)


def _watch(pid: int) -> tuple[int, int, "os.struct_rusage"]:
    """Follow a process to its end: peak memory of its tree, wait status, and what it and its children used."""
    peak = 0
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return peak, status, usage
        peak = max(peak, _resident_bytes(pid))
        time.sleep(_POLL_SECONDS)


def _resident_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants; 0 for what has just ended."""
    folder = Path(f"/proc/{pid}")
    try:
        own = int((folder / "statm").read_text().split()[1]) * _PAGE_BYTES
        tasks = list((folder / "task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (OSError, IndexError):
        return 0
    return own + sum(_resident_bytes(child) for child in children)
