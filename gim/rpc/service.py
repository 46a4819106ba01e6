"""MatcherService as gRPC calls it: deadlines, streams of bounded length, errors, and what is told of each request."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from gim.errors import InvalidInput, Unavailable
from gim.ports.telemetry import Telemetry
from gim.ports.tracing import Tracing
from gim.rpc.config import RpcConfig
from gim.rpc.errors import Refusal, is_bug, refusal_of
from gim.rpc.matching import Matching
from gim.rpc.messages import SERVICE
from gim.rpc.rooms import Busy
from gim.wire.v1.matcher_pb2 import (
    ListMatchersRequest,
    ListMatchersResponse,
    MatchError,
    MatchRequest,
    MatchResponse,
    MatchStreamRequest,
    MatchStreamResponse,
)

_STOPPING = "the server is about to stop: ask another one for what is not answered"
_TRACE_HEADERS = ("traceparent", "tracestate")
_UNREADABLE = object()  # what bytes become that are no message


class MatchService:
    """The calls of one server. Of one event loop."""

    def __init__(self, matching: Matching, config: RpcConfig, telemetry: Telemetry, tracing: Tracing) -> None:
        self._matching = matching
        self._config = config
        self._telemetry = telemetry
        self._tracing = tracing
        self._num_streams = 0
        self._num_calls = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = asyncio.Event()

    async def drain(self, grace_seconds: float) -> None:
        """Refuse what is new, read no further from streams, and wait for what is in hand.

        The transport would wait too, but for calls that never end as well: those that watch the server's health.
        """
        self._draining.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), grace_seconds)

    def handlers(self) -> Any:
        """What gRPC calls by name."""
        serve = {"response_serializer": _serialized}
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Match": grpc.unary_unary_rpc_method_handler(self._match, _reader(MatchRequest), **serve),
                "MatchStream": grpc.stream_stream_rpc_method_handler(
                    self._match_stream, _reader(MatchStreamRequest), **serve
                ),
                "ListMatchers": grpc.unary_unary_rpc_method_handler(
                    self._list_matchers, _reader(ListMatchersRequest), **serve
                ),
            },
        )

    async def _list_matchers(self, request: Any, context: Any) -> ListMatchersResponse:
        if request is _UNREADABLE:
            await _abort(context, refusal_of(_not_a(ListMatchersRequest)))
        return ListMatchersResponse(matchers=self._matching.infos)

    async def _match(self, request: Any, context: Any) -> MatchResponse:
        try:
            if request is _UNREADABLE:
                raise _not_a(MatchRequest)
            with self._in_hand():
                return await self._answered(request, context, context.time_remaining(), is_streamed=False)
        except Exception as error:  # whatever it is becomes a status
            refusal = self._refused(error)
        await _abort(context, refusal)
        raise AssertionError("abort raises")

    async def _match_stream(self, _requests: Any, context: Any) -> None:
        """Read requests while there is room for their answers; write answers as they come."""
        if self._num_streams >= self._config.max_streams:
            await _abort(context, refusal_of(Busy(f"the server has {self._num_streams} streams open: ask another one")))
        self._count_stream(1)
        try:
            with self._in_hand():
                await self._answer_stream(context)
        except* Exception as errors:
            refusal = self._refused(errors.exceptions[0])
        else:
            return
        finally:
            self._count_stream(-1)
        await _abort(context, refusal)

    @contextmanager
    def _in_hand(self) -> Iterator[None]:
        if self._draining.is_set():
            raise Unavailable(_STOPPING)
        self._num_calls += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._num_calls -= 1
            if not self._num_calls:
                self._idle.set()

    def _count_stream(self, change: int) -> None:
        self._num_streams += change
        self._telemetry.set_level("rpc_streams", self._num_streams)

    async def _answer_stream(self, context: Any) -> None:
        hands = asyncio.Semaphore(self._config.max_stream_requests)
        writing = asyncio.Lock()
        async with asyncio.TaskGroup() as answers:
            while True:
                await hands.acquire()
                request = await self._next(context)
                if request is None:
                    break
                if request is _UNREADABLE:
                    raise _not_a(MatchStreamRequest)
                answers.create_task(self._answer_one(request, context, hands, writing))
        if self._draining.is_set():
            raise Unavailable(_STOPPING)

    async def _next(self, context: Any) -> Any:
        """The next request; None when there is none, or none is wanted any more."""
        reading = asyncio.ensure_future(context.read())
        draining = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait({reading, draining}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            draining.cancel()
            if not reading.done():
                reading.cancel()
        if not reading.done() or reading.cancelled():
            return None
        found = reading.result()
        return None if found is grpc.aio.EOF else found

    async def _answer_one(
        self, request: MatchStreamRequest, context: Any, hands: asyncio.Semaphore, writing: asyncio.Lock
    ) -> None:
        answer = MatchStreamResponse(id=request.id)
        try:
            seconds = request.timeout_seconds if request.timeout_seconds > 0 else None
            answer.response.CopyFrom(await self._answered(request.request, context, seconds, is_streamed=True))
        except Exception as error:  # one pair's error ends nothing
            refusal = self._refused(error)
            code = refusal.code.value[0]
            answer.error.CopyFrom(MatchError(code=code, kind=refusal.kind, message=refusal.message))
        # The place is free once the answer has left: a reader that is slow is sent no more than that.
        async with writing, asyncio.timeout(self._config.max_seconds):
            try:
                await context.write(answer)
            except grpc.aio.InternalError as error:
                raise Unavailable("the client has gone") from error
        hands.release()

    async def _answered(
        self, request: MatchRequest, context: Any, seconds: float | None, *, is_streamed: bool
    ) -> MatchResponse:
        """The answer, within the time that the caller and the server's limit leave; counted, timed, traced."""
        loop = asyncio.get_running_loop()
        arrived = loop.time()
        granted = self._config.max_seconds if seconds is None else min(seconds, self._config.max_seconds)
        code = "CANCELLED"
        method = "MatchStream" if is_streamed else "Match"
        response: MatchResponse | None = None
        try:
            with self._tracing.span("match", _trace_headers(context), rpc_service=SERVICE, rpc_method=method):
                async with asyncio.timeout(granted):
                    response = await self._matching.match(request, arrived + granted, is_streamed=is_streamed)
        except TimeoutError:
            code = "DEADLINE_EXCEEDED"
            raise TimeoutError(f"not done within {granted:g} s") from None
        except Exception as error:
            code = refusal_of(error).code.name
            raise
        else:
            code = "OK"
            return response
        finally:
            self._tell(request, response, method, code, loop.time() - arrived)

    def _tell(
        self, request: MatchRequest, response: MatchResponse | None, method: str, code: str, seconds: float
    ) -> None:
        """What Prometheus shows of one request."""
        tell = self._telemetry
        tell.count("rpc_requests", 1, "", method=method, code=code)
        tell.observe("rpc_seconds", seconds, "", method=method)
        tell.count("rpc_bytes_in", request.ByteSize(), "", method=method)
        if response is None:
            return
        name, timings = response.matcher.name, response.timings
        tell.count("rpc_bytes_out", response.ByteSize(), "", method=method)
        tell.observe("rpc_queue_seconds", timings.queued_seconds, "", matcher=name)
        tell.observe("rpc_decode_seconds", timings.decoded_seconds, "", matcher=name)
        tell.observe("rpc_compute_seconds", timings.computed_seconds, "", matcher=name)
        tell.observe("rpc_batch_size", timings.batch_size, "", matcher=name)

    def _refused(self, error: BaseException) -> Refusal:
        refusal = refusal_of(error)
        if is_bug(refusal):
            logging.getLogger("gim.rpc").error("a request met a bug", exc_info=error)
        return refusal


async def _abort(context: Any, refusal: Refusal) -> None:
    await context.abort(refusal.code, refusal.message, refusal.trailer)


def _reader(kind: type[Message]) -> Callable[[bytes], Any]:
    """Parses a request; what cannot be parsed is refused by the call itself, with a status that says so."""

    def read(data: bytes) -> Any:
        try:
            return kind.FromString(data)
        except DecodeError:
            return _UNREADABLE

    return read


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


def _not_a(kind: type[Message]) -> InvalidInput:
    return InvalidInput(f"the bytes are no {kind.DESCRIPTOR.full_name}")


def _trace_headers(context: Any) -> Mapping[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if key in _TRACE_HEADERS}
