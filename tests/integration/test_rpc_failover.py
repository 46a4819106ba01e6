"""Servers that stop, and servers that are killed: what is in hand is finished, or asked of another one."""

import asyncio
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gim.cli.main import run_command
from gim.errors import Unavailable
from gim.matchers.registry import load_matcher
from gim.rpc.client import MatcherClient, PairSource
from gim.rpc.server import MatchServer, serving
from gim.wire.v1.matcher_pb2 import MatchStreamRequest
from tests.integration.rpc_serving import LOCAL, Gated, calling, request_of, server_process, textured, wait_until

TINY = textured(8, 8)
PATIENT = replace(LOCAL, retry_seconds=60.0)
IMPATIENT = replace(LOCAL, retry_seconds=0.0)


def frozen(process):
    """Have a process take what it is sent, and answer nothing."""
    process.send_signal(signal.SIGSTOP)


def test_a_server_that_is_killed_with_requests_in_flight_is_unavailable():
    with server_process() as server, MatcherClient(server.address, IMPATIENT) as client, ThreadPoolExecutor(4) as pool:
        client.list_matchers()
        frozen(server.process)
        calls = [pool.submit(client.match, textured(), textured()) for _ in range(4)]
        time.sleep(0.2)  # so that they are under way, most likely; sent late, they meet the same end
        server.process.kill()
        for call in calls:
            with pytest.raises(Unavailable, match=server.address):
                call.result(timeout=60)


@pytest.mark.slow
def test_what_a_killed_server_has_not_answered_another_one_does():
    image0, image1 = textured(), textured(shift=3.0)
    expected = load_matcher("rootsift").match(image0, image1)
    with server_process() as first, server_process() as second, ThreadPoolExecutor(4) as pool:
        with MatcherClient(f"{first.address},{second.address}", PATIENT) as client:
            many = client.match_many([PairSource(image0, image1)] * 40)
            found = [next(many) for _ in range(3)]
            frozen(first.process)
            calls = [pool.submit(client.match, image0, image1) for _ in range(4)]
            time.sleep(0.2)
            first.process.kill()
            found += many
            found += [call.result(timeout=60) for call in calls]
    assert len(found) == 44
    for item in found:
        np.testing.assert_array_equal(item.points, expected.points)


def test_a_server_that_comes_back_is_found_again():
    matcher = Gated()
    with serving([matcher], None, LOCAL) as address:
        pass
    config = replace(LOCAL, port=int(address.rpartition(":")[2]))
    with MatcherClient(address, PATIENT) as client, ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.match, TINY, TINY)
        time.sleep(0.5)
        with serving([matcher], None, config):
            assert len(call.result(timeout=60).points) == 1


def test_a_stop_finishes_what_is_in_hand_and_refuses_what_is_new():
    matcher = Gated(is_open=False)

    async def run():
        server = MatchServer([matcher], None, LOCAL)
        address = await server.start()
        with calling(address) as calls, grpc.insecure_channel(address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            watched = health.Watch(health_pb2.HealthCheckRequest(), timeout=120)
            assert await asyncio.to_thread(next, watched) == health_pb2.HealthCheckResponse(status="SERVING")
            matcher.gate.set()
            await asyncio.to_thread(calls.match, request_of(), timeout=120)  # one that was over long ago
            matcher.gate.clear()
            matcher.batches.clear()
            in_hand = calls.match.future(request_of(), timeout=120)
            leave = threading.Event()

            def requests():
                yield MatchStreamRequest(id=9, request=request_of())
                leave.wait(60)

            stream = calls.match_stream(requests(), timeout=120)
            await asyncio.to_thread(wait_until, lambda: matcher.batches, "one is computed")
            stopping = asyncio.create_task(server.stop(60))
            assert (await asyncio.to_thread(next, watched)).status == health_pb2.HealthCheckResponse.NOT_SERVING
            late = calls.match.future(request_of(), timeout=120)
            assert await asyncio.to_thread(late.code) is grpc.StatusCode.UNAVAILABLE
            assert not in_hand.done()
            matcher.gate.set()
            assert (await asyncio.to_thread(in_hand.result)).num_correspondences == 1
            assert (await asyncio.to_thread(next, stream)).id == 9
            # It ends the stream though its client would send more; the client asks another server for the rest.
            assert await asyncio.to_thread(stream.code) is grpc.StatusCode.UNAVAILABLE
            await asyncio.wait_for(stopping, 60)
            leave.set()
            await server.stop()

    asyncio.run(run())
    assert matcher.num_pairs == 2


def test_what_is_not_done_within_the_grace_is_given_up():
    matcher = Gated(is_open=False)
    with ThreadPoolExecutor(1) as pool:
        with serving([matcher], None, LOCAL, grace_seconds=0.2) as address:
            client = MatcherClient(address, IMPATIENT)
            call = pool.submit(client.match, TINY, TINY)
            assert matcher.started.acquire(timeout=60)
            threading.Timer(2.0, matcher.gate.set).start()  # the thread itself cannot be stopped
        with pytest.raises(Unavailable):
            call.result(timeout=60)
        client.close()


def test_a_stream_moves_on_when_its_server_is_about_to_stop():
    first, second = Gated(), Gated()
    pairs = [PairSource(TINY, TINY)] * 200
    with serving([second], None, LOCAL) as there:
        with serving([first], None, LOCAL) as here:
            client = MatcherClient(f"{here},{there}", PATIENT)
            many = client.match_many(pairs)
            found = [next(many) for _ in range(5)]
        found += many
        client.close()
    assert len(found) == 200
    assert second.num_pairs > 100


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_gim_serve_ends_when_it_is_told_to(signal_number):
    with server_process() as server, MatcherClient(server.address, LOCAL) as client:
        assert [matcher.name for matcher in client.list_matchers()] == ["rootsift"]
        server.process.send_signal(signal_number)
        out, err = server.process.communicate(timeout=60)
    assert server.process.returncode == 0
    assert err == ""
    assert "finishing what is in hand" in out


def test_gim_serve_says_what_is_wrong(capsys):
    assert run_command(["serve", "--matcher", "rootsif"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert run_command(["serve", "--matcher", ","]) == 2
    assert run_command(["serve", "--set", "rpc.max_batch=0"]) == 2
    assert "rpc.max_batch" in capsys.readouterr().err
