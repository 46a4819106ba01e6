"""The parent's side of several worker processes: starts them, listens to them, replaces those that die."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait

from gim.adapters.bus_sqlite import SqliteBus
from gim.errors import Unavailable
from gim.runtime.interrupt import Interruption, ctrl_c_held_back
from gim.runtime.outcome import Begun, DeadLetter, Outcome, dead_headers
from gim.runtime.worker_process import Ended, WorkOrder

_DEATHS = 3  # of workers with the same message in hand, then it is the message's fault
_TICK_SECONDS = 0.1
_GRACE_SECONDS = 10.0  # between asking a worker to stop and killing it
_STDERR = 2
# The child sees the modules that the parent sees, and nothing of the folder it happens to start in.
_PROGRAM = """\
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from gim.runtime.worker_process import main
main(int(sys.argv[2]))
"""


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    in_hand: Begun | None = None
    ended: Ended | None = None


class WorkerPool:
    """Worker processes that drain one run's bus together."""

    def __init__(self, order: WorkOrder, bus: SqliteBus, observe: Callable[[Begun | Outcome], None]) -> None:
        self._order = order
        self._bus = bus
        self._observe = observe
        self._workers: list[_Worker] = []
        self._deaths: Counter[tuple[str, str, int]] = Counter()
        self._idle_deaths = 0  # in a row
        self._is_stopping = False

    def run(self, jobs: int, interruption: Interruption) -> None:
        """Return when all work is done, or the workers have stopped after an interruption.

        A worker that dies is replaced, and its message comes back; a message that three workers died of becomes a dead
        letter.

        Raises:
            GimError: what a worker raised while building the stages.
            Unavailable: the bus stayed away, or workers die before they take any work.
            RuntimeError: a worker stopped by a bug of ours; the message is its stack.
        """
        try:
            self._workers += [self._start() for _ in range(jobs)]
            while self._workers and not interruption.requested():
                self._listen()
            self._stop()
        finally:
            for worker in tuple(self._workers):
                worker.process.kill()
                self._remove(worker)

    def _start(self) -> _Worker:
        ours, theirs = Pipe()
        with theirs, ctrl_c_held_back():
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
                [sys.executable, "-P", "-c", _PROGRAM, json.dumps(sys.path), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=_STDERR,  # the parent's stdout is for the user's result
            )
        ours.send(self._order)
        return _Worker(process, ours)

    def _listen(self) -> None:
        """Take in what workers say for a moment, and settle those that ended."""
        wait([worker.connection for worker in self._workers], _TICK_SECONDS)
        for worker in tuple(self._workers):
            has_exited = worker.process.poll() is not None  # asked first: what it said before is then all there
            try:
                while worker.connection.poll():
                    self._hear(worker, worker.connection.recv())
            except (EOFError, OSError):
                has_exited = True
            if has_exited:
                self._settle(worker)

    def _hear(self, worker: _Worker, told: Begun | Outcome | Ended) -> None:
        if isinstance(told, Ended):
            worker.ended = told
            return
        worker.in_hand = told if isinstance(told, Begun) else None
        if isinstance(told, Outcome):
            self._idle_deaths = 0
        self._observe(told)

    def _settle(self, worker: _Worker) -> None:
        self._remove(worker)
        ended = worker.ended
        if ended is None:
            if not self._is_stopping:
                self._replace(worker)
        elif ended.error is not None:
            raise ended.error
        elif ended.crash:
            raise RuntimeError(f"a worker process failed:\n{ended.crash}")

    def _replace(self, dead: _Worker) -> None:
        """Start another worker, unless workers die by themselves: then the others carry on as long as there are any."""
        cause = _cause(dead.process.returncode)
        if dead.in_hand is not None:
            self._blame(dead.in_hand, cause)
        else:
            self._idle_deaths += 1
        if self._idle_deaths < _DEATHS:
            self._workers.append(self._start())
        elif not self._workers:
            raise Unavailable(f"worker processes die before they take any work ({cause}): is memory short?")

    def _blame(self, begun: Begun, cause: str) -> None:
        """Count a death against the message in hand; the one that is counted too often becomes a dead letter."""
        self._deaths[begun.topic, begun.group, begun.offset] += 1
        if self._deaths[begun.topic, begun.group, begun.offset] < _DEATHS:
            return
        letter = DeadLetter(
            subject=begun.subject,
            stage=begun.stage,
            error="WorkerDied",
            message=f"{_DEATHS} worker processes died at work on it, the last by {cause}",
            topic=begun.topic,
            key=begun.key,
            offset=begun.offset,
            attempts=_DEATHS,
        )
        if self._bus.bury(begun.topic, begun.offset, begun.group, dead_headers(letter)):
            self._observe(Outcome(begun, "dead", 0.0, dead=letter))

    def _stop(self) -> None:
        """Ask the workers that are left to stop, and give them a moment for it."""
        self._is_stopping = True
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + _GRACE_SECONDS
        while self._workers and time.monotonic() < deadline:
            self._listen()

    def _remove(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.process.wait()
        worker.connection.close()


def _cause(returncode: int) -> str:
    return signal.Signals(-returncode).name if returncode < 0 else f"exit status {returncode}"
