"""A network that misbehaves as told, while it runs: a proxy in front of a real server. Not a test; used by many.

It reads HTTP/1.1, so that it can spoil one request among many (`http=True`, for S3), or passes bytes on as they come
(for Kafka, gRPC). Nothing in it knows the server behind.
"""

import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from enum import StrEnum
from http.client import responses
from typing import BinaryIO

_BLOCK_BYTES = 64 * 1024
_CONNECT_SECONDS = 10.0


class Fault(StrEnum):
    """What can go wrong with a request; without HTTP, with a connection."""

    REFUSE = "refuse"  # nothing listens, and those who were connected are cut off
    RESET = "reset"  # breaks in the middle of the request's body, or of the answer's where the request has none
    LOSE_ANSWER = "lose answer"  # the server has done all of it, but the connection breaks before a word comes back
    TRUNCATE = "truncate"  # the connection ends politely in the middle of the answer
    SPOIL = "spoil"  # a byte of the request's body, or else of the answer's, is another
    BLACK_HOLE = "black hole"  # no answer until `set` is called; then HTTP is cut off, other bytes go on


@dataclass(frozen=True)
class Answer:
    """What the proxy itself answers, and the server never hears of it."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/xml"),)

    @classmethod
    def s3(cls, status: int, code: str) -> "Answer":
        """A refusal in the words of S3."""
        return cls(status, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())


SLOW_DOWN = Answer.s3(503, "SlowDown")


@dataclass(frozen=True)
class _Weather:
    """What befalls whom."""

    faults: tuple[Fault | Answer, ...] = ()
    share: float = 1.0
    times: int | None = None
    delay_seconds: float = 0.0
    only: Callable[[str], bool] = lambda _: True


class FaultProxy:
    """`with FaultProxy("127.0.0.1:9000") as proxy:` listens at `proxy.address` until the end of the block."""

    def __init__(self, upstream: str, *, http: bool = True, port: int = 0, seed: int = 0) -> None:
        """Prepare a proxy.

        Args:
            upstream: host:port of the server, with or without `http://`.
            http: whether what passes is HTTP/1.1; otherwise it is any TCP.
            port: to listen at; 0 takes a free one.
            seed: of the choice which requests are struck, and by what.
        """
        self.upstream = upstream.removeprefix("http://")
        self.fates: Counter[str] = Counter()  # requests, or connections without HTTP, by what befell them
        self.open_connections = 0
        self.most_connections = 0  # at one moment
        self._http = http
        self._random = random.Random(seed)
        self._weather = _Weather()
        self._strikes = 0
        self._changed = threading.Condition()
        self._is_closed = False
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self._port = port

    @property
    def address(self) -> str:
        """host:port of the proxy."""
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The same with `http://`."""
        return f"http://{self.address}"

    def __enter__(self) -> "FaultProxy":
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._stop_listening()
        self.cut()
        for thread in self._threads:
            thread.join()

    def set(
        self,
        *faults: Fault | Answer,
        share: float = 1.0,
        times: int | None = None,
        delay_seconds: float = 0.0,
        only: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """Change what goes wrong from now on; without faults, nothing does.

        Args:
            faults: one of them, at random, strikes a request that is struck; `REFUSE` strikes all and stands alone.
            share: of the requests that are struck; without HTTP, of the blocks of bytes.
            times: how many are struck at most.
            delay_seconds: before each request or block is passed on.
            only: which requests may be struck, by their first line and headers; it is asked about every request.
        """
        with self._changed:
            self._weather = _Weather(faults, share, times, delay_seconds, only)
            self._strikes = 0
            self._changed.notify_all()
        if Fault.REFUSE in faults:
            self._stop_listening()
            self.cut()
        elif self._listener is None:
            self._listen()

    def wait_for(self, fate: str, count: int = 1) -> None:
        """Return once so many requests have met a fate: `passed`, a fault's value, or the status of an answer."""
        self.wait_until(lambda: self.fates[fate] >= count)

    def wait_until(self, is_true: Callable[[], bool], seconds: float = 60.0) -> None:
        """Return once something is true of the fates or of the connections.

        Raises:
            TimeoutError: it takes too long.
        """
        with self._changed:
            if not self._changed.wait_for(is_true, seconds):
                raise TimeoutError(f"after {seconds} s: {dict(self.fates)}, {self.open_connections} connections")

    def cut(self) -> None:
        """Break every connection there is."""
        with self._changed:
            for connection in self._sockets:
                _arm_reset(connection)
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port), backlog=256)
        self._port = self._listener.getsockname()[1]
        self._start(self._accept, self._listener)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the one that accepts, which closes it
            self._listener = None

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        with self._changed:
            self._threads = [*(one for one in self._threads if one.is_alive()), thread]
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with ExitStack() as leaving:
            self._adopt(client, leaving)
            with self._changed:
                self.open_connections += 1
                self.most_connections = max(self.most_connections, self.open_connections)
            try:
                (self._serve_http if self._http else self._serve_bytes)(client)
            except OSError:
                _arm_reset(client)  # one side is gone: so is the other
            finally:
                with self._changed:
                    self.open_connections -= 1
                    self._changed.notify_all()

    def _adopt(self, connection: socket.socket, leaving: ExitStack) -> socket.socket:
        """Have a connection closed at the end, and cut when all are."""

        def release() -> None:
            with self._changed:
                self._sockets.discard(connection)
            connection.close()

        leaving.callback(release)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._changed:
            self._sockets.add(connection)
            if self._is_closed:
                raise OSError("the proxy is closed")
        return connection

    def _connect(self, leaving: ExitStack) -> socket.socket:
        host, _, port = self.upstream.rpartition(":")
        return self._adopt(socket.create_connection((host, int(port)), _CONNECT_SECONDS), leaving)

    # --- HTTP -----------------------------------------------------------------------------------------------------

    def _serve_http(self, client: socket.socket) -> None:
        with client.makefile("rb") as incoming:
            while (request := _Part.read(incoming)) is not None:
                fault = self._draw(request.head.decode("latin-1"))
                if fault is Fault.BLACK_HOLE:
                    self._wait_for_change()
                    _arm_reset(client)
                    return
                if isinstance(fault, Answer):
                    for _ in request.blocks(ends=False):
                        pass
                    _send_answer(client, fault, request)
                elif not self._relay(request, client, fault):
                    return

    def _relay(self, request: "_Part", client: socket.socket, fault: Fault | None) -> bool:
        """Pass one request and its answer on; returns whether the connection can be used again."""
        with ExitStack() as leaving:
            server = self._connect(leaving)
            server.settimeout(None)
            server.sendall(request.head)
            has_body = request.length != 0
            if fault is Fault.RESET and has_body:
                _send(server, request.blocks(ends=False), upto=request.length // 2)
                _arm_reset(server)
                _arm_reset(client)
                return False
            _send(server, request.blocks(ends=False), spoil=fault is Fault.SPOIL and has_body)
            incoming = leaving.enter_context(server.makefile("rb"))
            answer = _Part.read(incoming, asked=request.first_line)
            if answer is None or fault is Fault.LOSE_ANSWER or (fault is Fault.RESET and not answer.length):
                _arm_reset(client)
                return False
            if fault in {Fault.RESET, Fault.TRUNCATE}:
                client.sendall(answer.head if answer.length else answer.head[: len(answer.head) // 2])
                _send(client, answer.blocks(ends=True), upto=max(answer.length // 2, 1) if answer.length else 0)
                if fault is Fault.RESET:
                    _arm_reset(client)
                return False
            client.sendall(answer.head)
            _send(client, answer.blocks(ends=True), spoil=fault is Fault.SPOIL and not has_body)
            return answer.length >= 0 or answer.is_chunked

    # --- any bytes --------------------------------------------------------------------------------------------------

    def _serve_bytes(self, client: socket.socket) -> None:
        with ExitStack() as leaving:
            server = self._connect(leaving)
            server.settimeout(None)
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while block := source.recv(_BLOCK_BYTES):
                fault = self._draw("")
                if fault is Fault.BLACK_HOLE:
                    self._wait_for_change()
                elif fault is not None:
                    _arm_reset(source)
                    _arm_reset(target)
                    break
                target.sendall(block)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    # --- chance -----------------------------------------------------------------------------------------------------

    def _draw(self, head: str) -> Fault | Answer | None:
        with self._changed:
            weather = self._weather
            may_strike = weather.only(head) and weather.faults and self._strikes != weather.times
            fault = None
            if may_strike and self._random.random() < weather.share:
                fault = self._random.choice(weather.faults)
                self._strikes += 1
            name = "passed" if fault is None else str(fault.status if isinstance(fault, Answer) else fault)
            self.fates[name] += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_closed or self._weather is not weather, weather.delay_seconds)
        return fault

    def _wait_for_change(self) -> None:
        with self._changed:
            weather = self._weather
            self._changed.wait_for(lambda: self._is_closed or self._weather is not weather)


@dataclass
class _Part:
    """A request, or an answer: its head as it came, and how long its body is."""

    head: bytes
    headers: Message
    length: int  # -1: chunked, or until the connection ends
    file: BinaryIO

    @classmethod
    def read(cls, file: BinaryIO, asked: str = "") -> "_Part | None":
        """The next one, or None at the end; of an answer, `asked` is the first line of what it answers."""
        lines = []
        while line := file.readline(_BLOCK_BYTES):
            lines.append(line)
            if line in {b"\r\n", b"\n"}:
                break
        else:
            return None
        headers = BytesParser().parsebytes(b"".join(lines[1:]))
        length = -1 if "chunked" in headers.get("Transfer-Encoding", "") else int(headers.get("Content-Length", -1))
        if length < 0 and "Transfer-Encoding" not in headers and not asked:
            length = 0
        if asked and (asked.startswith("HEAD ") or lines[0].split()[1] in {b"204", b"304"}):
            length = 0
        return cls(b"".join(lines), headers, length, file)

    @property
    def first_line(self) -> str:
        return self.head.partition(b"\r\n")[0].decode("latin-1")

    @property
    def is_chunked(self) -> bool:
        return self.length < 0 and "Transfer-Encoding" in self.headers

    def blocks(self, *, ends: bool) -> Iterator[bytes]:
        """The body as it is on the wire; `ends` says that one of no stated length goes on to the connection's end."""
        if self.is_chunked:
            yield from self._chunks()
        elif self.length >= 0 or ends:
            left = self.length
            while left and (block := self.file.read1(_BLOCK_BYTES if left < 0 else min(_BLOCK_BYTES, left))):  # type: ignore[attr-defined]
                left -= len(block) if left > 0 else 0
                yield block

    def _chunks(self) -> Iterator[bytes]:
        while line := self.file.readline(_BLOCK_BYTES):
            size = int(line.partition(b";")[0], 16)
            yield line + self.file.read(size + 2)
            if not size:
                return


def _send(target: socket.socket, blocks: Iterator[bytes], *, upto: int | None = None, spoil: bool = False) -> None:
    """Pass blocks on, all of them or `upto` so many bytes; `spoil` changes the first byte."""
    with closing(blocks):  # type: ignore[type-var]
        for block in blocks:
            if upto is not None and len(block) >= upto:
                target.sendall(block[:upto])
                return
            upto = None if upto is None else upto - len(block)
            target.sendall(bytes([block[0] ^ 1]) + block[1:] if spoil else block)
            spoil = False


def _send_answer(client: socket.socket, answer: Answer, request: _Part) -> None:
    body = b"" if request.first_line.startswith("HEAD ") else answer.body
    lines = [f"HTTP/1.1 {answer.status} {responses.get(answer.status, '')}"]
    lines += [f"{name}: {value}" for name, value in (*answer.headers, ("Content-Length", len(body)))]
    client.sendall("\r\n".join([*lines, "", ""]).encode() + body)


def _arm_reset(connection: socket.socket) -> None:
    """Have a connection end with a reset, whenever it is closed."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
