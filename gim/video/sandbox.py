"""Walls around the process that decodes untrusted media: what it may use, and that it never outlives its parent.

Linux only. The limits bind the process that calls `confine_process`; nothing here knows of video.
"""

import ctypes
import math
import os
import resource
import signal
import sys
import threading
from pathlib import Path

from gim.video.config import DecodeLimits
from gim.video.no_sockets import forbid_sockets

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_MAX_OPEN_FILES = 64
_GRACE_SECONDS = 5  # between the signal that can be told apart (SIGXCPU) and the one that cannot (SIGKILL)


def child_environment() -> dict[str, str]:
    """The environment of the decoding process: the same imports, one OpenCV thread, no secret of the parent's."""
    environment = {
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "PYTHONUTF8": "1",
        "MALLOC_ARENA_MAX": "2",  # each arena reserves 64 MiB of the address space that is limited
        # Images stay in the process for the next one of their size: fresh pages cost as much as the work on them.
        "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
        "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20),
        "OPENCV_FOR_THREADS_NUM": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    # Compiled modules are kept, as everywhere: compiling them again for every video takes longer than all imports.
    inherited = ("LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
    return environment | {name: os.environ[name] for name in inherited if name in os.environ}


def confine_process(limits: DecodeLimits) -> None:
    """Limit this process for good: memory beyond what it has, processor time, files, cores, privileges, the network.

    Call it after the imports: they need more files than decoding, and their memory counts as given.
    """
    _limit(resource.RLIMIT_AS, _address_space_bytes() + limits.max_memory_bytes)
    seconds = math.ceil(limits.max_seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + _GRACE_SECONDS))
    _limit(resource.RLIMIT_FSIZE, 0)  # pipes are no files: what it writes, it writes to its parent
    _limit(resource.RLIMIT_NOFILE, _MAX_OPEN_FILES)
    _limit(resource.RLIMIT_CORE, 0)
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    forbid_sockets()  # besides the protocols, which are shut when a file is opened


def die_with_parent(parent_pid: int, stdin: int) -> None:
    """End this process as soon as its parent is gone: by the kernel's signal, and by the end of `stdin`.

    The signal alone is not enough: it follows the parent's thread, and is lost if the parent died before it was asked
    for. The pipe alone is not enough: a decoder that holds the interpreter's lock would not notice.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)
    threading.Thread(target=_exit_at_end_of, args=(stdin,), daemon=True).start()


def _exit_at_end_of(stdin: int) -> None:
    while os.read(stdin, 4096):
        pass
    os._exit(1)


def _limit(what: int, value: int) -> None:
    resource.setrlimit(what, (value, value))


def _address_space_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
