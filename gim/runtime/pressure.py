"""Holds the downloader back while labelling lags behind, or space runs short: what is not begun needs no room."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gim.errors import ConfigError, Unavailable
from gim.ports.bus import Bus
from gim.ports.store import Store
from gim.settings import Settings
from gim.stages.label import group_of
from gim.wire import topics

_SHARE_OF_TIME = 0.05  # at most, spent on adding up what a large store holds


@dataclass(slots=True)
class _Look:
    """What is asked from time to time only, since asking costs."""

    ask: Callable[[], str]
    every_seconds: float
    answer: str = ""
    next_at: float = 0.0

    def __call__(self) -> str:
        started = time.monotonic()
        if started >= self.next_at:
            self.answer = self.ask()
            taken = time.monotonic() - started
            self.next_at = started + max(self.every_seconds, taken / _SHARE_OF_TIME)
        return self.answer


class Pressure:
    """Says whether another video may be begun.

    A video that is being taken in may bring up to `source.max_bytes`; so a quota is kept by beginning none that might
    pass it, not by noticing that it was passed.
    """

    def __init__(self, settings: Settings, store: Store, bus: Bus, work_dir: Path) -> None:
        """Check the limits.

        Raises:
            ConfigError: a quota is so small that no video could ever be begun.
        """
        self._store, self._bus, self._work_dir = store, bus, work_dir
        self._service = settings.service
        self._matchers = settings.matchers
        self._room = settings.source.max_bytes
        for name, quota in (
            ("max_store_bytes", self._service.max_store_bytes),
            ("max_work_bytes", self._service.max_work_bytes),
        ):
            if 0 < quota <= self._room:
                raise ConfigError(
                    f"setting service.{name} = {quota} leaves no room for one video of source.max_bytes = {self._room}"
                )
        every = self._service.pressure_seconds
        self._looks = [_Look(look, every) for look in (self._lag, self._work, self._stored)]

    def why_wait(self) -> str:
        """Why no further video may be begun now, in one line; empty when one may."""
        return next((why for look in self._looks if (why := look())), "")

    def _lag(self) -> str:
        limit = self._service.max_label_lag
        for name in self._matchers:
            try:
                lag = self._bus.lag(topics.SEGMENTS, group_of(name))
            except Unavailable as error:
                return str(error)
            if lag > limit:
                return f"{lag} segments wait for matcher {name}, more than service.max_label_lag = {limit}"
        return ""

    def _work(self) -> str:
        quota = self._service.max_work_bytes
        return _too_full("work_dir", _bytes_below(self._work_dir), self._room, quota) if quota else ""

    def _stored(self) -> str:
        quota = self._service.max_store_bytes
        if not quota:
            return ""
        try:
            return _too_full("store", self._store.usage(), self._room, quota)
        except Unavailable as error:
            return str(error)


def _too_full(what: str, used: int, room: int, quota: int) -> str:
    if used + room <= quota:
        return ""
    name = f"service.max_{what.removesuffix('_dir')}_bytes"
    return f"the {what} holds {used / 1e9:.1f} GB, and a video of {room / 1e9:.1f} GB might pass {name} = {quota}"


def _bytes_below(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):  # which passes over folders that go meanwhile
        for name in names:
            with suppress(FileNotFoundError):  # a download that has just ended
                total += Path(parent, name).lstat().st_size
    return total
