"""From a request to its response: admitted, read, decoded, batched with others, matched, fitted. Knows no gRPC.

What waits holds encoded bytes only; pixels exist for a bounded number of pairs. Every step looks first whether
anybody still waits for its result.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from gim.errors import ConfigError, UnknownMatcher
from gim.geometry.robust import FundamentalFit, HomographyFit, RobustFitConfig, fit_fundamental, fit_homography
from gim.matchers.base import Matcher
from gim.matchers.network import NetworkMatcher
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry
from gim.records import Correspondences, Float32Array, ImagePair
from gim.rpc.batching import Batcher, Computed
from gim.rpc.config import RpcConfig
from gim.rpc.images import EncodedImage, check_request, decode_pair, read_images
from gim.rpc.messages import info_of, match_response
from gim.rpc.rooms import Room
from gim.wire.v1 import matcher_pb2
from gim.wire.v1.matcher_pb2 import MatcherInfo, MatchRequest, MatchResponse, RobustFit, Timings

Result = TypeVar("Result")
_PLANE_THRESHOLD_PX = 3.0  # of a homography, unless the request says otherwise


@dataclass(frozen=True, slots=True)
class _Loaded:
    """One matcher with those who wait for it."""

    matcher: Matcher
    info: MatcherInfo
    batcher: Batcher[ImagePair, Correspondences]
    threads: ThreadPoolExecutor


class Matching:
    """Answers requests by loaded matchers. Of one event loop; the matchers may be in use elsewhere too."""

    def __init__(
        self, matchers: Sequence[Matcher], store: Store | None, config: RpcConfig, telemetry: Telemetry
    ) -> None:
        """Load nothing yet.

        Args:
            matchers: what is served, the default first.
            store: of the images that are named by keys; None: such requests are refused.
            config: limits.
            telemetry: is told how many requests wait for each matcher.

        Raises:
            ConfigError: no matcher, or two of one name.
        """
        names = [matcher.name for matcher in matchers]
        if not names or len(set(names)) < len(names):
            raise ConfigError(
                f"a matching server needs matchers, each of another name; got {', '.join(names) or 'none'}"
            )
        self._store = store
        self._config = config
        num_threads = config.threads or len(os.sched_getaffinity(0))
        self._threads = ThreadPoolExecutor(num_threads, "gim-rpc-images")
        self._loaded = {matcher.name: _loaded(matcher, config, num_threads, telemetry) for matcher in matchers}
        self._single_room = Room(config.max_waiting, config.max_waiting_bytes)
        self._stream_room = Room(config.max_waiting, config.max_waiting_bytes)
        self._decoded_room = Room(float("inf"), config.max_decoded_pixels)

    @property
    def infos(self) -> list[MatcherInfo]:
        """The matchers, the default first."""
        return [loaded.info for loaded in self._loaded.values()]

    async def load(self) -> None:
        """Have every network built, so that the first request does not wait for it."""
        for loaded in self._loaded.values():
            await self._in_thread(_build, loaded.matcher)

    def close(self) -> None:
        """Release the threads; what one of them is at is finished."""
        for threads in (self._threads, *(loaded.threads for loaded in self._loaded.values())):
            threads.shutdown(wait=True, cancel_futures=True)

    def matcher_named(self, name: str) -> str:
        """The full name of a matcher that is served; the default's for an empty one.

        Raises:
            UnknownMatcher: it is not served here.
        """
        if not name:
            return next(iter(self._loaded))
        if name not in self._loaded:
            raise UnknownMatcher(f"no matcher {name[:80]!r} is served here; there are: {', '.join(self._loaded)}")
        return name

    async def match(self, request: MatchRequest, expires: float, *, is_streamed: bool) -> MatchResponse:
        """Answer one request.

        Args:
            request: as it came.
            expires: time of the loop after which nobody waits for the answer.
            is_streamed: wait where there is no room, since the stream reads no further meanwhile.

        Raises:
            Busy: there is no room, and it is a single request.
            InvalidInput, UnknownMatcher, ConfigError: what is wrong with it.
            KeyMissing, Unavailable: its images cannot be had from the store.
            TimeoutError: it expired.
        """
        loop = asyncio.get_running_loop()
        arrived = loop.time()
        loaded = self._loaded[self.matcher_named(request.matcher)]
        check_request(request, self._store)
        room = self._stream_room if is_streamed else self._single_room
        async with room.held(request.ByteSize(), may_wait=is_streamed):
            began = loop.time()
            images = await self._in_thread(self._read, request)
            read_seconds = loop.time() - began
            async with self._decoded_room.held(sum(image.num_pixels for image in images), may_wait=True):
                if loop.time() >= expires:
                    raise TimeoutError
                began = loop.time()
                pair = await self._in_thread(decode_pair, images)
                decoded_seconds = read_seconds + loop.time() - began
                group = (pair.image0.shape, pair.image1.shape)
                computed = await loaded.batcher.compute(pair, group, expires)
        fit = await self._fitted(request, computed.result)
        spent = decoded_seconds + computed.computed_seconds
        return match_response(
            computed.result,
            fit,
            max_correspondences=request.max_correspondences,
            sizes=(_size(pair.image0.shape), _size(pair.image1.shape)),
            matcher=loaded.info,
            timings=_timings(computed, decoded_seconds, loop.time() - arrived - spent),
        )

    def _read(self, request: MatchRequest) -> tuple[EncodedImage, EncodedImage]:
        limits = self._config
        return read_images(request, self._store, max_bytes=limits.max_message_bytes, max_pixels=limits.max_pixels)

    async def _fitted(self, request: MatchRequest, found: Correspondences) -> FundamentalFit | HomographyFit | None:
        if not request.HasField("fit"):
            return None
        return await self._in_thread(_fit, found.points, request.fit)

    async def _in_thread(self, function: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def _loaded(matcher: Matcher, config: RpcConfig, num_threads: int, telemetry: Telemetry) -> _Loaded:
    """A network computes batches, one after another; any other matcher gains nothing by them, but by threads."""
    workers = 1 if matcher.is_batched else num_threads
    threads = ThreadPoolExecutor(workers, f"gim-rpc-{matcher.name}")
    batcher: Batcher[ImagePair, Correspondences] = Batcher(
        matcher.match_pairs,
        threads,
        workers=workers,
        max_batch=config.max_batch if matcher.is_batched else 1,
        wait_seconds=config.batch_wait_seconds if matcher.is_batched else 0.0,
        on_waiting=lambda count: telemetry.set_level("rpc_waiting", count, matcher=matcher.name),
    )
    return _Loaded(matcher, info_of(matcher), batcher, threads)


def _build(matcher: Matcher) -> None:
    if isinstance(matcher, NetworkMatcher):
        _ = matcher.network


def _fit(points: Float32Array, asked: RobustFit) -> FundamentalFit | HomographyFit | None:
    seed = asked.seed & 0x7FFFFFFF  # OpenCV takes 31 bits
    if asked.model == matcher_pb2.ROBUST_MODEL_HOMOGRAPHY:
        return fit_homography(points, threshold_px=asked.threshold_px or _PLANE_THRESHOLD_PX, seed=seed)
    config = RobustFitConfig(seed=seed)
    if asked.threshold_px:
        config = replace(config, threshold_px=asked.threshold_px)
    return fit_fundamental(points, config)


def _size(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[1], shape[0]


def _timings(computed: Computed[Correspondences], decoded_seconds: float, queued_seconds: float) -> Timings:
    return Timings(
        queued_seconds=max(queued_seconds, 0.0),
        decoded_seconds=decoded_seconds,
        computed_seconds=computed.computed_seconds,
        batch_size=computed.batch_size,
    )
