"""How a client goes on when a server does not answer: the next one, a pause, or an error."""

import random
import time

import grpc

from gim.errors import Unavailable
from gim.rpc.errors import KIND_KEY, Refusal, code_of, raised_of
from gim.wire.v1.matcher_pb2 import MatchError

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 2.0  # doubling; each is drawn from nothing to that


class Patience:
    """Of one call: which of the servers, for how long, with which pauses."""

    def __init__(self, num_servers: int, retry_seconds: float, timeout_seconds: float | None) -> None:
        """Begin.

        Args:
            num_servers: that can be asked in turn without a pause.
            retry_seconds: for which what is away is asked again.
            timeout_seconds: of all attempts together; None: no end.
        """
        now = time.monotonic()
        self._num_servers = num_servers
        self._retry_until = now + retry_seconds
        self._until = None if timeout_seconds is None else now + timeout_seconds
        self._attempts = 0

    @property
    def left(self) -> float | None:
        """Seconds until nobody waits any more."""
        return None if self._until is None else max(self._until - time.monotonic(), 0.001)

    def wait_or_raise(self, refusal: Refusal, place: str) -> None:
        """Return when it is time for another attempt.

        Raises:
            GimError: it is not a matter of time, or there is none left.
        """
        self._attempts += 1
        error = raised_of(refusal, place)
        if refusal.code is not grpc.StatusCode.UNAVAILABLE or not isinstance(error, Unavailable):
            raise error
        pause = 0.0
        if rounds := self._attempts // self._num_servers:
            longest = min(_FIRST_PAUSE_SECONDS * 2 ** min(rounds, 10), _LONGEST_PAUSE_SECONDS)
            pause = random.uniform(0, longest)  # noqa: S311 - so that clients do not return all at once
        limits = [self._retry_until, *([] if self._until is None else [self._until])]
        if time.monotonic() + pause > min(limits):
            raise error
        time.sleep(pause)


def refusal_of_call(error: grpc.RpcError) -> Refusal:
    """What ended a call, as gRPC tells it to a client."""
    trailer = dict(error.trailing_metadata() or ())
    return Refusal(error.code(), str(trailer.get(KIND_KEY, "")), error.details() or "")


def refusal_of_answer(error: MatchError) -> Refusal:
    """The same of one pair of a stream."""
    return Refusal(code_of(error.code), error.kind, error.message)
