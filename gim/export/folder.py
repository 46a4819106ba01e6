"""A folder that appears whole or not at all: written beside its place under a hidden name, then renamed."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gim.errors import GimError, InvalidInput, Unavailable, is_disk_full

DESCRIPTION = "export.json"  # in every export: what it is; also the proof that a folder may be replaced
_FULL_BYTES = 64 * 2**10  # less free space than this is none, for libraries that hide the reason of a failed write


@contextmanager
def new_folder(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a folder to fill that becomes `out` at the end of the block; after an error nothing is left of it.

    Args:
        out: absent, an empty folder, or with `overwrite` an earlier export.
        overwrite: whether an earlier export is replaced; any other folder with content never is.

    Raises:
        InvalidInput: `out` is something else.
        Unavailable: the disk is full, read-only or forbidden, or another process is writing the same folder.
    """
    out = out.resolve()
    try:
        _check_replaceable(out, overwrite)
        out.parent.mkdir(parents=True, exist_ok=True)
        with _locked_folder(out.with_name(f".{out.name}.partial")) as partial:
            try:
                yield partial
                _move(partial, out)
            except BaseException as error:
                reason = _reason(error, partial)
                shutil.rmtree(partial, ignore_errors=True)
                if reason:
                    raise Unavailable(f"cannot write {out}: {reason}") from error
                raise
    except OSError as error:
        raise Unavailable(f"cannot write {out}: {error.strerror or error}") from error


def _check_replaceable(out: Path, overwrite: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise InvalidInput(f"{out}: is a file; give a new folder")
    first = next(out.iterdir(), None)
    if first is None:
        return
    if not overwrite:
        raise InvalidInput(f"{out}: is not empty; give a new folder, or add --overwrite")
    if not (out / DESCRIPTION).is_file():
        raise InvalidInput(
            f"{out}: is no earlier export (no {DESCRIPTION}), so it is not overwritten; remove it yourself"
        )


@contextmanager
def _locked_folder(folder: Path) -> Iterator[Path]:
    """An empty folder of this process; one that a killed process left is cleared."""
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        yield folder
    except BlockingIOError as error:
        raise Unavailable(f"{folder}: another process is writing this export") from error
    finally:
        os.close(descriptor)


def _move(partial: Path, out: Path) -> None:
    if not out.exists() or next(out.iterdir(), None) is None:
        partial.replace(out)
        return
    old = out.with_name(f".{out.name}.replaced")
    shutil.rmtree(old, ignore_errors=True)
    out.replace(old)
    partial.replace(out)
    shutil.rmtree(old, ignore_errors=True)


def _reason(error: BaseException, folder: Path) -> str:
    """What the disk has to do with an error; empty when it is no error of writing."""
    if isinstance(error, (GimError, KeyboardInterrupt, SystemExit)):
        return ""
    full = isinstance(error, OSError) and is_disk_full(error)
    if full or (isinstance(error, (OSError, RuntimeError)) and shutil.disk_usage(folder).free < _FULL_BYTES):
        return "the disk is full: free some space, then run the same command again"
    return error.strerror or str(error) if isinstance(error, OSError) else ""
