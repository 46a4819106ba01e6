"""The file below the SQLite bus: its schema, its transactions, and what its errors mean. Queueing is `bus_sqlite`'s.

One connection is shared by the threads of a process under one lock; every statement is short.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gim.errors import ConfigError, DiskFull, GimError, Unavailable

SCHEMA = 1  # user_version of the file; another one is refused
BUSY_SECONDS = 30.0  # how long another process may hold the write lock
_APPLICATION_ID = 0x47494D42  # "GIMB"
_RETRY_SECONDS = 0.02

# Each group has a row in `pending` per message it has not acknowledged, and one in `claims` per key that one of its
# consumers holds.
_TABLES = """
CREATE TABLE messages (
    offset INTEGER PRIMARY KEY AUTOINCREMENT, topic TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
    headers TEXT NOT NULL
);
CREATE INDEX messages_by_topic ON messages (topic, offset);
CREATE TABLE groups (topic TEXT, name TEXT, PRIMARY KEY (topic, name)) WITHOUT ROWID;
CREATE TABLE pending (
    name TEXT, topic TEXT, offset INTEGER, key TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (name, topic, offset)
) WITHOUT ROWID;
CREATE TABLE claims (
    name TEXT, topic TEXT, key TEXT, offset INTEGER NOT NULL, consumer TEXT NOT NULL,
    host TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL, renewed REAL NOT NULL,
    PRIMARY KEY (name, topic, key)
) WITHOUT ROWID;
CREATE INDEX claims_by_consumer ON claims (consumer);
"""

_WAY_OUT = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space, then run the same command again",
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only",
    sqlite3.SQLITE_PERM: "permission denied",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: is its folder writable, and the disk not full?",
    sqlite3.SQLITE_BUSY: "another process keeps the file locked",
    sqlite3.SQLITE_LOCKED: "another process keeps the file locked",
    sqlite3.SQLITE_PROTOCOL: "another process keeps the file locked",
    sqlite3.SQLITE_IOERR: "the disk cannot be read or written",
}


class BusFile:
    """One open SQLite file of the bus."""

    def __init__(self, path: Path, *, busy_seconds: float = BUSY_SECONDS, survive_power_cut: bool = True) -> None:
        """Open the file, or make it and its folder.

        Raises:
            ConfigError: the file is something else, or a bus of another schema.
            Unavailable: the disk is full, read-only or forbidden, or the file stays locked.
        """
        self.path = path
        self._guard = threading.RLock()
        self._busy_seconds = busy_seconds
        self._durably = "FULL" if survive_power_cut else "NORMAL"
        self._own_commits = 0
        with _translated_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
            )
            try:
                self._open()
            except BaseException:
                self._connection.close()
                raise

    def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        """Run one statement inside `reading` or `writing`."""
        return self._connection.execute(statement, values)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the connection; what is read is consistent per statement."""
        with self._guard, _translated_errors(self.path):
            yield

    @contextmanager
    def writing(self, *, durably: bool = False) -> Iterator[None]:
        """One transaction, all or nothing; `durably` waits for the disk.

        Losing a claim or an acknowledgement to a power cut only repeats work, so those need not wait.
        """
        with self.reading():
            self.execute(f"PRAGMA synchronous = {self._durably if durably else 'NORMAL'}")
            self.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self.execute("ROLLBACK")
                raise
            self._own_commits += 1

    def stamp(self) -> tuple[int, int]:
        """A value that changes whenever anybody, in this process or another, has written."""
        return self.execute("PRAGMA data_version").fetchone()[0], self._own_commits

    def shrink(self) -> None:
        """Give the space of deleted rows back to the disk, as far as nobody else is reading."""
        with self.reading():
            self._connection.executescript("PRAGMA incremental_vacuum")  # `execute` would free a single page
            self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        with self._guard:
            self._connection.close()

    def _open(self) -> None:
        self.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._become_wal()
        with self.writing(durably=True):
            application = self.execute("PRAGMA application_id").fetchone()[0]
            version = self.execute("PRAGMA user_version").fetchone()[0]
            if not application and not self.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
                for statement in _TABLES.split(";"):
                    self.execute(statement)
                self.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                self.execute(f"PRAGMA user_version = {SCHEMA}")
            elif application != _APPLICATION_ID:
                raise ConfigError(f"{self.path}: a database, but not a bus; give another file")
            elif version != SCHEMA:
                raise ConfigError(
                    f"{self.path}: a bus of schema {version}, this version reads schema {SCHEMA}; "
                    "delete it (the store holds all data), or use the version that wrote it"
                )

    def _become_wal(self) -> None:
        """Switch to WAL; SQLite's own wait does not cover two processes that make the same file at once."""
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                self.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_SECONDS)
            else:
                return


@contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # a bug of ours, such as using a closed bus
    except sqlite3.DatabaseError as error:
        raise _translated(error, path) from error
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}") from error


def _translated(error: sqlite3.DatabaseError, path: Path) -> GimError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return ConfigError(f"{path}: not a bus, or damaged ({error}); delete it, the store holds all data")
    if code in _WAY_OUT:
        kind = DiskFull if code == sqlite3.SQLITE_FULL else Unavailable
        return kind(f"{path}: {_WAY_OUT[code]} ({error})")
    raise error
