"""The fault proxy: without faults it changes nothing, and each fault is the one that was asked for."""

import http.client
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.fault_proxy import SLOW_DOWN, Answer, Fault, FaultProxy

BODY = bytes(range(256)) * 2000
SECONDS = 30.0


class Keeper(BaseHTTPRequestHandler):
    """Keeps what is PUT, answers GET with `BODY`, in one piece or in chunks."""

    protocol_version = "HTTP/1.1"
    kept: dict[str, bytes]

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if len(body) == int(self.headers["Content-Length"]):
            self.kept[self.path] = body
            self._answer({"Content-Length": "0"})

    def do_GET(self) -> None:
        if self.path == "/chunked":
            self._answer({"Transfer-Encoding": "chunked"})
            for start in range(0, len(BODY), 100_000):
                block = BODY[start : start + 100_000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
            self.wfile.write(b"0\r\n\r\n")
        elif self.path == "/to-the-end":
            self.close_connection = True
            self._answer({"Connection": "close"})
            self.wfile.write(BODY)
        else:
            self._answer({"Content-Length": str(len(BODY))})
            self.wfile.write(BODY)

    def do_HEAD(self) -> None:
        self._answer({"Content-Length": str(len(BODY))})

    def _answer(self, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections that break are the point of these tests."""


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while block := self.request.recv(65536):
            self.request.sendall(block)


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """As above."""


@contextmanager
def running(server: socketserver.BaseServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def kept() -> dict[str, bytes]:
    return {}


@pytest.fixture
def proxy(kept: dict[str, bytes]) -> Iterator[FaultProxy]:
    server = QuietServer(("127.0.0.1", 0), type("OneKeeper", (Keeper,), {"kept": kept}))
    with running(server) as address, FaultProxy(address) as proxy:
        yield proxy


@pytest.fixture
def echo_proxy() -> Iterator[FaultProxy]:
    with running(EchoServer(("127.0.0.1", 0), Echo)) as address, FaultProxy(address, http=False) as proxy:
        yield proxy


def ask(proxy: FaultProxy, method: str = "GET", path: str = "/", body: bytes | None = None) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection(proxy.address, timeout=SECONDS)) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize("path", ["/", "/chunked", "/to-the-end"])
def test_without_faults_bodies_pass_unchanged(proxy: FaultProxy, kept: dict[str, bytes], path: str) -> None:
    assert ask(proxy, "PUT", "/a", BODY) == (200, b"")
    assert kept == {"/a": BODY}
    assert ask(proxy, path=path) == (200, BODY)
    assert ask(proxy, "HEAD") == (200, b"")
    assert proxy.fates == {"passed": 3}


def test_one_connection_serves_many_requests(proxy: FaultProxy) -> None:
    with closing(http.client.HTTPConnection(proxy.address, timeout=SECONDS)) as connection:
        for method in ("GET", "HEAD", "GET"):
            connection.request(method, "/")
            assert connection.getresponse().read() == (b"" if method == "HEAD" else BODY)
    assert proxy.most_connections == 1


def ask_again(connection: http.client.HTTPConnection) -> int:
    connection.request("GET", "/")
    return connection.getresponse().status


def test_refuse_is_what_a_port_without_a_server_does_and_ends_with_the_next_set(proxy: FaultProxy) -> None:
    with closing(http.client.HTTPConnection(proxy.address, timeout=SECONDS)) as connection:
        connection.request("GET", "/")
        connection.getresponse().read()
        proxy.set(Fault.REFUSE)
        with pytest.raises(ConnectionError):  # in one or the other, as the system notices
            ask_again(connection)
    with pytest.raises(ConnectionRefusedError):
        ask(proxy)
    proxy.set()
    assert ask(proxy)[0] == 200


def test_reset_breaks_the_upload_and_the_server_never_has_it(proxy: FaultProxy, kept: dict[str, bytes]) -> None:
    proxy.set(Fault.RESET)
    with pytest.raises(ConnectionError):
        ask(proxy, "PUT", "/a", BODY * 20)
    assert kept == {}


@pytest.mark.parametrize("path", ["/", "/chunked"])
def test_reset_and_truncate_break_the_download(proxy: FaultProxy, path: str) -> None:
    proxy.set(Fault.RESET)
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        ask(proxy, path=path)
    proxy.set(Fault.TRUNCATE)
    with pytest.raises(http.client.IncompleteRead):
        ask(proxy, path=path)


def test_lose_answer_does_the_work_and_says_nothing(proxy: FaultProxy, kept: dict[str, bytes]) -> None:
    proxy.set(Fault.LOSE_ANSWER)
    with pytest.raises(ConnectionError):
        ask(proxy, "PUT", "/a", b"x")
    assert kept == {"/a": b"x"}


def test_spoil_changes_one_byte(proxy: FaultProxy, kept: dict[str, bytes]) -> None:
    proxy.set(Fault.SPOIL)
    assert ask(proxy, "PUT", "/a", BODY)[0] == 200
    for spoilt in (kept["/a"], ask(proxy)[1]):
        assert len(spoilt) == len(BODY)
        assert sum(one != other for one, other in zip(spoilt, BODY, strict=True)) == 1


def test_answer_is_given_without_asking_the_server(proxy: FaultProxy, kept: dict[str, bytes]) -> None:
    proxy.set(SLOW_DOWN)
    status, body = ask(proxy, "PUT", "/a", BODY)
    assert (status, kept) == (503, {})
    assert b"<Code>SlowDown</Code>" in body
    assert ask(proxy, "HEAD") == (503, b"")


def test_black_hole_is_silent_until_the_next_set(proxy: FaultProxy) -> None:
    proxy.set(Fault.BLACK_HOLE)
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(ask, proxy)
        proxy.wait_for("black hole")
        assert not asking.done()
        proxy.set()
        with pytest.raises(ConnectionError):
            asking.result(SECONDS)
    assert ask(proxy)[0] == 200


def test_share_and_choice_follow_the_seed(proxy: FaultProxy) -> None:
    proxy.set(SLOW_DOWN, Answer.s3(500, "InternalError"), share=0.3)
    statuses = [ask(proxy, "HEAD")[0] for _ in range(200)]
    assert 30 <= sum(status != 200 for status in statuses) <= 90
    assert set(statuses) == {200, 500, 503}
    with FaultProxy(proxy.upstream) as again:
        again.set(SLOW_DOWN, Answer.s3(500, "InternalError"), share=0.3)
        assert [ask(again, "HEAD")[0] for _ in range(200)] == statuses


def test_only_strikes_the_requests_it_names(proxy: FaultProxy) -> None:
    proxy.set(SLOW_DOWN, only=lambda line: line.startswith("PUT /a"))
    assert [ask(proxy, "PUT", path, b"x")[0] for path in ("/a", "/b")] == [503, 200]


def test_times_ends_the_strikes(proxy: FaultProxy) -> None:
    proxy.set(SLOW_DOWN, times=2)
    assert [ask(proxy, "HEAD")[0] for _ in range(4)] == [503, 503, 200, 200]


def test_delay_comes_before_the_request_is_passed_on_and_ends_with_the_next_set(proxy: FaultProxy) -> None:
    proxy.set(delay_seconds=0.2)
    began = time.monotonic()
    ask(proxy, "HEAD")
    assert time.monotonic() - began >= 0.2
    proxy.set(delay_seconds=3600)
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(ask, proxy, "HEAD")
        proxy.wait_for("passed", 2)
        proxy.set()
        assert asking.result(SECONDS) == (200, b"")


def test_bytes_pass_both_ways_and_a_cut_is_seen(echo_proxy: FaultProxy) -> None:
    with socket.create_connection(tuple(echo_proxy.address.split(":")), SECONDS) as connection:
        connection.sendall(BODY[:1000])
        assert connection.recv(1000, socket.MSG_WAITALL) == BODY[:1000]
        echo_proxy.cut()
        with pytest.raises(ConnectionError):
            assert connection.recv(1) or _broken()


def test_black_hole_holds_bytes_back_and_then_lets_them_go(echo_proxy: FaultProxy) -> None:
    with socket.create_connection(tuple(echo_proxy.address.split(":")), SECONDS) as connection:
        echo_proxy.set(Fault.BLACK_HOLE)
        connection.sendall(b"held")
        echo_proxy.wait_for("black hole")
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        echo_proxy.set()
        connection.settimeout(SECONDS)
        assert connection.recv(4, socket.MSG_WAITALL) == b"held"


def test_reset_strikes_blocks_of_any_protocol(echo_proxy: FaultProxy) -> None:
    echo_proxy.set(Fault.RESET)
    with socket.create_connection(tuple(echo_proxy.address.split(":")), SECONDS) as connection:
        connection.sendall(b"x")
        with pytest.raises(ConnectionError):
            assert connection.recv(1) or _broken()


def test_upstream_that_is_away_breaks_the_connection(proxy: FaultProxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
    with FaultProxy(address) as lonely, pytest.raises(ConnectionError):
        ask(lonely)


def _broken() -> bytes:
    raise ConnectionError("the end of the stream")
