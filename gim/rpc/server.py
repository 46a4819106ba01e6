"""The matching server: MatcherService, health and reflection on one port, beside whatever else the process does."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gim.errors import Unavailable
from gim.matchers.base import Matcher
from gim.ports.store import Store
from gim.ports.telemetry import NullTelemetry, Telemetry
from gim.ports.tracing import NullTracing, Tracing
from gim.rpc.config import RpcConfig
from gim.rpc.matching import Matching
from gim.rpc.messages import SERVICE
from gim.rpc.service import MatchService
from gim.rpc.tls import server_credentials

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is listened on, and how it is reached from here
_FLUSH_SECONDS = 0.5  # for the last answers to leave; those who watch the server's health would stay for ever


class MatchServer:
    """Serves loaded matchers. Made, started and stopped in one event loop; `serving` brings a loop of its own.

    The matchers may be at work elsewhere in the process: a network's calls wait for each other.
    """

    def __init__(
        self,
        matchers: Sequence[Matcher],
        store: Store | None,
        config: RpcConfig,
        telemetry: Telemetry = NullTelemetry(),  # noqa: B008 - holds nothing
        tracing: Tracing = NullTracing(),  # noqa: B008
    ) -> None:
        """Check what is to be served; nothing is loaded or opened yet.

        Args:
            matchers: what is served, the default first.
            store: of images that are named by keys; None: such requests are refused.
            config: where to listen, and limits.
            telemetry: is told of every request.
            tracing: continues the trace that a request's metadata carry.

        Raises:
            ConfigError: no matcher, or two of one name.
        """
        self._config = config
        self._matching = Matching(matchers, store, config, telemetry)
        self._service = MatchService(self._matching, config, telemetry, tracing)
        self._health = health.aio.HealthServicer()
        self._server: Any = None
        self.port = 0  # once it is started

    @property
    def address(self) -> str:
        """host:port under which this process reaches it."""
        host = _EVERYWHERE.get(self._config.host, self._config.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    async def start(self) -> str:
        """Load the networks and serve; returns the address.

        Raises:
            ConfigError: the certificates are missing or wrong.
            Unavailable: the port is taken, or a network cannot be loaded now.
        """
        credentials = server_credentials(self._config)
        await self._matching.load()
        self._server = grpc.aio.server(options=_options(self._config))
        self._server.add_generic_rpc_handlers((self._service.handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self.port = self._listen(credentials)
        await self._server.start()
        for name in ("", SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return self.address

    async def stop(self, grace_seconds: float = 30.0) -> None:
        """Refuse what is new, finish what is in hand, and stop. A second call does nothing.

        Args:
            grace_seconds: after which what is still in hand is given up; its callers are told UNAVAILABLE.
        """
        server, self._server = self._server, None
        if server is not None:
            await self._health.enter_graceful_shutdown()
            await self._service.drain(grace_seconds)
            await server.stop(_FLUSH_SECONDS)
        await asyncio.get_running_loop().run_in_executor(None, self._matching.close)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _listen(self, credentials: grpc.ServerCredentials | None) -> int:
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        place = f"{host}:{self._config.port}"
        try:
            if credentials is None:
                return int(self._server.add_insecure_port(place))
            return int(self._server.add_secure_port(place, credentials))
        except RuntimeError as error:
            raise Unavailable(
                f"cannot listen on {place}: rpc.port is taken, or rpc.host is not of this machine"
            ) from error


@contextmanager
def serving(
    matchers: Sequence[Matcher],
    store: Store | None,
    config: RpcConfig,
    telemetry: Telemetry = NullTelemetry(),  # noqa: B008 - holds nothing
    tracing: Tracing = NullTracing(),  # noqa: B008
    *,
    grace_seconds: float = 30.0,
) -> Iterator[str]:
    """Serve from a thread for the length of the block; the value is the address.

    Args:
        matchers: as of `MatchServer`, like the next four.
        store: of images that are named by keys.
        config: where to listen, and limits.
        telemetry: is told of every request.
        tracing: continues traces.
        grace_seconds: for what is in hand at the end.

    Raises:
        ConfigError, Unavailable: as for `MatchServer` and its `start`.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="gim-rpc")
    thread.start()

    async def start() -> MatchServer:
        server = MatchServer(matchers, store, config, telemetry, tracing)
        try:
            await server.start()
        except BaseException:
            await server.stop(0)
            raise
        return server

    try:
        server = asyncio.run_coroutine_threadsafe(start(), loop).result()
        try:
            yield server.address
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(grace_seconds), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def _options(config: RpcConfig) -> list[tuple[str, int]]:
    """The limits of gRPC itself: it holds them before a byte of ours is read."""
    return [
        ("grpc.so_reuseport", 0),  # else a second server on the port silently takes half of its calls
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", config.max_message_bytes),
        ("grpc.max_concurrent_streams", config.max_calls),
        ("grpc.keepalive_time_ms", round(1000 * config.keepalive_seconds)),
        ("grpc.keepalive_timeout_ms", round(1000 * config.keepalive_seconds)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", round(1000 * config.min_ping_seconds)),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.max_connection_age_ms", round(1000 * config.max_connection_seconds)),
        ("grpc.max_connection_age_grace_ms", round(1000 * config.max_seconds)),
    ]
