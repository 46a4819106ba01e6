"""The HTTP side of a service: its answers over real sockets, and that nobody can keep it from answering others."""

import gc
import http.client
import socket
import threading
import time
from contextlib import closing, contextmanager, suppress

import pytest

from gim.adapters.telemetry_prometheus import PrometheusTelemetry
from gim.errors import Unavailable
from gim.runtime.http_status import Status, StatusServer

PATIENCE_SECONDS = 60


@contextmanager
def serving(status=None, **options):
    with closing(StatusServer(status or Status(), "127.0.0.1", 0, **options)) as server:
        yield server


def ask(server, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_SECONDS)
    with closing(connection):
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers


def raw(server, data):
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def connected(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECONDS)


def test_readiness_says_what_it_waits_for():
    status = Status()
    with serving(status) as server:
        assert ask(server, "/readyz")[:2] == (503, "starting\n")
        status.ready()
        assert ask(server, "/readyz")[:2] == (200, "ready\n")
        status.not_ready("draining")
        assert ask(server, "/readyz")[:2] == (503, "draining\n")
        status.ready()
        assert ask(server, "/readyz")[0] == 200


def test_a_loop_that_falls_silent_is_dead_until_it_beats_again():
    status = Status(limit_seconds=0.2)
    with serving(status) as server:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while ask(server, "/healthz")[0] == 200:
            assert time.monotonic() < deadline
        code, why, _ = ask(server, "/healthz")
        assert code == 503
        assert why.startswith("no beat for ")
        assert why.count("\n") == 1
        status.beat()
        assert status.why_dead() == ""


def test_long_work_is_alive_without_a_beat_and_stuck_work_is_not():
    status = Status(limit_seconds=0.0)
    status.in_hand(time.monotonic() - 3600, max_seconds=7200)
    assert status.why_dead() == ""
    assert 3600 <= status.in_hand_seconds() < 3600 + PATIENCE_SECONDS
    status.in_hand(time.monotonic() - 3600, max_seconds=1800)
    assert "the message in hand is 36" in status.why_dead()
    status.in_hand(None)
    assert status.in_hand_seconds() == 0
    assert "message" not in status.why_dead()


def test_metrics_come_in_the_format_that_is_asked_for():
    telemetry = PrometheusTelemetry("matcher")
    with serving(metrics=telemetry.exposition) as server:
        code, body, headers = ask(server, "/metrics?name=x")
        assert (code, headers["Content-Type"].split(";")[0]) == (200, "text/plain")
        assert "\ngim_training_pairs_total 0.0\n" in body
        assert int(headers["Content-Length"]) == len(body.encode())
        _, body, headers = ask(server, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert headers["Content-Type"].startswith("application/openmetrics-text")
        assert body.endswith("# EOF\n")


def test_without_metrics_there_is_no_such_page():
    with serving() as server:
        assert ask(server, "/metrics")[0] == 404


def test_metrics_that_fail_leave_health_alone():
    def fail(_accept):
        raise ZeroDivisionError("at /secret/path")

    with serving(metrics=fail) as server:
        assert ask(server, "/metrics")[:2] == (500, "ZeroDivisionError\n")
        assert ask(server, "/healthz")[:2] == (200, "alive\n")


def test_head_has_the_headers_of_get_and_no_body():
    with serving() as server:
        code, body, headers = ask(server, "/healthz", "HEAD")
        assert (code, body, headers["Content-Length"]) == (200, "", "6")


@pytest.mark.parametrize(
    "path", ["/", "/healthz/", "/../etc/passwd", "/%2e%2e/etc/passwd", "//", "/metrics/../healthz"]
)
def test_any_other_path_is_not_there_and_is_not_repeated(path):
    with serving() as server:
        code, body, headers = ask(server, path)
        assert code == 404
        assert "etc" not in body + str(headers)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /healthz HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", b"405"),
        (b"GET /healthz\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", b"431"),
        (b"GET /healthz HTTP/1.0\r\n\r\n", b"200"),
        (b"GET /healthz HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n", b"200"),
    ],
)
def test_odd_requests_get_one_answer_and_the_end(request_bytes, status):
    with serving() as server:
        answer = raw(server, request_bytes)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert answer.count(b"HTTP/1.1") == 1


def test_slow_clients_keep_nobody_waiting():
    with serving(timeout_seconds=3600, max_connections=8) as server:
        slow = [connected(server) for _ in range(50)]
        try:
            for number, connection in enumerate(slow):
                with suppress(OSError):  # the oldest are cut already
                    connection.sendall(b"GET /healthz HT"[: number % 15])
            for _ in range(5):
                assert ask(server, "/healthz")[0] == 200
        finally:
            for connection in slow:
                connection.close()


def test_a_client_that_says_nothing_is_left_after_the_time_limit():
    with serving(timeout_seconds=0.2) as server, connected(server) as connection:
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""


def test_a_client_that_does_not_read_is_left_and_others_are_answered():
    big = b"x" * 50_000_000
    with serving(metrics=lambda _: (big, "text/plain"), timeout_seconds=0.5) as server, connected(server) as lazy:
        lazy.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert lazy.recv(1) == b"H"
        assert ask(server, "/healthz")[0] == 200
        assert len(ask(server, "/readyz")[1]) > 0


def test_many_readers_at_once_are_all_answered_by_one_thread():
    telemetry = PrometheusTelemetry("matcher")
    before = threading.active_count()
    codes = []
    with serving(metrics=telemetry.exposition, max_connections=64) as server:
        assert threading.active_count() == before + 1

        def read():
            codes.extend(ask(server, "/metrics")[0] for _ in range(5))

        readers = [threading.Thread(target=read) for _ in range(10)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
    assert codes == [200] * 50


def test_closing_frees_the_port_and_its_thread_whatever_is_open():
    before = threading.active_count()
    server = StatusServer(Status(), "127.0.0.1", 0)
    with connected(server) as open_one:
        open_one.sendall(b"GET /hea")
        server.close()
        server.close()
    assert threading.active_count() == before
    again = StatusServer(Status(), "127.0.0.1", server.port)
    assert ask(again, "/healthz")[0] == 200
    again.close()


def test_a_port_that_is_taken_is_told_in_one_line():
    with serving() as server:
        with pytest.raises(Unavailable, match=rf"127\.0\.0\.1:{server.port}: .*service\.http_port") as raised:
            StatusServer(Status(), "127.0.0.1", server.port)
        assert "\n" not in str(raised.value)


def test_closing_leaves_no_socket_of_whoever_connects_just_then():
    for _ in range(200):
        server = StatusServer(Status(), "127.0.0.1", 0)
        with closing(socket.create_connection(("127.0.0.1", server.port))):
            server.close()
    gc.collect()  # a socket that was left warns now, and a warning is an error
