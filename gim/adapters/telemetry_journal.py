"""The Telemetry port as JSON lines: every process appends to a file of its own, and anyone may read along.

What is told is added up in memory and written about twice a second, so a process that is killed loses little, and
counting costs next to nothing. Timings live here and nowhere else: they never reach an object of the store.

A line is `{"at": unix seconds, "video": id, ...}` with one of `"step": name, "seconds": more`,
`"count": name, "value": more`, or `"phase": name, "done": number, "total": number`. A distribution is two counts.
"""

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gim.errors import Unavailable

FLUSH_SECONDS = 0.5


class JournalTelemetry:
    """Counts and durations of one process, appended to one file. Safe to call from any thread."""

    def __init__(self, path: Path, *, flush_seconds: float = FLUSH_SECONDS) -> None:
        """Begin the journal at `path`; its folder exists.

        Raises:
            Unavailable: the file cannot be made.
        """
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Unavailable(f"{path}: {error.strerror}") from error
        self._flush_seconds = flush_seconds
        self._guard = threading.Lock()
        self._seconds: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._counts: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._progress: dict[tuple[str, str], tuple[float, float, float]] = {}
        self._unwritten = b""
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write_regularly, name="telemetry", daemon=True)
        self._writer.start()

    @contextmanager
    def step(self, name: str, video_id: str) -> Iterator[None]:
        """Time a step, also when it fails."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add_seconds(name, video_id, time.perf_counter() - started)

    def add_seconds(self, name: str, video_id: str, seconds: float) -> None:
        with self._guard:
            self._seconds[video_id, name] += seconds

    def count(self, name: str, value: float, video_id: str, **labels: str) -> None:
        with self._guard:
            self._counts[video_id, counter_name(name, labels)] += value

    def observe(self, name: str, value: float, video_id: str = "", **labels: str) -> None:
        """Kept as two counters, which give the mean: a journal is for looking on, not for statistics."""
        with self._guard:
            self._counts[video_id, counter_name(f"{name}_sum", labels)] += value
            self._counts[video_id, counter_name(f"{name}_count", labels)] += 1

    def set_level(self, name: str, value: float, **labels: str) -> None:
        """Levels are of a process, and a journal is of videos: not kept."""

    def set_levels(self, name: str, levels: Sequence[tuple[Mapping[str, str], float]]) -> None:
        """Not kept either."""

    def progress(self, video_id: str, phase: str, done: float, total: float) -> None:
        with self._guard:
            self._progress.pop((video_id, phase), None)  # the one told last is written last
            self._progress[video_id, phase] = (time.time(), done, total)

    def flush(self) -> None:
        """Write what was told so far; on a full disk it stays in memory until the next time."""
        with self._guard:
            self._unwritten += self._lines()
            try:
                while self._unwritten:
                    self._unwritten = self._unwritten[os.write(self._descriptor, self._unwritten) :]
            except OSError:  # watching must never stop the work that is watched
                return

    def close(self) -> None:
        """Write the rest and end the file; a second call does nothing."""
        if not self._closing.is_set():
            self._closing.set()
            self._writer.join()
            self.flush()
            os.close(self._descriptor)

    def _write_regularly(self) -> None:
        while not self._closing.wait(self._flush_seconds):
            self.flush()

    def _lines(self) -> bytes:
        now = time.time()
        entries = [
            *({"at": now, "video": video, "step": name, "seconds": n} for (video, name), n in self._seconds.items()),
            *({"at": now, "video": video, "count": name, "value": n} for (video, name), n in self._counts.items()),
            *(
                {"at": at, "video": video, "phase": phase, "done": done, "total": total}
                for (video, phase), (at, done, total) in self._progress.items()
            ),
        ]
        for told in (self._seconds, self._counts, self._progress):
            told.clear()
        return b"".join(json.dumps(entry, ensure_ascii=False).encode() + b"\n" for entry in entries)


def counter_name(name: str, labels: dict[str, str]) -> str:
    """A counter with its labels in one word, as Prometheus writes it but without quotes: `pairs{reason=few}`."""
    return name + "{" + ",".join(f"{key}={labels[key]}" for key in sorted(labels)) + "}" if labels else name
