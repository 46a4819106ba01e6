"""The `gim` command: collects its commands, runs one, and turns every error into one line and an exit code.

A command is a module of this package with a function `register(app: typer.Typer) -> None` that adds it (usually by
`app.command()(function)`); a module whose name begins with an underscore holds no command. Nothing is listed here:
a new file is a new command. Commands import what they run inside their function, so that `gim --help` stays quick.

Exit codes: 0 done (videos rightly rejected included), 1 a bug, 2 bad input, 3 something is unavailable for now,
130 interrupted. `--debug` or GIM_DEBUG=1 shows the traceback.
"""

import errno
import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

import gim.cli
from gim.cli._terminal import say_error
from gim.errors import DiskFull, GimError
from gim.runtime.blas import prefer_wide_kernels

_INTERRUPTED = 130
_USAGE = 2


def build_app() -> typer.Typer:
    """The command tree with every command of this package."""
    app = typer.Typer(
        name="gim",
        help="Long-baseline training pairs for image matchers, from ordinary video.",
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    for module in pkgutil.iter_modules(gim.cli.__path__):
        if not module.name.startswith("_") and module.name != "main":
            importlib.import_module(f"gim.cli.{module.name}").register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave the process with its exit code."""
    prefer_wide_kernels()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us: `gim ls >&-`
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  for as long as the process
    sys.exit(run_command(sys.argv[1:] if arguments is None else list(arguments)))


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; an error is one line on stderr."""
    debug = bool(os.environ.get("GIM_DEBUG")) or "--debug" in arguments
    try:
        code = build_app()(list(arguments) or ["--help"], prog_name="gim", standalone_mode=False)
        sys.stdout.flush()
    except TyperException as error:
        say_error(error.format_message())
        return _USAGE
    except GimError as error:
        _show(error, str(error), debug=debug)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output has gone (`gim ls | head`); nothing more can be said on stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if _is_of_the_output(error):
            _show(error, f"cannot write the output: {error}", debug=debug)
            return DiskFull.exit_code
        _show(error, f"unexpected {type(error).__name__}: {error} (a bug; GIM_DEBUG=1 shows where)", debug=debug)
        return 1
    if code == _INTERRUPTED:  # what typer makes of KeyboardInterrupt
        say_error("interrupted: the same command continues where this one stopped")
    return code if isinstance(code, int) else 0


def _is_of_the_output(error: Exception) -> bool:
    """Whether stdout could not take what was printed: such an error names no file."""
    return isinstance(error, OSError) and error.filename is None and error.errno in (errno.ENOSPC, errno.EIO)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"gim {version('gim-pipeline')}")
        raise typer.Exit


def _global_options(
    *,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and leave.")
    ] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    # `--debug` is read by `run_command`, since an error may come before the options are parsed.
    pass


def _show(error: BaseException, message: str, *, debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    say_error(message)
