"""A real HTTP server that behaves as told: ranges, drops, silence, wrong lengths, redirects. For tests of downloads."""

import contextlib
import re
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_BLOCK_BYTES = 16 * 1024
CERTIFICATE = Path(__file__).with_name("tls_localhost.pem")


@dataclass
class Page:
    """What one path of the server does."""

    body: bytes = b""
    content_type: str = "video/mp4"
    etag: str = '"v1"'
    last_modified: str = ""
    ranges: bool = True
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # of the first requests, instead of a body
    torn_heads: list[bytes] = field(default_factory=list)  # all that the first requests are sent
    drops: list[int] = field(default_factory=list)  # bytes of the body after which the first requests break off
    claimed_bytes: int | None = None  # Content-Length, when it is a lie
    chunked_endless: bool = False
    silent_seconds: float = 0.0  # before the body
    block_seconds: float = 0.0  # between blocks
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Request:
    """What one request asked for, and how many bytes of body it was sent."""

    path: str
    range_header: str
    if_range: str
    host: str
    sent_bytes: int = 0


class FaultyServer(ThreadingHTTPServer):
    """Pages by path, and a record of the requests."""

    daemon_threads = True

    def __init__(self, address: str = "127.0.0.1", *, tls: bool = False) -> None:
        super().__init__((address, 0), _Handler)
        self.pages: dict[str, Page] = {}
        self.requests: list[Request] = []
        self.scheme = "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            self.scheme = "https"

    def url(self, path: str, host: str | None = None) -> str:
        return f"{self.scheme}://{host or self.server_address[0]}:{self.server_address[1]}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: FaultyServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        request = Request(
            self.path, self.headers.get("Range", ""), self.headers.get("If-Range", ""), self.headers.get("Host", "")
        )
        self.server.requests.append(request)
        page = self.server.pages.get(self.path)
        if page is None:
            self._answer(404, {"Content-Length": "0"})
        elif page.torn_heads:
            self.wfile.write(page.torn_heads.pop(0))
        elif page.answers:
            status, headers = page.answers.pop(0)
            self._answer(status, {"Content-Length": "0", **headers})
        else:
            self._send_body(page, request)

    def _send_body(self, page: Page, request: Request) -> None:
        time.sleep(page.silent_seconds)
        start = self._range_start(page, request)
        total = len(page.body)
        headers = {"Content-Type": page.content_type, **page.headers}
        headers |= {"ETag": page.etag} if page.etag else {}
        headers |= {"Last-Modified": page.last_modified} if page.last_modified else {}
        if start is not None and start >= total:
            self._answer(416, {"Content-Range": f"bytes */{total}", "Content-Length": "0"})
            return
        if page.chunked_endless:
            self._answer(200, {**headers, "Transfer-Encoding": "chunked"})
            while True:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(page.body), page.body))
                request.sent_bytes += len(page.body)
        body = page.body[start or 0 :]
        headers["Content-Length"] = str(len(body) if page.claimed_bytes is None else page.claimed_bytes)
        if start is not None:
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        self._answer(200 if start is None else 206, headers)
        keep = page.drops.pop(0) if page.drops else len(body)
        for position in range(0, min(keep, len(body)), _BLOCK_BYTES):
            self.wfile.write(body[position : min(position + _BLOCK_BYTES, keep)])
            request.sent_bytes += _BLOCK_BYTES
            time.sleep(page.block_seconds)

    def _range_start(self, page: Page, request: Request) -> int | None:
        found = re.fullmatch(r"bytes=(\d+)-\d*", request.range_header)
        if not found or not page.ranges:
            return None
        if request.if_range and request.if_range not in {page.etag, page.last_modified}:
            return None
        return int(found[1])

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()


@contextlib.contextmanager
def serving(address: str = "127.0.0.1", *, tls: bool = False) -> Iterator[FaultyServer]:
    """A server that runs inside the `with` block."""
    server = FaultyServer(address, tls=tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
