"""The Tracing port: one trace from a requested video to its training pairs, carried in the headers of messages."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True)
class Span:
    """Work that is being traced; what is only known at its end may be set on it until then."""

    trace_id: str = ""  # 32 hex digits; empty where nothing is traced
    headers: Mapping[str, str] = field(default_factory=dict)  # to send along with whatever follows from this work
    attributes: dict[str, str | int] = field(default_factory=dict)  # to find it by, besides those it began with
    error: str = ""  # why it failed, where no error leaves the block


class Tracing(Protocol):
    """Safe to call from any thread."""

    def span(self, name: str, headers: Mapping[str, str], **attributes: str | int) -> AbstractContextManager[Span]:
        """Trace a block of work; an error that leaves the block marks it as failed.

        Args:
            name: of the work: `ingest`, `label`, ...
            headers: that came with the message; where they carry a trace, the block becomes a part of it.
            attributes: what to find it by.
        """

    def close(self) -> None:
        """Hand over what is left. A second call does nothing."""


class NullTracing:
    """Nothing is traced."""

    def span(self, name: str, headers: Mapping[str, str], **attributes: str | int) -> AbstractContextManager[Span]:
        return nullcontext(Span())

    def close(self) -> None:
        pass
