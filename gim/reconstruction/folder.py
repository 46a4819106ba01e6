"""The folder of one reconstruction: whose it is, one process at a time, results that appear whole or not at all."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gim.errors import DiskFull, InvalidInput, Unavailable, is_disk_full

SUMMARY = "summary.json"
RESULTS = ("sparse", "database.db", "points.ply", "picture.png", SUMMARY)  # the summary last: it says all are there
_RUN, _CACHE, _PARTIAL, _LOCK = "run.json", "cache.db", ".partial", ".lock"


class RunFolder:
    """A folder that belongs to one set of images and settings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cache = path / _CACHE
        self.partial = path / _PARTIAL

    @contextmanager
    def opened(self, settings: Mapping[str, Any], *, redo: bool) -> Iterator[None]:
        """Make the folder this run's own for as long as the block runs.

        Args:
            settings: everything that changes the results, as JSON takes it.
            redo: whether results of other settings are replaced; the cache is kept, it names what made it.

        Raises:
            InvalidInput: it holds something else, or results of other settings.
            Unavailable: another process is at work in it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInput(f"{self.path}: {error.strerror or error}") from error
        self._refuse_strangers()
        with (self.path / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Unavailable(f"{self.path}: another process is at work in it; wait for it") from error
            self._claim(settings, redo=redo)
            try:
                yield
            except OSError as error:
                if is_disk_full(error):
                    raise DiskFull(f"{self.path}: no room left; make some, and the same command goes on") from error
                raise
            finally:
                shutil.rmtree(self.partial, ignore_errors=True)

    def finished(self) -> dict[str, Any] | None:
        """The summary of a run that is done; None before."""
        try:
            found: dict[str, Any] = json.loads((self.path / SUMMARY).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise InvalidInput(f"{self.path / SUMMARY}: not JSON; delete it") from error
        return found

    def publish(self) -> None:
        """Move the results out of the partial folder, the summary last."""
        for path in self.partial.rglob("*"):  # or a loss of power leaves a summary of files that are not there
            if path.is_file():
                with path.open("rb") as stream:
                    os.fsync(stream.fileno())
        (self.path / SUMMARY).unlink(missing_ok=True)
        for name in RESULTS:
            self._remove(name)
            (self.partial / name).replace(self.path / name)

    def _refuse_strangers(self) -> None:
        if not (self.path / _RUN).exists() and any(item.name != _LOCK for item in self.path.iterdir()):
            raise InvalidInput(f"{self.path}: not empty, and no reconstruction; give a new folder")

    def _claim(self, settings: Mapping[str, Any], *, redo: bool) -> None:
        path = self.path / _RUN
        wanted = json.loads(json.dumps(settings))
        if path.exists():
            try:
                before = json.loads(path.read_bytes())
            except ValueError:
                before = {}
            if before != wanted:
                self._give_up_results(before, wanted, redo=redo)
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir()
        part = path.with_name(f".{_RUN}.{os.getpid()}.part")
        part.write_text(json.dumps(wanted, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        part.replace(path)

    def _give_up_results(self, before: Mapping[str, Any], wanted: Mapping[str, Any], *, redo: bool) -> None:
        if not redo:
            names = sorted(name for name in wanted if before.get(name) != wanted[name])
            raise InvalidInput(
                f"{self.path}: holds a reconstruction with other {', '.join(names)}; give another folder, or --redo"
            )
        for name in reversed(RESULTS):
            self._remove(name)

    def _remove(self, name: str) -> None:
        place = self.path / name
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
