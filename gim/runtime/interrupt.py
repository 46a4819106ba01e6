"""Ctrl-C and SIGTERM: stop soon, leave nothing half-done, and be quick about it.

The first signal ends the loop, and abandons the stage that is at work, at once or after a time of grace: stages are
idempotent and the store is atomic, so an abandoned message simply comes back. Between messages the signal only sets a
flag, so that the bus is never interrupted halfway. A second signal interrupts whatever runs.
"""

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from gim.stages.base import GivesUp, Stage
from gim.wire.topics import Event

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StageAbandoned(KeyboardInterrupt):
    """The first signal came while a stage was at work."""


class Interruption:
    """Whether this process was asked to stop."""

    def __init__(self, grace_seconds: float = 0.0) -> None:
        """`grace_seconds`: that a stage at work still has after the first signal."""
        self._grace_seconds = grace_seconds
        self._num_signals = 0
        self._is_over = False
        self._is_abandonable = False

    def requested(self) -> bool:
        """Whether a signal came."""
        return self._num_signals > 0

    @contextmanager
    def listening(self, signals: Iterable[signal.Signals] = _SIGNALS) -> Iterator[None]:
        """Receive signals inside the block. Outside the main thread Python allows no handlers: then none come."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._receive) for number in signals}
        if self._grace_seconds > 0:
            before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._abandon)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def abandonable(self) -> Iterator[None]:
        """A block that is left by `StageAbandoned`, at the first signal or when the grace after it is over."""
        self._is_abandonable = True
        try:
            if self._is_over:
                raise StageAbandoned
            yield
        finally:
            self._is_abandonable = False

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        self._num_signals += 1
        if self._num_signals > 1:
            raise KeyboardInterrupt
        if self._grace_seconds > 0:
            signal.setitimer(signal.ITIMER_REAL, self._grace_seconds)
        else:
            self._abandon()

    def _abandon(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        self._is_over = True
        if self._is_abandonable:
            raise StageAbandoned


class AbandonableStage:
    """A stage whose work in hand is abandoned when its process is to stop."""

    def __init__(self, stage: Stage, interruption: Interruption) -> None:
        self.name, self.topic, self.group, self.max_seconds = stage.name, stage.topic, stage.group, stage.max_seconds
        self._stage = stage
        self._interruption = interruption
        if isinstance(stage, GivesUp):
            self.give_up = stage.give_up

    def handle(self, event: Event) -> Iterable[tuple[str, Event]]:
        """The stage's own, all of it."""
        with self._interruption.abandonable():
            return list(self._stage.handle(event))


@contextmanager
def ctrl_c_held_back() -> Iterator[None]:
    """What starts inside the block never receives SIGINT; this process receives it after the block.

    A terminal sends Ctrl-C to all of its processes; the parent alone decides, and tells the others in its own way.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
