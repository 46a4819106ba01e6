"""Hashes of weight files, and whether they are the published ones. Big files are read once, not at every start."""

import contextlib
import hashlib
import json
import os
import time
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from gim.errors import GimError, InvalidInput, Unavailable
from gim.transfer.disk import disk_errors_named, exclusive
from gim.weights.spec import PublishedFile

_BLOCK_BYTES = 1024 * 1024
_SETTLED_SECONDS = 2.0  # a file changed later than this may change once more without its time showing it


@dataclass(frozen=True, slots=True)
class Digests:
    """What a file's bytes are known by."""

    num_bytes: int
    sha256: str
    git_blob: str


def digests_of(path: Path) -> Digests:
    """Read a file once for all its digests.

    Raises:
        Unavailable: it cannot be read.
    """
    try:
        num_bytes = path.stat().st_size
        sha256 = hashlib.sha256()
        git_blob = hashlib.sha1(b"blob %d\0" % num_bytes, usedforsecurity=False)
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                sha256.update(block)
                git_blob.update(block)
    except OSError as error:
        raise Unavailable(f"weights {path}: cannot be read ({error.strerror})") from error
    return Digests(num_bytes, sha256.hexdigest(), git_blob.hexdigest())


class DigestMemory:
    """Digests of files that have not changed since they were read, by all that a file system tells of a change."""

    def __init__(self, path: Path) -> None:
        self._path = path  # a small JSON file; without one, or where it cannot be written, everything is read anew

    def digests_of(self, path: Path) -> Digests:
        """The digests of a file, read only if it is not known or was touched.

        Raises:
            Unavailable: it cannot be read.
        """
        name, state = str(path.resolve()), _state_of(path)
        known = self._read().get(name)
        if state is not None and known is not None and known["state"] == state:
            return Digests(*known["digests"])
        found = digests_of(path)
        if state is not None and state == _state_of(path) and _is_settled(path):
            self._write(name, {"state": state, "digests": astuple(found)})
        return found

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            read = json.loads(self._path.read_bytes())
            return {name: entry for name, entry in read.items() if set(entry) == {"state", "digests"}}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def _write(self, name: str, entry: dict[str, Any]) -> None:
        with contextlib.suppress(GimError, OSError), exclusive(self._path), disk_errors_named(self._path):
            kept = {other: value for other, value in self._read().items() if Path(other).exists()}
            temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            temporary.write_text(json.dumps(kept | {name: entry}, indent=1))
            temporary.replace(self._path)


def check_published(path: Path, found: Digests, published: PublishedFile) -> None:
    """Return when a file is the published one, as far as that is known.

    Raises:
        InvalidInput: it is not; the message says in what.
    """
    for what, expected, actual in (
        ("size in bytes", published.num_bytes, found.num_bytes),
        ("sha256", published.sha256, found.sha256),
        ("git blob id", published.git_blob, found.git_blob),
    ):
        if expected and expected != actual:
            raise InvalidInput(f"weights {path}: not the published file: its {what} is {actual}, expected {expected}")


def _state_of(path: Path) -> dict[str, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    names = ("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")
    return {name: getattr(state, name) for name in names}


def _is_settled(path: Path) -> bool:
    """Whether the file's last change is past; a clock that ticks slowly would hide a change right after it."""
    state = path.stat()
    return time.time() - max(state.st_mtime, state.st_ctime) > _SETTLED_SECONDS
