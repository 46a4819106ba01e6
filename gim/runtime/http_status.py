"""What a service says over HTTP: whether it lives (`/healthz`) and takes work (`/readyz`), and its `/metrics`.

One thread serves all connections, each for a few seconds at most, so nobody who is slow keeps others waiting.
"""

import asyncio
import math
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus

from gim.errors import Unavailable

Exposition = Callable[[str], tuple[bytes, str]]  # what a client accepts -> the metrics, and their content type

_TEXT = "text/plain; charset=utf-8"
_MAX_HEAD_BYTES = 8192
_CLOSE_SECONDS = 0.05  # between two looks for connections that have come meanwhile
_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Status:
    """What a service knows of itself. Safe to call from any thread."""

    def __init__(self, *, limit_seconds: float = 60.0) -> None:
        """Begin as living and not ready.

        Args:
            limit_seconds: without a beat and without a message in hand, then the loop is taken for dead.
        """
        self._limit_seconds = limit_seconds
        self._guard = threading.Lock()
        self._beat = time.monotonic()
        self._waits_for = "starting"  # empty: ready
        self._since: float | None = None
        self._max_seconds = math.inf

    def beat(self) -> None:
        """Say that the loop goes round."""
        with self._guard:
            self._beat = time.monotonic()

    def ready(self) -> None:
        """Say that the service takes work."""
        with self._guard:
            self._waits_for = ""

    def not_ready(self, reason: str) -> None:
        """Say that it takes none, and why: it is starting, draining, or a server is away."""
        with self._guard:
            self._waits_for = reason or "not ready"

    def in_hand(self, since: float | None, max_seconds: float = math.inf) -> None:
        """Say that a message is being worked on, or no more; meanwhile the loop need not beat.

        Args:
            since: `time.monotonic()` when it was taken; None when it is done with.
            max_seconds: that it may take; beyond, the service is taken for stuck.
        """
        with self._guard:
            self._since, self._max_seconds = since, max_seconds
            self._beat = time.monotonic()

    def in_hand_seconds(self) -> float:
        """Age of the message in hand; 0 when there is none."""
        with self._guard:
            return 0.0 if self._since is None else max(time.monotonic() - self._since, 0.0)

    def why_dead(self) -> str:
        """Why the service should be restarted; empty while it lives."""
        now = time.monotonic()
        with self._guard:
            if self._since is not None:
                age = now - self._since
                return f"the message in hand is {age:.0f} s old" if age > self._max_seconds else ""
            silent = now - self._beat
            return f"no beat for {silent:.0f} s" if silent > self._limit_seconds else ""

    def why_not_ready(self) -> str:
        """Why the service takes no work; empty when it does."""
        with self._guard:
            return self._waits_for


class StatusServer:
    """Serves a `Status` and metrics over HTTP, from the moment it is made until it is closed."""

    def __init__(
        self,
        status: Status,
        host: str,
        port: int,
        *,
        metrics: Exposition | None = None,
        timeout_seconds: float = 5.0,
        max_connections: int = 64,
    ) -> None:
        """Listen and serve.

        Args:
            status: what is told.
            host: an address of this machine; empty: all of them.
            port: 0 for any free one, see `port`.
            metrics: called for each `GET /metrics`; None: there is no such page.
            timeout_seconds: for a request to arrive, and again for its answer to leave.
            max_connections: at once; one more cuts the oldest.

        Raises:
            Unavailable: the port is taken, or the host is none of this machine's.
        """
        self._status = status
        self._metrics = metrics
        self._timeout_seconds = timeout_seconds
        self._max_connections = max_connections
        self._open: dict[asyncio.StreamWriter, None] = {}  # oldest first
        listener = _listen(host, port)
        self.port: int = listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(listener,), name="http-status", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and cut what is open; a second call does nothing."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join()

    def _run(self, listener: socket.socket) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(listener))

    async def _serve(self, listener: socket.socket) -> None:
        server = await asyncio.start_server(self._converse, sock=listener, limit=_MAX_HEAD_BYTES)
        async with server:
            await self._closing.wait()
            # Nobody is accepted any more; whoever is being accepted just now needs the server open for a moment yet.
            asyncio.get_running_loop().remove_reader(listener)
            await asyncio.sleep(0)
            while conversations := asyncio.all_tasks() - {asyncio.current_task()}:
                for writer in self._open:
                    writer.transport.abort()
                await asyncio.wait(conversations, timeout=_CLOSE_SECONDS)
            await asyncio.sleep(0)  # their transports let go of the sockets

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request and its answer, however little of it arrives."""
        self._open[writer] = None
        if len(self._open) > self._max_connections:
            next(iter(self._open)).transport.abort()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._answer(reader)
            async with asyncio.timeout(self._timeout_seconds):
                writer.write(answer)
                writer.write_eof()
                await writer.drain()
                await reader.read(1)  # until the other side has all of it and closes: an abort could overtake it
        except (OSError, TimeoutError, EOFError):
            pass  # the client left, or was too slow
        finally:
            self._open.pop(writer, None)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _response(431, b"the request is too long\n")
        request, *lines = head.decode("latin-1").split("\r\n")
        words = request.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _response(400, b"not an HTTP request\n")
        method, target, _ = words
        if method not in {"GET", "HEAD"}:
            return _response(405, b"only GET and HEAD\n")
        status, body, kind = self._page(target.partition("?")[0], _accepted(lines))
        return _response(status, body, kind, with_body=method == "GET")

    def _page(self, path: str, accept: str) -> tuple[int, bytes, str]:
        if path == "/metrics" and self._metrics is not None:
            try:
                body, kind = self._metrics(accept)
            except Exception as error:  # the boundary: whatever a metric's source raises, health is answered
                return 500, f"{type(error).__name__}\n".encode(), _TEXT
            return 200, body, kind
        if path == "/healthz":
            return _verdict(self._status.why_dead(), "alive")
        if path == "/readyz":
            return _verdict(self._status.why_not_ready(), "ready")
        return 404, b"there are /metrics, /healthz and /readyz\n", _TEXT


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise Unavailable(f"{host}:{port}: {error.strerror or error}: set service.http_port and http_host") from error


def _verdict(why_not: str, word: str) -> tuple[int, bytes, str]:
    return (503, f"{why_not}\n".encode(), _TEXT) if why_not else (200, f"{word}\n".encode(), _TEXT)


def _accepted(lines: list[str]) -> str:
    fields = (line.partition(":") for line in lines)
    return ",".join(value.strip() for name, _, value in fields if name.strip().lower() == "accept")


def _response(status: int, body: bytes, kind: str = _TEXT, *, with_body: bool = True) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (body if with_body else b"")
