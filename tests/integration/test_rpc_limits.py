"""What a matching server refuses and bounds, on real sockets: it lives through all of it, and others are served."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from gim.errors import InvalidInput, Unavailable
from gim.rpc.client import MatcherClient, PairSource
from gim.rpc.messages import SERVICE
from gim.rpc.server import serving
from gim.wire.v1.matcher_pb2 import MatchStreamRequest
from tests.integration.rpc_serving import LOCAL, Counted, Gated, calling, request_of, textured, wait_until

TINY = textured(8, 8)


@contextmanager
def gated_server(*, is_open=True, rows=1, **limits):
    """A server whose matcher waits to be let; is let at the end in any case."""
    matcher, telemetry = Gated(is_open=is_open, rows=rows), Counted()
    with serving([matcher], None, replace(LOCAL, **limits), telemetry) as address:
        try:
            with MatcherClient(address, LOCAL) as client, calling(address) as calls:
                yield SimpleNamespace(address=address, matcher=matcher, telemetry=telemetry, client=client, calls=calls)
        finally:
            matcher.gate.set()


def status_of(call):
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value.code().name


def assert_serves(server):
    server.matcher.gate.set()
    assert len(server.client.match(TINY, TINY).points) == server.matcher.rows


def test_a_request_that_expires_while_it_waits_is_never_computed():
    with gated_server(is_open=False, max_batch=1) as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.client.match, TINY, TINY)
        assert server.matcher.started.acquire(timeout=60)
        with pytest.raises(Unavailable, match="no answer in time"):
            server.client.match(TINY, TINY, timeout_seconds=0.3)
        assert_serves(server)
        first.result()
        assert server.matcher.num_pairs == 2


def test_no_deadline_is_granted_beyond_the_servers_own():
    with gated_server(is_open=False, max_seconds=0.3) as server:
        assert status_of(lambda: server.calls.match(request_of())) == "DEADLINE_EXCEEDED"
        assert status_of(lambda: server.calls.match(request_of(), timeout=600)) == "DEADLINE_EXCEEDED"
        (answer,) = server.calls.match_stream(iter([MatchStreamRequest(id=5, request=request_of())]), timeout=60)
        assert (answer.id, answer.error.code) == (5, grpc.StatusCode.DEADLINE_EXCEEDED.value[0])
        assert_serves(server)
        assert server.telemetry.counts["rpc_requests", "Match", "DEADLINE_EXCEEDED"] == 2


def test_a_pair_of_a_stream_may_have_a_shorter_deadline_of_its_own():
    with gated_server(is_open=False) as server:
        request = MatchStreamRequest(id=1, request=request_of(), timeout_seconds=0.2)
        (answer,) = server.calls.match_stream(iter([request]), timeout=60)
        assert answer.error.code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]


def test_a_call_that_is_cancelled_while_it_waits_is_never_computed():
    with gated_server(is_open=False, max_batch=1) as server:
        first = server.calls.match.future(request_of())
        assert server.matcher.started.acquire(timeout=60)
        second = server.calls.match.future(request_of())
        wait_until(lambda: server.telemetry.levels["rpc_waiting"] == 1, "the second waits")
        second.cancel()
        wait_until(lambda: server.telemetry.counts["rpc_requests", "Match", "CANCELLED"] == 1, "it is seen")
        assert_serves(server)
        first.result()
        assert server.matcher.num_pairs == 2


def test_more_than_may_wait_are_refused_at_once_and_the_others_are_answered():
    with gated_server(is_open=False, max_waiting=5) as server:
        calls = [server.calls.match.future(request_of(), timeout=120) for _ in range(20)]
        wait_until(lambda: sum(call.done() for call in calls) == 15, "fifteen are refused while nothing is computed")
        assert {call.code().name for call in calls if call.done()} == {"RESOURCE_EXHAUSTED"}
        with pytest.raises(Unavailable, match="busy with 5 requests"):
            server.client.match(TINY, TINY)
        server.matcher.gate.set()
        assert sum(call.exception() is None for call in calls) == 5
        assert server.matcher.num_pairs == 5


def test_what_waits_is_bounded_by_its_bytes_too():
    with gated_server(is_open=False, max_waiting_bytes=100_000) as server:
        noise = PairSource(textured(seed=1), textured(seed=2))
        big = [server.client._request(noise, "") for _ in range(3)]
        assert 50_000 < big[0].ByteSize() < 100_000
        calls = [server.calls.match.future(request, timeout=120) for request in big]
        wait_until(lambda: sum(call.done() for call in calls) == 2, "there is room for one")
        server.matcher.gate.set()
        assert sorted(call.code().name for call in calls) == ["OK", "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"]


def test_streams_wait_where_single_requests_are_refused():
    """More streams than there is room for, all of them answered in full."""
    with gated_server(max_waiting=2, max_stream_requests=4) as server, ThreadPoolExecutor(4) as pool:
        pairs = [PairSource(TINY, TINY)] * 25
        found = list(pool.map(lambda _: list(server.client.match_many(pairs)), range(4)))
        assert [len(item) for item in found] == [25] * 4


def test_a_message_of_100_mb_is_refused():
    with gated_server() as server:
        request = request_of()
        request.image0.encoded += bytes(100_000_000)
        assert status_of(lambda: server.calls.match(request, timeout=120)) == "RESOURCE_EXHAUSTED"
        assert status_of(
            lambda: list(server.calls.match_stream(iter([MatchStreamRequest(request=request)]), timeout=120))
        ) == "RESOURCE_EXHAUSTED"  # fmt: skip
        with pytest.raises(InvalidInput, match=r"exceed rpc\.max_message_bytes=33554432"):
            server.client.match(request.image0.encoded, TINY)
        with MatcherClient(server.address, replace(LOCAL, max_message_bytes=2**30)) as careless:
            with pytest.raises(InvalidInput, match="larger than max"):
                careless.match(request.image0.encoded, TINY)
        assert server.matcher.num_pairs == 0
        assert_serves(server)


def test_bytes_that_are_no_message_are_refused_as_such():
    with gated_server() as server:
        for data in (b"\xff\xff\xff\xff", b"\x0a\xff", b"hello world", b"\x0a\x02\x08"):
            assert status_of(lambda data=data: server.calls.match(data, timeout=60)) == "INVALID_ARGUMENT"
            assert (
                status_of(lambda data=data: list(server.calls.match_stream(iter([data]), timeout=60)))
                == "INVALID_ARGUMENT"
            )
        unknown = server.calls.channel.unary_unary(f"/{SERVICE}/Nothing")
        assert status_of(lambda: unknown(b"", timeout=60)) == "UNIMPLEMENTED"
        assert_serves(server)


@pytest.mark.slow
def test_ten_thousand_tiny_requests_at_once_are_each_answered_or_refused():
    with gated_server() as server:
        request = request_of()
        calls = [server.calls.match.future(request, timeout=300) for _ in range(10_000)]
        codes = [call.code().name for call in calls]
        # UNAVAILABLE is gRPC itself: it takes no more streams of a connection than it can keep up with.
        assert set(codes) <= {"OK", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}
        assert codes.count("OK") == server.matcher.num_pairs > 100
        assert_serves(server)


def test_a_reader_that_is_slow_is_sent_no_more_than_it_may_have_in_hand():
    """Each answer is 2 MB: what the transport does not take stays in hand, and nothing more is read."""
    with gated_server(rows=100_000, max_stream_requests=3, max_seconds=5.0) as server:
        requests = (MatchStreamRequest(id=number, request=request_of()) for number in itertools.count())
        call = server.calls.match_stream(requests)  # gRPC reads one answer ahead, and nobody asks for it
        next(call)
        wait_until(lambda: _stands_still(lambda: server.matcher.num_pairs), "it stops")
        before = server.matcher.num_pairs
        assert before < 30
        began = _resident_bytes()
        for _ in range(5):
            assert_serves(server)
        assert server.matcher.num_pairs == before + 5
        assert _resident_bytes() - began < 200 * 2**20
        # In the end the stream is given up: that is seen once its reader reads again.
        wait_until(lambda: server.telemetry.levels.get("rpc_streams") == 0, "the stream is ended")
        assert status_of(lambda: list(call)) == "DEADLINE_EXCEEDED"


def test_clients_that_go_in_the_middle_of_a_stream_leave_nothing_behind(caplog):
    with gated_server(rows=20_000) as server:
        for _ in range(10):
            requests = (MatchStreamRequest(id=number, request=request_of()) for number in itertools.count())
            call = server.calls.match_stream(requests)
            for _ in range(5):
                next(call)
            call.cancel()
        wait_until(lambda: server.telemetry.levels["rpc_streams"] == 0, "the streams are closed")
        assert_serves(server)
    assert caplog.records == []  # it is no bug of the server


def test_no_more_streams_are_open_than_may_be():
    with gated_server(max_streams=2) as server:
        leave = threading.Event()

        def requests():
            yield MatchStreamRequest(request=request_of())
            leave.wait(60)

        calls = [server.calls.match_stream(requests(), timeout=120) for _ in range(2)]
        for call in calls:
            next(call)
        assert status_of(lambda: next(server.calls.match_stream(requests(), timeout=120))) == "RESOURCE_EXHAUSTED"
        leave.set()
        assert [list(call) for call in calls] == [[], []]
        assert len(list(server.client.match_many([PairSource(TINY, TINY)]))) == 1


def _stands_still(count) -> bool:
    before = count()
    time.sleep(1.0)
    return count() == before


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
