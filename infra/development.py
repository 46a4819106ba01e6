"""The servers of `.run/`: brought up, left running, taken down. Only what was started here is ever touched.

A server that somebody started by hand and wrote a `state.json` for counts as up while it answers, and is left alone.
"""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.answers import http_status
from infra.errors import InfraError
from infra.kafka.broker import Broker
from infra.kafka.wire import ask_metadata
from infra.locks import locked
from infra.minio import Minio
from infra.monitoring import Alertmanager, Prometheus
from infra.server import Server
from infra.state import RUN, TOOLS, read_state, write_json
from infra.tools import install
from infra.versitygw import Versitygw

SERVERS: dict[str, type[Server]] = {
    server.name: server for server in (Broker, Minio, Versitygw, Alertmanager, Prometheus)
}
NAMES = tuple(SERVERS)


@dataclass(frozen=True, slots=True)
class Status:
    """One server as it is now."""

    name: str
    condition: str  # "up", "by hand", "not answering", "down"
    address: str = ""
    pid: int | None = None
    memory_bytes: int = 0
    data_bytes: int = 0

    @property
    def is_up(self) -> bool:
        """Whether it can be used."""
        return self.condition in ("up", "by hand")


class Development:
    """The development servers below one folder."""

    def __init__(self, run: Path = RUN, tools: Path = TOOLS, say: Callable[[str], None] = print) -> None:
        self._run = run
        self._tools = tools
        self._say = say

    def up(self, names: Sequence[str], *, stays: bool = False) -> dict[str, InfraError]:
        """Install what is missing, start what does not run, wait until it does its work.

        Args:
            names: servers.
            stays: they go on until `down`, also when a program that they were started for ends.

        Returns:
            What could not be brought up, and why.
        """
        if stays:
            for name in names:
                (self._run / name).mkdir(parents=True, exist_ok=True)
                self._stay_mark(name).touch()
        down = [name for name in NAMES if name in names and not self.status(name).is_up]
        lacking = install([tool for name in down for tool in SERVERS[name].needs], self._tools, self._say)
        failed: dict[str, InfraError] = {
            name: lacking[tool] for name in down for tool in SERVERS[name].needs if tool in lacking
        }
        able = [name for name in down if name not in failed]
        # Prometheus is told where the others are.
        for group in ([name for name in able if name != "prometheus"], [name for name in able if name == "prometheus"]):
            with ThreadPoolExecutor(len(NAMES)) as pool:
                errors = zip(group, pool.map(self._up, group), strict=True)
                failed |= {name: error for name, error in errors if error is not None}
        self._tell_prometheus()
        return failed

    def stays(self, name: str) -> bool:
        """Whether the server is to go on until `down`."""
        return self._stay_mark(name).exists()

    def was_started_here(self, name: str) -> bool:
        """Whether the server's folder is one that this has started a server in."""
        return (self._run / name / "process.json").exists()

    def users_lock(self, name: str) -> Path:
        """Shared by those that need the server now."""
        return self._run / "locks" / f"{name}-users"

    def down(self, names: Sequence[str], *, clean: bool = False) -> None:
        """Stop servers that were started here; `clean` deletes what they hold."""
        with ThreadPoolExecutor(len(NAMES)) as pool:
            list(pool.map(lambda name: self._down(name, clean=clean), names))

    def status(self, name: str) -> Status:
        """How a server is; changes nothing."""
        server = self._server(name)
        data = _size_bytes(server.folder / "data")
        if (pid := server.pid) is not None:
            condition = "up" if server.is_ready and read_state(name, self._run) else "not answering"
            return Status(name, condition, _address(server.state()), pid, _memory_bytes(pid), data)
        state = read_state(name, self._run)
        if state is not None and not self.was_started_here(name) and _answers(name, state):
            return Status(name, "by hand", _address(state), data_bytes=data)
        return Status(name, "down", data_bytes=data)

    def _up(self, name: str) -> InfraError | None:
        server = self._server(name)
        with locked(
            self._run / "locks" / name, on_wait=lambda: self._say(f"{name}: another process starts it; waiting")
        ):
            if self.status(name).is_up:
                return None
            began = time.monotonic()
            try:
                if server.pid is None:
                    server.bring_up(outlives_us=True)
                else:
                    server.wait_until_ready()
            except InfraError as error:
                return error
            write_json(server.folder / "state.json", server.state())
            self._say(f"{name}: up at {_address(server.state())} after {time.monotonic() - began:.1f} s")
        return None

    def _tell_prometheus(self) -> None:
        """Where the others are now; its own start tells it as well."""
        prometheus = Prometheus(self._run / Prometheus.name, tools=self._tools)
        if prometheus.pid is not None:
            prometheus.write_targets()

    def _down(self, name: str, *, clean: bool) -> None:
        server = self._server(name)
        with locked(self._run / "locks" / name):
            if self.status(name).condition == "by hand":
                self._say(f"{name}: was not started here; left running")
                return
            if server.pid is not None:
                server.stop()
                self._say(f"{name}: stopped")
            self._stay_mark(name).unlink(missing_ok=True)
            if self.was_started_here(name):
                (server.folder / "state.json").unlink(missing_ok=True)
            if clean and server.folder.exists():
                shutil.rmtree(server.folder)
                self._say(f"{name}: its data are deleted")

    def _stay_mark(self, name: str) -> Path:
        return self._run / name / "stays"

    def _server(self, name: str) -> Server:
        return SERVERS[name](self._run / name, tools=self._tools)


def _answers(name: str, state: dict[str, Any]) -> bool:
    if name == "kafka":
        host, _, port = state["bootstrap_servers"][0].rpartition(":")
        return ask_metadata(host, int(port)) is not None
    return http_status(state.get("endpoint") or state["url"]) is not None


def _address(state: dict[str, Any]) -> str:
    if "bootstrap_servers" in state:
        return str(state["bootstrap_servers"][0])
    return str(state.get("endpoint") or state["url"])


def _memory_bytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


def _size_bytes(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):  # which passes over folders that are deleted meanwhile
        for name in names:
            with suppress(OSError):  # so is this file
                total += Path(parent, name).lstat().st_size
    return total
