"""Run a program while servers are up, and leave things as they were: `make test` is run so.

Servers that ran before go on. Those that were started for such a program are stopped by the last of the programs that
run at the same time, also when the one that started them was killed.
"""

import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import FrameType

from infra.development import Development
from infra.errors import InfraError
from infra.locks import locked, locked_if_free


def run_during(
    development: Development,
    names: Sequence[str],
    program: Sequence[str],
    *,
    tell: Callable[[Mapping[str, InfraError]], int],
) -> int:
    """Run a program while servers are up; it runs also where some cannot be had, and `tell` hears why.

    Returns:
        Its exit code.
    """
    try:
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(locked(development.users_lock(name), shared=True))
            tell(development.up(names))
            return _run(program)
    finally:
        stop_unused(development, names)


def stop_unused(development: Development, names: Sequence[str]) -> None:
    """Stop servers that nobody brought up to stay and no program needs now."""
    for name in names:
        with locked_if_free(development.users_lock(name)) as is_free:
            if is_free and development.was_started_here(name) and not development.stays(name):
                development.down([name])


def _run(program: Sequence[str]) -> int:
    """Run it to its end; SIGTERM is passed on, so that no moment exists in which it would be left behind."""
    child: subprocess.Popen[bytes] | None = None
    asked: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        asked.append(number)
        if child is not None:
            child.terminate()

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        child = subprocess.Popen(program)
        if asked:
            child.terminate()
        code = _wait(child)
    except OSError as error:
        raise InfraError(f"{program[0]} cannot be run: {error.strerror}") from None
    finally:
        signal.signal(signal.SIGTERM, before)
    return code if code >= 0 else 128 - code


def _wait(child: "subprocess.Popen[bytes]") -> int:
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:  # from the terminal, which tells the program as well: let it end in its own way
            continue
