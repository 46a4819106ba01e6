"""Run what installs things: all it says goes to a log, it is tried again, and its end is told when it fails."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.errors import ToolMissing

_LAST_LINES = 50
_LIMIT_SECONDS = 3600.0  # a crowded machine needs long; a registry that hangs must still end
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Steps:
    """The commands that put one tool into place."""

    log: Path  # their output is appended to it
    say: Callable[[str], None]  # for people
    cancelled: threading.Event = field(default_factory=threading.Event)  # set: what runs is ended, nothing tried again
    pause_seconds: float = 5.0  # before the second attempt; longer before the third

    def run(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        attempts: int = 3,
        between: Callable[[], None] = lambda: None,
    ) -> None:
        """Run a command until it succeeds.

        Args:
            command: program and arguments.
            folder: where it runs.
            environment: what it finds there besides this process's own.
            attempts: how often it is tried.
            between: called before each further attempt.

        Raises:
            ToolMissing: it failed each time; the message ends with what it said last.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        outcome = ""
        for attempt in range(attempts):
            if attempt:
                if self.cancelled.wait(self.pause_seconds * attempt):
                    raise ToolMissing("interrupted")
                between()
            outcome = self._try(command, folder, environment or {})
            if not outcome:
                return
        said = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
        lines = "\n".join(f"    {line}" for line in said)
        tried = f"`{' '.join(command[:3])} ...` {outcome}, {attempts} times"
        raise ToolMissing(f"{tried}; the end of {self.log}:\n{lines}")

    def _try(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
        """What went wrong, or nothing."""
        with self.log.open("ab") as output:
            output.write(f"$ {' '.join(command)}\n".encode())
            output.flush()
            try:
                child = subprocess.Popen(
                    command,
                    cwd=folder,
                    env={**os.environ, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            except OSError as error:
                return f"cannot be run ({error.strerror})"
            return self._await(child)

    def _await(self, child: "subprocess.Popen[bytes]") -> str:
        deadline = time.monotonic() + _LIMIT_SECONDS
        while True:
            try:
                code = child.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                if not self.cancelled.is_set() and time.monotonic() < deadline:
                    continue
                child.terminate()
                child.wait()
                return f"took more than {_LIMIT_SECONDS:.0f} s"
            return f"ended with code {code}" if code else ""
