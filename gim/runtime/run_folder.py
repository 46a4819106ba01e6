"""The private folder of one run inside a store: its bus, its journals, its log. Never an object of the store.

Every run has a bus of its own. So a run works off what was asked of it and nothing else: what an interrupted run left
undone, perhaps with other settings, is not finished behind the user's back, and two runs on one store do not take each
other's messages. Nothing is lost by it: the store is the truth, and the same command finds what is there and goes on.
"""

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gim.errors import DiskFull, Unavailable, is_disk_full

_RUNS = ".run"  # a name with a dot is no key of the store
_LOCK = "lock"
_KEPT_RUNS = 3  # of those that ended, for whoever wants to read their logs


class RunFolder:
    """Where the files of one run lie."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def run_id(self) -> str:
        """Names the run; later runs sort later."""
        return self.path.name

    @property
    def bus(self) -> Path:
        """The bus's file."""
        return self.path / "bus.sqlite"

    @property
    def log(self) -> Path:
        """JSON lines of all processes."""
        return self.path / "log.jsonl"

    @property
    def journals(self) -> Path:
        """Folder of the journals, one per process."""
        return self.path / "journals"

    def new_journal(self) -> Path:
        """A name for the journal of one more process."""
        return self.journals / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"


@contextmanager
def new_run(store_root: Path) -> Iterator[RunFolder]:
    """Make a run's folder and hold its lock; folders of runs long over are removed.

    Raises:
        Unavailable: the store cannot take it; `DiskFull` for want of space.
    """
    remove_ended_runs(store_root, keep=_KEPT_RUNS)
    run = RunFolder(store_root / _RUNS / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:8]}")
    try:
        run.journals.mkdir(parents=True)
        lock = os.open(run.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if is_disk_full(error):
            raise DiskFull(f"store {store_root}: the disk is full: free some space, then run the same again") from error
        way_out = "choose another --store, or allow this user to write there"
        raise Unavailable(f"store {store_root}: {(error.strerror or str(error)).lower()}: {way_out}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield run
    finally:
        os.close(lock)


def remove_ended_runs(store_root: Path, *, keep: int = 0) -> list[str]:
    """Remove the folders of runs that nobody works on, except the newest `keep`; returns the removed run ids."""
    try:
        folders = sorted((store_root / _RUNS).iterdir(), reverse=True)
    except OSError:
        return []
    ended = [folder for folder in folders if not _is_running(folder)]
    for folder in ended[keep:]:
        shutil.rmtree(folder, ignore_errors=True)
    return [folder.name for folder in ended[keep:]]


def running_runs(store_root: Path) -> list[str]:
    """The run ids of runs that somebody works on now."""
    try:
        folders = sorted((store_root / _RUNS).iterdir())
    except OSError:
        return []
    return [folder.name for folder in folders if _is_running(folder)]


def _is_running(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)  # of a store that is not ours to write, too
    except FileNotFoundError:  # never came to hold its lock, or is about to: give it the benefit of the doubt
        return _age_seconds(folder) < 60.0
    except OSError:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _age_seconds(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except OSError:
        return 0.0
