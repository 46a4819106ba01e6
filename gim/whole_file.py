"""Writes a file whole or not at all: beside its place under a hidden name, then moved over what was there."""

import os
from contextlib import suppress
from pathlib import Path

from gim.errors import DiskFull, InvalidInput, is_disk_full


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write a text, as UTF-8, or bytes; folders above are made.

    Returns:
        `path`.

    Raises:
        InvalidInput: nothing can be written there.
        DiskFull: there is no room.
    """
    data = content.encode() if isinstance(content, str) else content
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(data)
        unfinished.replace(path)
    except OSError as error:
        if is_disk_full(error):
            raise DiskFull(f"{path}: cannot be written ({error.strerror}); make room there") from error
        raise InvalidInput(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        with suppress(OSError):  # where nothing can be written there is nothing to remove
            unfinished.unlink()
    return path
