"""Matching over gRPC on real sockets: what comes back is what the matcher says here."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import cv2
import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from gim import codecs
from gim.adapters.store_file import FileStore
from gim.errors import ConfigError, GimError, InvalidInput, KeyMissing, UnknownMatcher
from gim.geometry.robust import RobustFitConfig, fit_fundamental
from gim.matchers.registry import load_matcher
from gim.photos.reading import read_photo
from gim.ports.tracing import NullTracing, Span
from gim.rpc.client import MatcherClient, PairSource
from gim.rpc.messages import SERVICE
from gim.rpc.server import serving
from gim.wire.v1.matcher_pb2 import RobustFit
from tests.integration.rpc_serving import LOCAL, Counted, Failing, Gated, textured, wait_until

KEY = "frames/file-0123456789abcdef/seconds-1a2b3c4d/00000000.jpg"


@pytest.fixture(scope="module")
def rootsift():
    return load_matcher("rootsift")


@pytest.fixture(scope="module")
def telemetry():
    return Counted()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = FileStore(tmp_path_factory.mktemp("rpc") / "store")
    store.put(KEY, codecs.encode_jpeg(textured()))
    yield store
    store.close()


@pytest.fixture(scope="module")
def client(rootsift, store, telemetry):
    """Of a server with RootSIFT, a matcher with a bug, and frames."""
    with serving([rootsift, Failing()], store, LOCAL, telemetry) as address, MatcherClient(address) as client:
        yield client


def assert_same(found, expected):
    np.testing.assert_array_equal(found.points, expected.points)
    np.testing.assert_array_equal(found.confidence, expected.confidence)
    assert found.points.dtype == found.confidence.dtype == np.float32


def test_pixels_give_bit_by_bit_what_the_matcher_gives_here(client, rootsift):
    image0, image1 = textured(), textured(shift=3.0)
    mask = np.full(image0.shape[:2], 255, np.uint8)
    mask[:, :60] = 0
    expected = rootsift.match(image0, image1)
    assert len(expected.points) > 50
    assert_same(client.match(image0, image1), expected)
    assert_same(client.match(image0, image1, mask, None), rootsift.match(image0, image1, mask, None))
    assert_same(client.match(image0[..., 0], image1[..., 0]), rootsift.match(image0[..., 0], image1[..., 0]))


def test_a_file_is_read_there_as_it_is_here(client, rootsift, tmp_path):
    """Turned by its EXIF data, and transparent in part."""
    turned = codecs.encode_jpeg(textured())
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = turned[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif + turned[2:]
    transparent = np.dstack([textured(shift=2.0)[..., ::-1], np.full((120, 160), 255, np.uint8)])
    transparent[:50, :, 3] = 0
    files = {"turned.jpg": turned, "transparent.png": cv2.imencode(".png", transparent)[1].tobytes()}
    photos = []
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        photos.append(read_photo(tmp_path / name, 10**6))
    assert photos[0].size == (120, 160)
    expected = rootsift.match(photos[0].image, photos[1].image, photos[0].mask, photos[1].mask)
    answer = client.ask(files["turned.jpg"], files["transparent.png"])
    assert_same(answer.found, expected)
    assert (answer.size0, answer.size1) == ((120, 160), (160, 120))


def test_an_image_may_lie_in_the_store(client, rootsift):
    image = codecs.decode_image(codecs.encode_jpeg(textured()))
    assert_same(client.match(KEY, textured(shift=3.0)), rootsift.match(image, textured(shift=3.0)))
    with pytest.raises(KeyMissing, match="00000001"):
        client.match(KEY.replace("0.jpg", "1.jpg"), textured())
    with pytest.raises(InvalidInput, match="not below frames/"):
        client.match("videos/file-0123456789abcdef/meta.json", textured())


def test_a_fit_that_is_asked_for_is_that_of_the_project(client, rootsift):
    image0, image1 = textured(), textured(shift=3.0)
    answer = client.ask(image0, image1, fit=RobustFit(threshold_px=0.5, seed=7))
    expected = fit_fundamental(answer.found.points, RobustFitConfig(threshold_px=0.5, seed=7))
    np.testing.assert_array_equal(answer.F01, expected.F01)
    np.testing.assert_array_equal(answer.inliers, expected.inliers)
    assert client.ask(image0, image1).inliers is None
    few = client.ask(image0, image1, fit=RobustFit(), max_correspondences=10)
    assert len(few.found.points) == len(few.inliers) == 10
    kept = np.sort(np.argsort(-rootsift.match(image0, image1).confidence, kind="stable")[:10])
    assert_same(few.found, type(few.found)(answer.found.points[kept], answer.found.confidence[kept]))


def test_mixed_sizes_in_one_stream_come_back_in_order(client, rootsift):
    sizes = [(160, 120), (80, 64), (160, 120), (120, 160), (200, 40), (16, 16)] * 5
    pairs = [PairSource(textured(*size, seed=i), textured(*size, 2.0, seed=i)) for i, size in enumerate(sizes)]
    taken = []

    def counted():
        for pair in pairs:
            taken.append(pair)
            yield pair

    for number, found in enumerate(client.match_many(counted())):
        assert_same(found, rootsift.match(pairs[number].image0, pairs[number].image1))
        assert len(taken) <= number + 1 + LOCAL.max_stream_requests
    assert number == len(pairs) - 1
    assert list(client.match_many([])) == []


def test_a_pair_that_fails_in_a_stream_ends_it_at_its_turn_and_no_earlier(client, rootsift):
    good = PairSource(textured(), textured(shift=2.0))
    found = client.match_many([good, good, PairSource(b"\xff\xd8\xff no picture", textured()), good])
    expected = rootsift.match(good.image0, good.image1)
    assert_same(next(found), expected)
    assert_same(next(found), expected)
    with pytest.raises(InvalidInput, match="image0"):
        next(found)


def test_many_threads_share_a_client_and_the_model_is_at_work_elsewhere_too(client, rootsift):
    image0, image1 = textured(), textured(shift=3.0)
    expected = rootsift.match(image0, image1)
    with ThreadPoolExecutor(8) as pool:
        there = [pool.submit(client.match, image0, image1) for _ in range(12)]
        here = [pool.submit(rootsift.match, image0, image1) for _ in range(4)]
        for future in there + here:
            assert_same(future.result(), expected)


def test_the_server_says_what_it_has(client, rootsift):
    served, failing = client.list_matchers()
    assert (served.name, failing.name) == ("rootsift", "failing")
    assert served.teacher == rootsift.teacher
    assert served.identity.startswith("rootsift-")
    assert client.ask(textured(), textured()).matcher == served
    with pytest.raises(UnknownMatcher, match="no matcher 'dkm' is served here; there are: rootsift, failing"):
        client.match(textured(), textured(), matcher="dkm")


def test_of_a_bug_the_caller_learns_nothing_and_the_log_everything(client, caplog):
    with pytest.raises(GimError, match="a bug in the server; its log has more") as raised:
        client.match(textured(), textured(), matcher="failing")
    assert "hunter2" not in str(raised.value)
    assert "ZeroDivisionError" in caplog.text


def test_health_and_reflection_answer(client):
    with grpc.insecure_channel(client.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            assert health.Check(health_pb2.HealthCheckRequest(service=name), timeout=60).status == 1
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]), timeout=60)
        names = {service.name for service in answer.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names


def test_every_request_is_told_of(client, telemetry):
    before = telemetry.counts.copy()
    answer = client.ask(textured(), textured())
    with pytest.raises(InvalidInput):
        client.match(b"\xff\xd8\xff no picture", textured())
    told = telemetry.counts - before
    assert told["rpc_requests", "Match", "OK"] == 1
    assert told["rpc_requests", "Match", "INVALID_ARGUMENT"] == 1
    assert told["rpc_bytes_in", "Match"] > 1000
    assert told["rpc_bytes_out", "Match"] > 20 * len(answer.found.points)
    assert telemetry.seen["rpc_compute_seconds"][-1] == answer.computed_seconds > 0
    assert telemetry.seen["rpc_decode_seconds"][-1] == answer.decoded_seconds > 0
    assert telemetry.seen["rpc_queue_seconds"][-1] == answer.queued_seconds >= 0
    assert telemetry.seen["rpc_batch_size"][-1] == answer.batch_size == 1


def test_requests_of_equal_shape_are_computed_together():
    gated, telemetry = Gated(is_open=False), Counted()
    with serving([gated], None, replace(LOCAL, max_batch=4), telemetry) as address, MatcherClient(address) as client:
        with ThreadPoolExecutor(12) as pool:
            first = pool.submit(client.match, textured(8, 8), textured(8, 8))
            assert gated.started.acquire(timeout=60)
            wide, narrow = textured(32, 8), textured(16, 8)
            others = [pool.submit(client.ask, image, image) for image in [wide] * 5 + [narrow] * 3]
            wait_until(lambda: telemetry.levels["rpc_waiting"] == 8, "eight requests wait")
            gated.gate.set()
            answers = [future.result() for future in others]
            first.result()
    shapes = sorted(tuple(batch) for batch in gated.batches[1:])
    assert shapes == [((16, 16),) * 3, ((32, 32),), ((32, 32),) * 4]
    assert sorted(answer.batch_size for answer in answers) == [1, 3, 3, 3, 4, 4, 4, 4]


def test_a_trace_goes_on_in_the_server():
    seen = []

    class Noted(NullTracing):
        @contextmanager
        def span(self, name, headers, **attributes):
            seen.append((name, dict(headers), attributes["rpc_method"]))
            yield Span()

    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with serving([Gated()], None, LOCAL, tracing=Noted()) as address, MatcherClient(address) as client:
        client.match(textured(8, 8), textured(8, 8), headers={"traceparent": parent})
    assert seen == [("match", {"traceparent": parent}, "Match")]


def test_what_cannot_be_served_is_said_before_anything_is_opened(rootsift):
    for matchers in ([], [rootsift, rootsift]):
        with pytest.raises(ConfigError, match="each of another name"), serving(matchers, None, LOCAL):
            pass
    for address in ("host", "host:", ":1", "host:99999", "http://host:1/", ""):
        with pytest.raises(ConfigError, match="expected HOST:PORT"):
            MatcherClient(address)
    assert threading.active_count() < 50
