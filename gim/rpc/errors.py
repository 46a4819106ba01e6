"""Errors over the wire, mapped once: the project's errors as gRPC's status codes, and back in the client.

The status says what to do; `gim-error` in the trailing metadata says which of our errors it was. What is no error of
ours is a bug: the caller is told no more than that, the server's log has the stack.
"""

from dataclasses import dataclass

import grpc

from gim import errors
from gim.errors import (
    ConfigError,
    DiskFull,
    GimError,
    InvalidInput,
    KeyMissing,
    NotOffered,
    Unavailable,
    UnknownMatcher,
)
from gim.rpc.rooms import Busy

KIND_KEY = "gim-error"
_MAX_CHARACTERS = 1000  # of a message: a trailer has to fit into 8 KiB of metadata

# The first that fits, so a class stands before its bases.
_CODES: tuple[tuple[type[BaseException], grpc.StatusCode], ...] = (
    (Busy, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (DiskFull, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Unavailable, grpc.StatusCode.UNAVAILABLE),
    (InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (KeyMissing, grpc.StatusCode.NOT_FOUND),
    (UnknownMatcher, grpc.StatusCode.NOT_FOUND),
    (ConfigError, grpc.StatusCode.FAILED_PRECONDITION),
    (TimeoutError, grpc.StatusCode.DEADLINE_EXCEEDED),
)
# What a client raises where no `gim-error` came, as from gRPC itself or from another server.
_KINDS: dict[grpc.StatusCode, type[GimError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.OUT_OF_RANGE: InvalidInput,
    grpc.StatusCode.NOT_FOUND: UnknownMatcher,
    grpc.StatusCode.FAILED_PRECONDITION: ConfigError,
    grpc.StatusCode.PERMISSION_DENIED: ConfigError,
    grpc.StatusCode.UNAUTHENTICATED: ConfigError,
    grpc.StatusCode.UNIMPLEMENTED: ConfigError,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.ABORTED: Unavailable,
}
_NUMBERS: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
_NO_TRUST = ("handshake", "CERTIFICATE", "certificate", "SSL_ERROR")  # how gRPC's own text speaks of TLS that failed


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as it travels."""

    code: grpc.StatusCode
    kind: str  # name of the project's error; empty: none of ours
    message: str

    @property
    def trailer(self) -> tuple[tuple[str, str], ...]:
        """The trailing metadata of a call that ends so."""
        return ((KIND_KEY, self.kind),) if self.kind else ()


def refusal_of(error: BaseException) -> Refusal:
    """How an error is told to the caller; of a bug neither stack nor message."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            name = type(error).__name__ if isinstance(error, GimError) else ""
            return Refusal(code, name, _one_line(str(error)))
    return Refusal(grpc.StatusCode.INTERNAL, "", "a bug in the server; its log has more")


def is_bug(refusal: Refusal) -> bool:
    """Whether nobody foresaw this."""
    return refusal.code is grpc.StatusCode.INTERNAL


def code_of(number: int) -> grpc.StatusCode:
    """The status code of a number."""
    return _NUMBERS.get(number, grpc.StatusCode.UNKNOWN)


def raised_of(refusal: Refusal, address: str) -> GimError:
    """The error that a client raises."""
    message = f"matching server {address}: {refusal.message or refusal.code.name}"
    if refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Unavailable(f"matching server {address}: no answer in time ({refusal.message or 'deadline exceeded'})")
    if refusal.code is grpc.StatusCode.UNAVAILABLE and not refusal.kind and _is_of_trust(refusal.message):
        return ConfigError(f"{message}; check rpc.ca_file, rpc.cert_file and rpc.key_file on both sides")
    if refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in refusal.message:
        return InvalidInput(f"{message}; send smaller images, or raise rpc.max_message_bytes on both sides")
    return _kind_of(refusal)(message)


def _kind_of(refusal: Refusal) -> type[GimError]:
    named = getattr(errors, refusal.kind, None) if refusal.kind.isidentifier() else None
    if isinstance(named, type) and issubclass(named, GimError) and not issubclass(named, NotOffered):
        return named
    return _KINDS.get(refusal.code, GimError)


def _is_of_trust(message: str) -> bool:
    return any(word in message for word in _NO_TRUST)


def _one_line(message: str) -> str:
    return " ".join(message.split())[:_MAX_CHARACTERS]
