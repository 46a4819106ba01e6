"""Files and folders of the user's own. Reads them, never writes beside them."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from gim.errors import InvalidInput
from gim.video.sources.sniff import is_video_name

_MAX_SIDECAR_CHARACTERS = 2000


def check_file(path: Path, max_bytes: int) -> os.stat_result:
    """The state of a regular, readable, non-empty file; symbolic links are followed.

    Raises:
        InvalidInput: it is none; one line says what it is instead.
    """
    try:
        # O_NONBLOCK: opening a FIFO that nobody writes would wait for ever
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        what = "is a symbolic link that leads nowhere" if path.is_symlink() else "no such file"
        raise InvalidInput(f"{path}: {what}") from error
    except PermissionError as error:
        raise InvalidInput(f"{path}: may not be read (permission denied)") from error
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be opened ({error.strerror})") from error
    try:
        state = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(state.st_mode):
        raise InvalidInput(f"{path}: is {_kind(state.st_mode)}, not a video file")
    if state.st_size == 0:
        raise InvalidInput(f"{path}: is empty (0 bytes)")
    if state.st_size > max_bytes:
        raise InvalidInput(f"{path}: has {state.st_size} bytes, more than source.max_bytes ({max_bytes})")
    return state


def is_unchanged(path: Path, before: os.stat_result) -> bool:
    """Whether the file is still the one that `check_file` saw."""
    try:
        now = path.stat()
    except OSError:
        return False
    fields = ("st_dev", "st_ino", "st_size", "st_mtime_ns")
    return all(getattr(now, name) == getattr(before, name) for name in fields)


def list_videos(folder: Path) -> Iterator[Path]:
    """Every file with a video's suffix in a folder and below, sorted by path; hidden files and folders are skipped.

    Links to files are followed, links to folders are not: they can lead in a circle.

    Raises:
        InvalidInput: after the last file: a folder cannot be read.
    """
    unreadable: list[OSError] = []
    for parent, folders, files in os.walk(folder, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(files) if not name.startswith(".") and is_video_name(name))
    if unreadable:
        more = f" (and {len(unreadable) - 1} folders more)" if len(unreadable) > 1 else ""
        raise InvalidInput(f"{unreadable[0].filename}: cannot be read ({unreadable[0].strerror}){more}")


def read_sidecar(path: Path) -> str:
    """The licence text beside a video (`NAME.license` as REUSE has it, or `LICENSE`), shortened; empty without one."""
    for sidecar in (path.with_name(f"{path.name}.license"), path.with_name("LICENSE")):
        if sidecar.is_file():
            with sidecar.open(encoding="utf-8", errors="replace") as file:
                return file.read(_MAX_SIDECAR_CHARACTERS).strip()
    return ""


def _kind(mode: int) -> str:
    names = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return names.get(stat.S_IFMT(mode), "a device")
