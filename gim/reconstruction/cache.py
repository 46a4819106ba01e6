"""What an interrupted reconstruction has done so far, in one SQLite file: bytes by a key of all that made them.

SQLite, because a process may be killed at any moment and half a record must not be found; one file, because pairs
are many. A key is a hash of contents and settings, so nothing is ever out of date.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gim.errors import DiskFull, InvalidInput

_BUSY_SECONDS = 30.0


class ResultCache:
    """Bytes by key. Used from one thread."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it.

        Raises:
            InvalidInput: it is no such file.
        """
        self._path = path
        self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS)
        try:
            with self._connection:
                self._connection.execute(
                    "CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, data BLOB NOT NULL)"
                )
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise InvalidInput(f"cache {path}: {error}; delete it") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._connection.close()

    def missing(self, keys: Iterable[str]) -> list[int]:
        """Which of the keys, by position, have no bytes yet."""
        found = {row[0] for row in self._connection.execute("SELECT key FROM results")}
        return [position for position, key in enumerate(keys) if key not in found]

    def get(self, key: str) -> bytes:
        """The bytes of a key that is not missing.

        Raises:
            KeyError: it is.
        """
        row = self._connection.execute("SELECT data FROM results WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return bytes(row[0])

    def put(self, items: Mapping[str, bytes]) -> None:
        """Keep bytes: all of them or, after a crash, none.

        Raises:
            DiskFull: there is no room.
        """
        try:
            with self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO results VALUES (?, ?)", list(items.items()))
        except sqlite3.OperationalError as error:
            raise DiskFull(f"cache {self._path}: {error}; make room, and the same command goes on") from error


def cache_key(kind: str, *parts: Any) -> str:
    """A key made of everything that changes the bytes; parts with equal `str` are equal."""
    return f"{kind}-{hashlib.sha256(repr([str(part) for part in parts]).encode()).hexdigest()[:32]}"
