"""The work directory of downloads: one writer per file, and a full disk said in one line."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gim.errors import DiskFull, Unavailable, is_disk_full


@contextmanager
def disk_errors_named(path: Path, if_full: str = "free some") -> Iterator[None]:
    """Say in one line that `path` cannot be written; what was written of it is removed when the disk is full.

    `if_full` tells what to do then.

    Raises:
        DiskFull: the disk or quota is full.
        Unavailable: any other `OSError` inside the block.
    """
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            path.unlink(missing_ok=True)
            raise DiskFull(f"no space left on the disk of {path.parent}: {if_full}") from error
        raise Unavailable(f"cannot write {path}: {error.strerror}") from error


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the right to write `path`, among all processes and threads that ask here; ends with the process.

    The lock is an empty file beside it, removed on leaving; hence the look whether it is still the one on disk.
    """
    lock = path.with_name(f"{path.name}.lock")
    while True:
        with disk_errors_named(lock):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_same_file(descriptor, lock):
                try:
                    yield
                finally:
                    lock.unlink(missing_ok=True)
                return
        finally:
            os.close(descriptor)


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
