"""Matching servers for tests: matchers whose time the test decides, servers in processes of their own."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import ClassVar

import cv2
import grpc
import numpy as np

from gim import codecs
from gim.matchers.base import Matcher
from gim.ports.telemetry import NullTelemetry
from gim.records import Correspondences
from gim.rpc.config import RpcConfig
from gim.rpc.messages import SERVICE, image_message
from gim.wire.v1.matcher_pb2 import MatchRequest, MatchResponse, MatchStreamResponse

LOCAL = RpcConfig(host="127.0.0.1", port=0, threads=2, batch_wait_seconds=0.0)


class Gated(Matcher):
    """Says where the middles of two images are, once it is let; remembers what it was asked together."""

    name: ClassVar[str] = "gated"
    is_batched: ClassVar[bool] = True

    def __init__(self, *, is_open: bool = True, rows: int = 1) -> None:
        super().__init__(None)
        self.rows = rows
        self.batches: list[list[tuple[int, int]]] = []
        self.started = threading.Semaphore(0)
        self.gate = threading.Event()
        if is_open:
            self.gate.set()

    @property
    def num_pairs(self) -> int:
        return sum(map(len, self.batches))

    def match_pairs(self, pairs):
        self.batches.append([(pair.image0.shape[1], pair.image1.shape[1]) for pair in pairs])
        self.started.release()
        assert self.gate.wait(120)
        return [self._middles(pair) for pair in pairs]

    def match(self, image0, image1, mask0=None, mask1=None):
        raise NotImplementedError

    def _middles(self, pair):
        sizes = [side for image in (pair.image0, pair.image1) for side in image.shape[1::-1]]
        row = (np.array(sizes, np.float32) - 1) / 2
        return Correspondences(np.tile(row, (self.rows, 1)), np.full(self.rows, 0.5, np.float32))


class Failing(Matcher):
    """Has a bug."""

    name: ClassVar[str] = "failing"

    def __init__(self) -> None:
        super().__init__(None)

    def match(self, image0, image1, mask0=None, mask1=None):
        raise ZeroDivisionError("password=hunter2 in /a/path")


class Counted(NullTelemetry):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.seen: dict[str, list[float]] = {}
        self.levels: dict[str, float] = {}

    def count(self, name, value, video_id, **labels):
        self.counts[name, *labels.values()] += value

    def observe(self, name, value, video_id="", **labels):
        self.seen.setdefault(name, []).append(value)

    def set_level(self, name, value, **labels):
        self.levels[name] = value


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something that is bound to come."""
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.01)


def textured(width: int = 160, height: int = 120, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    """An RGB picture that can be matched with itself, moved to the right."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    picture = cv2.GaussianBlur(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), (0, 0), 1)
    return cv2.warpAffine(picture, np.float32([[1, 0, shift], [0, 1, 0]]), (width, height))


def request_of(width: int = 8, **fields) -> MatchRequest:
    """A request that costs nothing to decode."""
    image = image_message(codecs.encode_png(np.zeros((8, width), np.uint8)))
    return MatchRequest(image0=image, image1=image, **fields)


@contextmanager
def calling(address: str) -> Iterator[SimpleNamespace]:
    """The calls as gRPC has them, without our client; messages of any size, and bytes that are no messages."""
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(address, options) as channel:
        yield SimpleNamespace(
            match=channel.unary_unary(f"/{SERVICE}/Match", _to_bytes, MatchResponse.FromString),
            match_stream=channel.stream_stream(f"/{SERVICE}/MatchStream", _to_bytes, MatchStreamResponse.FromString),
            channel=channel,
        )


def _to_bytes(message) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


@contextmanager
def server_process(*arguments: str) -> Iterator[SimpleNamespace]:
    """`gim serve` on a free port, until it ends by itself or the block does."""
    command = [sys.executable, "-m", "gim", "serve", "--port", "0", *arguments]
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)
    try:
        address = process.stdout.readline().partition(" ")[0]
        assert address, process.stderr.read()
        yield SimpleNamespace(process=process, address=address)
    finally:
        process.kill()
        process.communicate()
