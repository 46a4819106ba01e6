"""One server in one folder: started, waited for, killed, stopped. What it is, its subclasses say."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Self

from gim.adapters.liveness import ProcessIdentity, is_dead, this_process
from infra.errors import ServerFailed
from infra.ports import choose_port, is_free, is_listening
from infra.state import ROOT, TOOLS, read_json, write_json

_PAUSE_SECONDS = 5.0
_POLL_SECONDS = 0.1
_LOG_LIMIT_BYTES = 32 * 2**20  # a log larger than this is begun anew at the next start
_STARTS = 3  # a port that was free may be taken when the server gets to it


class Server(ABC):
    """A server process whose data, log and record lie in one folder.

    The record, `process.json`, says which process it is and which ports it has, so that any process can stop it
    later and none stops another one that happens to have its number.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]  # tools, see `infra.tools`
    default_ports: ClassVar[Mapping[str, int]]  # use -> port
    stop_seconds: ClassVar[float] = 30.0  # from SIGTERM to SIGKILL

    def __init__(
        self, folder: Path, *, tools: Path = TOOLS, ports: Mapping[str, int] | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.folder = folder.resolve()
        self.tools = tools
        self.host = host
        self.ports: dict[str, int] = dict(ports or (read_json(self._record) or {}).get("ports", {}))
        self.is_wanted = False  # started by this object, and neither stopped nor killed by it
        self._child: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Make what the server finds at its start: folders, settings, passwords. Called again at each start."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The program and its arguments; nothing secret among them."""

    def environment(self) -> dict[str, str]:
        """What the program finds in its environment besides this process's own."""
        return {}

    def work_folder(self) -> Path:
        """Where it runs."""
        return self.folder

    @abstractmethod
    def is_answering(self) -> bool:
        """Whether a server at its address does its work. Never raises because it does not."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """How to reach it: see `infra.state.read_state`."""

    @property
    def pid(self) -> int | None:
        """The process that runs, or None."""
        record = read_json(self._record)
        if record is None:
            return None
        process = ProcessIdentity(**record["process"])
        if self._child is not None and self._child.pid == process.pid and self._child.poll() is not None:
            return None
        # What ran before the machine was started again, or in another container, is none of this machine's processes.
        return None if process.host != this_process().host or is_dead(process) else process.pid

    @property
    def is_ready(self) -> bool:
        """Whether this very server, not another one at its address, does its work."""
        pid = self.pid
        return pid is not None and all(is_listening(pid, port) for port in self.ports.values()) and self.is_answering()

    @property
    def log(self) -> Path:
        """What it said, at all its starts."""
        return self.folder / "log"

    def choose_ports(self) -> None:
        """Take the ports asked for, of last time, or the usual ones; free ones where those are 0 or taken."""
        self.ports = {use: choose_port(self.ports.get(use, usual)) for use, usual in self.default_ports.items()}

    def start(self, *, outlives_us: bool = False) -> Self:
        """Start it and return at once; `wait_until_ready` waits. The ports must have been chosen.

        Args:
            outlives_us: it goes on when this process ends; else the system kills it then, and the thread that calls
                must live as long as the server is to.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.prepare()
        self.is_wanted = True
        extra = json.dumps({"ports": self.ports})
        parent = "0" if outlives_us else str(os.getpid())
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT_BYTES:
            self.log.unlink()
        self._record.unlink(missing_ok=True)
        launch = [sys.executable, "-m", "infra.launch", str(self._record), extra, parent, str(self.work_folder())]
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [*launch, *self.command()],
                cwd=ROOT,
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is not meant for it
            )
        return self

    def wait_until_ready(self, timeout_seconds: float = 120.0) -> Self:
        """Wait until it does its work.

        Raises:
            ServerFailed: it ended, or the time is over. The message ends with what it said last.
        """
        deadline = time.monotonic() + timeout_seconds
        while not self.is_ready:
            if self._child is not None and (code := self._child.poll()) is not None:
                raise ServerFailed(f"{self.name} ended with code {code} at its start{self._last_words()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} is not ready after {timeout_seconds:.0f} s{self._last_words()}")
            time.sleep(_POLL_SECONDS)
        return self

    def bring_up(self, *, outlives_us: bool = False, timeout_seconds: float = 120.0) -> Self:
        """Choose ports, start it, wait until it is ready; with other ports when somebody was quicker.

        Raises:
            ServerFailed: it does not start.
        """
        for remaining in reversed(range(_STARTS)):
            self.choose_ports()
            self.start(outlives_us=outlives_us)
            try:
                return self.wait_until_ready(timeout_seconds)
            except ServerFailed:
                self.kill()
                if remaining == 0 or all(is_free(port) for port in self.ports.values()):
                    raise
        raise AssertionError("the last round returns or raises")

    def restart(self, timeout_seconds: float = 120.0) -> Self:
        """Start it again on the same data and ports, after `stop` or `kill`."""
        return self.start().wait_until_ready(timeout_seconds)

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing is answered, as when a machine hangs."""
        self._signal(signal.SIGSTOP)
        # Its threads stop one by one, and one of them may answer once more.
        deadline = time.monotonic() + _PAUSE_SECONDS
        while not _is_stopped(self.pid) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS / 20)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a power cut does (SIGKILL) and wait until it is gone."""
        self.is_wanted = False
        self._signal(signal.SIGKILL)
        self._wait_until_gone(60.0)

    def stop(self) -> None:
        """End it in order; by force when it takes too long. Nothing happens where it does not run."""
        self.is_wanted = False
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # one that is paused would never see the other
        if not self._wait_until_gone(self.stop_seconds):
            self.kill()

    def remove(self) -> None:
        """Stop it and delete its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    @property
    def _record(self) -> Path:
        return self.folder / "process.json"

    def _signal(self, number: signal.Signals) -> None:
        # A child that has not become the server yet has no record.
        child = self._child if self._child is not None and self._child.poll() is None else None
        pid = self.pid or (child.pid if child is not None else None)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _wait_until_gone(self, timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        while True:
            ended = self._child is None or self._child.poll() is not None
            if ended and self.pid is None:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS / 2)

    def _last_words(self, lines: int = 50) -> str:
        try:
            said = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        except FileNotFoundError:
            return ""
        return "\n".join([f"; the end of {self.log}:", *(f"    {line}" for line in said)])


def _is_stopped(pid: int | None) -> bool:
    """Whether all threads of a process are stopped, as /proc says; so is one that is gone."""
    try:
        states = [path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return False  # a thread ended while they were counted
    return all(state == "T" for state in states)


def credentials(folder: Path) -> dict[str, str]:
    """The administrator's keys of an S3 server: made at random at its first start, kept in its folder."""
    path = folder / "credentials.json"
    if (known := read_json(path)) is not None:
        return known
    made = {"access_key": f"gim-{os.urandom(6).hex()}", "secret_key": os.urandom(20).hex()}
    write_json(path, made)
    return made
