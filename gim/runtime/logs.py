"""The one place where logs are shaped: structured events, as JSON lines for machines or as text for people.

A logger is made and passed on; nothing global is configured, so the project can be used as a library.
"""

import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from gim.errors import Unavailable

LogFormat = Literal["json", "console"]


def make_log(stream: TextIO, log_format: LogFormat, *, level: int = logging.INFO) -> FilteringBoundLogger:
    """A logger that writes one line per event to `stream`, with time (UTC), level and, in JSON, the whole stack."""
    shape: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if log_format == "json"
        else [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    )
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    return cast(
        "FilteringBoundLogger",
        structlog.wrap_logger(
            structlog.WriteLogger(stream),
            processors=[structlog.processors.add_log_level, stamp, *shape],
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
