"""Which process this is, in a form that another process can check: is the one that wrote it still alive?

A process id alone is not enough: ids are used again, and mean nothing on another machine or in another container.
"""

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, once in the life of its machine."""

    host: str  # machine, its start, and the process id space
    pid: int
    started: str  # clock ticks since the machine started; empty where the system does not say


def this_process() -> ProcessIdentity:
    """The identity of the process that asks."""
    return ProcessIdentity(_host(), os.getpid(), _started(os.getpid()) or "")


def is_dead(process: ProcessIdentity) -> bool:
    """Whether the process has certainly ended; False where this process cannot know."""
    if process.host != _host():
        return False
    started = _started(process.pid)
    if started is not None:
        return started != process.started
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _host() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux
        return platform.node()


def _started(pid: int) -> str | None:
    """Start time of a process, "ended" when it only waits to be collected, None when nothing can be read of it."""
    try:
        # proc(5): "pid (name) state ppid ... starttime"; the name may hold spaces and brackets.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return "ended" if fields[0] in "ZX" else fields[19]
