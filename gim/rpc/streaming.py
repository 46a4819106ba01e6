"""A client's side of MatchStream: few pairs in hand, answers put back into order, going on elsewhere."""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc

from gim.errors import Unavailable
from gim.rpc.errors import Refusal
from gim.rpc.patience import refusal_of_answer, refusal_of_call
from gim.wire.v1.matcher_pb2 import MatchResponse, MatchStreamRequest, MatchStreamResponse

OpenStream = Callable[[Iterator[MatchStreamRequest]], Any]
_LATE_SECONDS = 10.0  # beyond what the server grants a pair: then it does not answer at all


class StreamEnded(Exception):
    """A connection is of no more use; what it left unanswered can be asked on another."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class PairStream:
    """Requests with ascending ids on their way to be answered, over as many connections as it takes."""

    def __init__(self, requests: Iterator[MatchStreamRequest], window: int, seconds: float) -> None:
        """Begin with nothing in hand.

        Args:
            requests: ids from 0 upwards without gaps; taken as the window allows.
            window: pairs that are asked for, or answered before their turn.
            seconds: that a server may take over one pair.
        """
        self._requests = requests
        self._window = window
        self._seconds = seconds
        self._in_hand: dict[int, MatchStreamRequest] = {}
        self._early: dict[int, MatchStreamResponse] = {}  # answers before their turn
        self._turn = 0

    def answers(self, open_stream: OpenStream) -> Iterator[MatchResponse]:
        """Answers in order, over one connection; what was left unanswered by another is asked first.

        Raises:
            StreamEnded: the connection broke, or a pair was refused.
            Unavailable: nothing came for longer than a pair may take.
        """
        outbox: queue.SimpleQueue[MatchStreamRequest | None] = queue.SimpleQueue()
        for request in self._in_hand.values():
            outbox.put(request)
        call = open_stream(iter(outbox.get, None))
        inbox: queue.SimpleQueue[MatchStreamResponse | Refusal | None] = queue.SimpleQueue()
        reader = threading.Thread(target=_read, args=(call, inbox), daemon=True)
        reader.start()
        try:
            while self._fill(outbox) or self._in_hand:
                yield from self._due(self._next(inbox))
        finally:
            outbox.put(None)
            call.cancel()
            reader.join()

    def _fill(self, outbox: "queue.SimpleQueue[MatchStreamRequest | None]") -> bool:
        """Ask for more while there is room; whether anything was asked for."""
        asked = False
        while len(self._in_hand) + len(self._early) < self._window:
            request = next(self._requests, None)
            if request is None:
                break
            self._in_hand[request.id] = request
            outbox.put(request)
            asked = True
        return asked

    def _next(self, inbox: "queue.SimpleQueue[MatchStreamResponse | Refusal | None]") -> MatchStreamResponse:
        try:
            found = inbox.get(timeout=self._seconds + _LATE_SECONDS)
        except queue.Empty:
            raise Unavailable(f"the matching server answers no pair within {self._seconds:g} s") from None
        if isinstance(found, MatchStreamResponse):
            return found
        ended = Refusal(grpc.StatusCode.UNAVAILABLE, "", "the server ended the stream")
        raise StreamEnded(found or ended)

    def _due(self, response: MatchStreamResponse) -> Iterator[MatchResponse]:
        """All answers whose turn has come with this one."""
        if response.id not in self._in_hand:
            return
        if response.WhichOneof("outcome") != "response":
            refusal = refusal_of_answer(response.error)
            # An error waits for its turn too, unless it may pass.
            if refusal.code is grpc.StatusCode.UNAVAILABLE or response.id == self._turn:
                raise StreamEnded(refusal)
        del self._in_hand[response.id]
        self._early[response.id] = response
        while self._turn in self._early:
            due = self._early[self._turn]
            if due.WhichOneof("outcome") != "response":
                raise StreamEnded(refusal_of_answer(due.error))
            del self._early[self._turn]
            self._turn += 1
            yield due.response


def _read(call: Any, inbox: "queue.SimpleQueue[MatchStreamResponse | Refusal | None]") -> None:
    try:
        for response in call:
            inbox.put(response)
        inbox.put(None)
    except grpc.RpcError as error:
        with suppress(ValueError):
            inbox.put(refusal_of_call(error))
