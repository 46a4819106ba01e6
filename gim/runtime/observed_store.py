"""A Store that tells how it is used: calls, their outcomes and seconds, and bytes both ways."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gim.errors import KeyMissing
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry


class ObservedStore:
    """Any Store, watched from outside; it keeps the port's contract."""

    def __init__(self, store: Store, telemetry: Telemetry) -> None:
        """Watch.

        Args:
            store: what does the work; it is closed with this.
            telemetry: who is told.
        """
        self._store = store
        self._telemetry = telemetry

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        with self._call("put"):
            written = self._store.put(key, data, if_absent=if_absent)
        self._bytes("out", len(data) if written else 0)
        return written

    def put_file(self, key: str, path: Path) -> None:
        with self._call("put_file"):
            self._store.put_file(key, path)
        self._bytes("out", path.stat().st_size)

    def get(self, key: str) -> bytes:
        with self._call("get"):
            data = self._store.get(key)
        self._bytes("in", len(data))
        return data

    @contextmanager
    def fetch(self, key: str) -> Iterator[Path]:
        with ExitStack() as leaving:
            with self._call("fetch"):
                path = leaving.enter_context(self._store.fetch(key))
            self._bytes("in", path.stat().st_size)
            yield path

    def exists(self, key: str) -> bool:
        with self._call("exists"):
            return self._store.exists(key)

    def size(self, key: str) -> int:
        with self._call("size"):
            return self._store.size(key)

    def list(self, prefix: str = "") -> Iterator[str]:
        return _timed(self._store.list(prefix), self._tell)

    def usage(self, prefix: str = "") -> int:
        with self._call("usage"):
            return self._store.usage(prefix)

    def delete(self, key: str) -> None:
        with self._call("delete"):
            self._store.delete(key)

    def close(self) -> None:
        self._store.close()

    @contextmanager
    def _call(self, operation: str) -> Iterator[None]:
        started = time.perf_counter()
        outcome = "error"
        try:
            yield
            outcome = "ok"
        except KeyMissing:
            outcome = "missing"
            raise
        finally:
            self._tell(operation, outcome, time.perf_counter() - started)

    def _tell(self, operation: str, outcome: str, seconds: float) -> None:
        self._telemetry.observe("store_seconds", seconds, operation=operation)
        self._telemetry.count("store_requests", 1, "", operation=operation, outcome=outcome)

    def _bytes(self, direction: str, num_bytes: int) -> None:
        self._telemetry.count("store_bytes", num_bytes, "", direction=direction)


def _timed(keys: Iterator[str], tell: Callable[[str, str, float], None]) -> Iterator[str]:
    """The keys; what is told is the time spent on getting them, not on what is done with each."""
    seconds, outcome = 0.0, "error"
    try:
        while True:
            started = time.perf_counter()
            key = next(keys, None)
            seconds += time.perf_counter() - started
            if key is None:
                break
            outcome = "ok"  # whoever wants only the first keys leaves here
            yield key
            outcome = "error"
        outcome = "ok"
    finally:
        tell("list", outcome, seconds)
