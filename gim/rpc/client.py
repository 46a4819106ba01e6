"""The client of matching servers: single pairs, many pairs over one stream, and what is served.

Matching has no effect, so whatever a server that went away has not answered is asked of the next one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self, TypeVar

import grpc

from gim.errors import ConfigError, InvalidInput
from gim.records import Correspondences, Uint8Array
from gim.rpc.config import RpcConfig
from gim.rpc.messages import (
    SERVICE,
    ImageSource,
    RemoteMatch,
    ServedMatcher,
    image_message,
    remote_match,
    served_matcher,
)
from gim.rpc.patience import Patience, refusal_of_call
from gim.rpc.streaming import PairStream, StreamEnded
from gim.rpc.tls import channel_credentials
from gim.wire.v1.matcher_pb2 import (
    ListMatchersRequest,
    ListMatchersResponse,
    MatchRequest,
    MatchResponse,
    MatchStreamRequest,
    MatchStreamResponse,
    RobustFit,
)

Result = TypeVar("Result")
_CONFIG = RpcConfig()


class PairSource(NamedTuple):
    """Two images to be matched, each in any of the forms of `ImageSource`."""

    image0: ImageSource
    image1: ImageSource
    mask0: Uint8Array | None = None
    mask1: Uint8Array | None = None


class MatcherClient:
    """Asks one or several servers. Safe to use from any thread, not across a fork."""

    def __init__(self, address: str, config: RpcConfig = _CONFIG) -> None:
        """Connect on use.

        Args:
            address: host:port, several joined by commas; a name may stand for several servers.
            config: certificates, limits, patience.

        Raises:
            ConfigError: the address is malformed, or the certificates are.
        """
        self.address = address
        self._config = config
        credentials = channel_credentials(config)
        places = [_checked_place(place.strip()) for place in address.split(",")]
        self._servers = [_Server(place, config, credentials) for place in places]
        self._preferred = 0  # of the servers; the next one after one that is away

    def match(
        self,
        image0: ImageSource,
        image1: ImageSource,
        mask0: Uint8Array | None = None,
        mask1: Uint8Array | None = None,
        **options: Any,
    ) -> Correspondences:
        """Correspondences of two images, in pixels of the images as displayed; options and errors as of `ask`."""
        return self.ask(image0, image1, mask0, mask1, **options).found

    def ask(
        self,
        image0: ImageSource,
        image1: ImageSource,
        mask0: Uint8Array | None = None,
        mask1: Uint8Array | None = None,
        *,
        matcher: str = "",
        fit: RobustFit | None = None,
        max_correspondences: int = 0,
        timeout_seconds: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> RemoteMatch:
        """All that a server says of two images.

        Args:
            image0: pixels, the bytes of a JPEG or PNG file, or a key of the server's store.
            image1: the same.
            mask0: uint8 [H, W], 0 = ignore; None: nowhere.
            mask1: the same.
            matcher: its name; empty: the server's default.
            fit: a robust fit for the server to make.
            max_correspondences: the most confident; 0: all.
            timeout_seconds: for the answer, attempts at other servers included; None: `rpc.max_seconds`.
            headers: of a trace that goes on there.

        Raises:
            InvalidInput, UnknownMatcher, KeyMissing, ConfigError: what the server refuses.
            Unavailable: no server answered in time, or it is busy.
        """
        request = self._request(PairSource(image0, image1, mask0, mask1), matcher, fit, max_correspondences)
        sent = tuple((headers or {}).items())
        return remote_match(
            self._retried(lambda server, left: server.match(request, timeout=left, metadata=sent), timeout_seconds)
        )

    def match_many(
        self, pairs: Iterable[PairSource], *, matcher: str = "", timeout_seconds: float | None = None
    ) -> Iterator[Correspondences]:
        """Correspondences of many pairs, in order, over one stream.

        Args:
            pairs: read no further than `rpc.max_stream_requests` ahead.
            matcher: its name; empty: the server's default.
            timeout_seconds: for each pair; None: `rpc.max_seconds`.

        Raises:
            GimError: as of `ask`, at the first pair that fails.
        """
        seconds = timeout_seconds or self._config.max_seconds
        requests = (
            MatchStreamRequest(id=number, request=self._request(pair, matcher), timeout_seconds=seconds)
            for number, pair in enumerate(pairs)
        )
        stream = PairStream(requests, self._config.max_stream_requests, seconds)
        patience = self._patience(None)
        while True:
            server = self._server
            try:
                for response in stream.answers(server.match_stream):
                    patience = self._patience(None)  # it gets on
                    yield remote_match(response).found
            except StreamEnded as error:
                self._preferred += 1
                patience.wait_or_raise(error.refusal, server.place)
            else:
                return

    def list_matchers(self) -> list[ServedMatcher]:
        """What is served, the default first.

        Raises:
            ConfigError, Unavailable: as of `ask`.
        """
        found: ListMatchersResponse = self._retried(
            lambda server, left: server.list_matchers(ListMatchersRequest(), timeout=left), None
        )
        return [served_matcher(info) for info in found.matchers]

    def close(self) -> None:
        """Give the connections up. A second call does nothing."""
        for server in self._servers:
            server.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _server(self) -> "_Server":
        return self._servers[self._preferred % len(self._servers)]

    def _patience(self, timeout_seconds: float | None) -> Patience:
        return Patience(len(self._servers), self._config.retry_seconds, timeout_seconds)

    def _retried(self, call: "Callable[[_Server, float | None], Result]", timeout_seconds: float | None) -> Result:
        patience = self._patience(timeout_seconds or self._config.max_seconds)
        while True:
            server = self._server
            try:
                return call(server, patience.left)
            except grpc.RpcError as error:
                self._preferred += 1
                patience.wait_or_raise(refusal_of_call(error), server.place)

    def _request(
        self, pair: PairSource, matcher: str, fit: RobustFit | None = None, max_correspondences: int = 0
    ) -> MatchRequest:
        request = MatchRequest(
            image0=image_message(pair.image0, pair.mask0),
            image1=image_message(pair.image1, pair.mask1),
            matcher=matcher,
            fit=fit,
            max_correspondences=max_correspondences,
        )
        if (num_bytes := request.ByteSize()) > self._config.max_message_bytes:
            limit = f"rpc.max_message_bytes={self._config.max_message_bytes}"
            raise InvalidInput(f"two images of {num_bytes} bytes together exceed {limit}: send smaller ones")
        return request


class _Server:
    """A connection, and what can be called over it."""

    def __init__(self, place: str, config: RpcConfig, credentials: grpc.ChannelCredentials | None) -> None:
        self.place = place
        options = _options(config)
        self.channel = (
            grpc.insecure_channel(place, options)
            if credentials is None
            else grpc.secure_channel(place, credentials, options)
        )
        self.match: Any = self._call(self.channel.unary_unary, "Match", MatchResponse)
        self.match_stream: Any = self._call(self.channel.stream_stream, "MatchStream", MatchStreamResponse)
        self.list_matchers: Any = self._call(self.channel.unary_unary, "ListMatchers", ListMatchersResponse)

    @staticmethod
    def _call(make: Any, method: str, answer: Any) -> Any:
        return make(
            f"/{SERVICE}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )


def _checked_place(place: str) -> str:
    host, colon, port = place.rpartition(":")
    if not host or not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"matching server {place!r}: expected HOST:PORT, several joined by commas")
    return place


def _options(config: RpcConfig) -> list[tuple[str, int | str]]:
    return [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", -1),  # checked before, with words of ours
        ("grpc.keepalive_time_ms", round(1000 * config.keepalive_seconds)),
        ("grpc.keepalive_timeout_ms", round(1000 * config.keepalive_seconds)),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2000),
        ("grpc.enable_retries", 0),  # there is one place that asks again, and it knows of other servers
        ("grpc.lb_policy_name", "round_robin"),  # over the servers behind one name
    ]
