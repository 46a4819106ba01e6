"""The one place where logs are shaped: structured events, as JSON lines for machines or as text for people.

A logger is made and passed on. Nothing global is configured, so the project can be used as a library; only a service,
whose process is its own, has everything else that speaks in it speak through its log (`logging_everything`).
Secrets never get as far as a line.
"""

import io
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from gim.errors import GimError, Unavailable
from gim.runtime.redaction import Redactor

LogFormat = Literal["json", "console"]

_REPEAT_SECONDS = 60.0  # between two lines of other libraries that say the same


def service_log(
    stream: TextIO, log_format: LogFormat, *, service: str, secrets: Sequence[str] = (), level: int = logging.INFO
) -> FilteringBoundLogger:
    """A logger of `make_log` that says which service speaks.

    Args:
        stream: as `sys.stdout`.
        log_format: JSON for machines, text for people.
        service: a field of each line.
        secrets: never appear in a line.
        level: the lowest that is written.
    """
    return make_log(stream, log_format, level=level, secrets=secrets).bind(service=service)


def make_log(
    stream: TextIO, log_format: LogFormat, *, level: int = logging.INFO, secrets: Sequence[str] = ()
) -> FilteringBoundLogger:
    """A logger that writes one line per event to `stream`, with time (UTC), level and the whole stack in one field.

    Fields bound by `structlog.contextvars` are added to each line. A stream that takes no more loses lines: the log
    must never stop the work that it tells of.

    Args:
        stream: text.
        log_format: JSON for machines, text for people.
        level: the lowest that is written.
        secrets: never appear in a line, and neither do those that URLs and headers carry.
    """
    redactor = Redactor(secrets)
    shape: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, sort_keys=False
        )
    )
    return cast(
        "FilteringBoundLogger",
        structlog.wrap_logger(
            structlog.WriteLogger(cast("TextIO", _UnfailingStream(stream))),
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                _in_order,
                lambda _, __, event: redactor.value(event),
                shape,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            cache_logger_on_first_use=False,
        ),
    )


@contextmanager
def log_file(path: Path) -> Iterator[FilteringBoundLogger]:
    """A JSON logger that appends to a file, which several processes may do at once.

    On a full disk lines are lost: the log must never stop the work that it tells of.

    Raises:
        Unavailable: the file cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}") from error
    try:
        yield make_log(cast("TextIO", _LineStream(descriptor)), "json")
    finally:
        os.close(descriptor)


class _LineStream(io.TextIOBase):
    """Writes each line at once and whole, or not at all."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def write(self, line: str) -> int:
        with suppress(OSError):
            os.write(self._descriptor, line.encode())
        return len(line)


def no_log() -> FilteringBoundLogger:
    """A logger that writes nothing."""
    wrapper = structlog.make_filtering_bound_logger(logging.CRITICAL)
    return cast("FilteringBoundLogger", structlog.wrap_logger(structlog.ReturnLogger(), wrapper_class=wrapper))


@contextmanager
def logging_everything(log: FilteringBoundLogger) -> Iterator[None]:
    """Write to `log` what other libraries warn of and every error that nobody catches, for as long as the block runs.

    An error that leaves the block ends the process: one line, with the stack of a bug, and the error's exit code.
    This changes the process: the root logger, the warnings, and the hooks of uncaught errors. All come back at the end.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    root.handlers[:] = [_Bridge(log)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = lambda *error: _tell_uncaught(log, error, threading.current_thread().name)
    threading.excepthook = lambda told: _tell_uncaught(
        log, (told.exc_type, told.exc_value, told.exc_traceback), told.thread.name if told.thread else ""
    )
    sys.unraisablehook = lambda told: _tell_uncaught(
        log, (told.exc_type, told.exc_value, told.exc_traceback), threading.current_thread().name
    )
    try:
        yield
    except GimError as error:
        log.error("stopped", error=type(error).__name__, message=str(error))  # noqa: TRY400 - expected: no stack
        raise SystemExit(error.exit_code) from error
    except Exception as error:
        _tell_uncaught(log, (type(error), error, error.__traceback__), threading.current_thread().name)
        raise SystemExit(1) from error
    finally:
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(level)


class _Bridge(logging.Handler):
    """Other libraries' records as lines of ours; what is said again and again is counted and written once a minute."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._said: dict[tuple[str, str, int], tuple[float, int]] = {}  # place in the code -> when, and how often since

    def emit(self, record: logging.LogRecord) -> None:
        place = (record.name, record.pathname, record.lineno)
        now = time.monotonic()
        said_at, repeated = self._said.get(place, (-_REPEAT_SECONDS, 0))
        if now - said_at < _REPEAT_SECONDS:
            self._said[place] = (said_at, repeated + 1)
            return
        self._said[place] = (now, 0)
        fields: dict[str, Any] = {"logger": record.name}
        if repeated:
            fields["repeated"] = repeated
        if record.exc_info and record.exc_info[0] is not None:
            fields["exc_info"] = record.exc_info
        level = min(max(record.levelno // 10 * 10, logging.WARNING), logging.CRITICAL)  # libraries have levels between
        self._log.log(level, "library", message=_text_of(record), **fields)


def _text_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # its arguments do not fit its text
        return str(record.msg)


def _tell_uncaught(
    log: FilteringBoundLogger,
    error: tuple[type[BaseException], BaseException | None, TracebackType | None],
    thread: str,
) -> None:
    kind, value, _ = error
    if issubclass(kind, SystemExit):
        return
    lines = str(value).splitlines()
    message = lines[0] if lines else ""
    log.critical("uncaught_error", error=kind.__name__, message=message, thread=thread, exc_info=error)


def _in_order(_: Any, __: str, event: EventDict) -> EventDict:
    """What every line has comes first; a stack comes last, under one name wherever it comes from."""
    first = {name: event.pop(name) for name in ("timestamp", "level", "event")}
    stack = {"stack": event.pop("exception")} if "exception" in event else {}
    return {**first, **event, **stack}


class _UnfailingStream(io.TextIOBase):
    """Passes lines on; those that cannot be written are lost."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def write(self, line: str) -> int:
        with suppress(OSError, ValueError):  # ValueError: it is closed
            self._stream.write(line)
        return len(line)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()
