"""`python -m infra`: the servers of development and tests. Needs Python 3.11 and nothing else; see README.md."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from infra.development import NAMES, SERVERS, Development, Status
from infra.during import run_during, stop_unused
from infra.environment import exports
from infra.errors import InfraError
from infra.state import RUN, TOOLS
from infra.tools import ALL, install

_FAILED = 1
_Action = Callable[[argparse.Namespace, Development], int]


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    # What follows `--` is another program's.
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = _parser().parse_args(arguments[:end])
    options.program = list(arguments[end + 1 :])
    options.run, options.tools = options.run.resolve(), options.tools.resolve()
    # Whoever is started from here finds the same servers.
    os.environ |= {"INFRA_RUN": str(options.run), "INFRA_TOOLS": str(options.tools)}
    signal.signal(signal.SIGTERM, _end)
    try:
        return int(options.action(options, Development(options.run, options.tools, _say)))
    except InfraError as error:
        print(f"error: {error}", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra", description="Real servers, without docker.")
    parser.add_argument("--run", type=Path, default=RUN, help="where their data and states are (%(default)s)")
    parser.add_argument("--tools", type=Path, default=TOOLS, help="where their programs are (%(default)s)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, action: _Action, what: str, choices: Sequence[str]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(choices)}; all by default")
        command.set_defaults(action=action, choices=choices)
        return command

    add("install", _install, "fetch and build programs", tuple(dict.fromkeys([*NAMES, *ALL])))
    add("up", _up, "start servers that do not run, and wait until they work", NAMES)
    down = add("down", _down, "stop servers that were started here", NAMES)
    down.add_argument("--clean", action="store_true", help="delete what they hold, too")
    down.add_argument(
        "--unused", action="store_true", help="only those that `during` started and left when it was killed"
    )
    add("status", _status, "show servers; exit code 0 when all of them are up", NAMES)
    environment = commands.add_parser("env", help='print what gim needs to use them: eval "$(python -m infra env)"')
    environment.set_defaults(action=_env)
    add("during", _during, "run a program while servers are up: NAME... -- PROGRAM ARGUMENT...", NAMES)
    return parser


def _install(options: argparse.Namespace, _: Development) -> int:
    wanted: list[str] = []
    for name in _chosen(options):
        wanted += SERVERS[name].needs if name in SERVERS else [name]
    failed = install(wanted, options.tools, _say)
    if not failed:
        _say(f"installed: {', '.join(dict.fromkeys(wanted))}")
    return _tell(failed)


def _up(options: argparse.Namespace, development: Development) -> int:
    return _tell(development.up(_chosen(options), stays=True))


def _down(options: argparse.Namespace, development: Development) -> int:
    if options.unused:
        stop_unused(development, _chosen(options))
    else:
        development.down(_chosen(options), clean=options.clean)
    return 0


def _status(options: argparse.Namespace, development: Development) -> int:
    rows = [development.status(name) for name in _chosen(options)]
    for row in rows:
        print(_row(row))
    return 0 if all(row.is_up for row in rows) else _FAILED


def _env(options: argparse.Namespace, _: Development) -> int:
    print("\n".join(exports(options.run)))
    return 0


def _during(options: argparse.Namespace, development: Development) -> int:
    if not options.program:
        raise InfraError("say what to run: python -m infra during NAME... -- PROGRAM ARGUMENT...")
    return run_during(development, _chosen(options), options.program, tell=_tell)


def _chosen(options: argparse.Namespace) -> list[str]:
    unknown = sorted(set(options.names) - set(options.choices))
    if unknown:
        raise InfraError(f"unknown: {', '.join(unknown)}; known: {', '.join(options.choices)}")
    return list(options.names or options.choices)


def _tell(failed: Mapping[str, InfraError]) -> int:
    for name, error in failed.items():
        print(f"error: {name}: {error}", file=sys.stderr)
    return _FAILED if failed else 0


def _row(status: Status) -> str:
    shown = f"{status.name:<13} {status.condition:<14} {status.address:<26}"
    if status.pid is not None:
        shown += f" pid {status.pid:<8} {status.memory_bytes / 1e6:5.0f} MB of memory "
    return (shown + f" {status.data_bytes / 1e6:6.0f} MB of data").rstrip()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")  # at once: several threads say things
    sys.stdout.flush()


def _end(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
