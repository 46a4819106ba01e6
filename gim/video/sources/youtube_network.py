"""How yt-dlp reaches the network: by one handler, which connects to nothing but addresses that were checked.

A page of YouTube, or a play list it leads to, names further addresses, and each name is resolved anew. yt-dlp's own
handlers connect wherever that leads, and there are several, one of them not in Python. This one does http and https
without a proxy; every connection, those of redirects included, goes to an address that `resolve_host` checked.
"""

import socket
import urllib.request
from functools import partial
from http.client import HTTPConnection
from typing import Any

import yt_dlp
from yt_dlp.networking import Request, Response
from yt_dlp.networking._urllib import HTTPHandler, RedirectHandler, UrllibRH
from yt_dlp.networking.exceptions import RequestError, TransportError

from gim.errors import Unavailable, UnsafeInput
from gim.transfer.addresses import resolve_host
from gim.transfer.connection import connect_first


class GuardedClient(yt_dlp.YoutubeDL):  # type: ignore[misc]  # it has no types
    """yt-dlp with that one handler, whatever other ones are installed."""

    def __init__(self, options: dict[str, Any], *, allow_private_addresses: bool) -> None:
        self._handler = partial(_GuardedRH, allow_private_addresses=allow_private_addresses)
        super().__init__(options)

    def build_request_director(self, _handlers: Any, preferences: Any = None) -> Any:
        """What sends all requests; asked for by yt-dlp when there is one to send."""
        return super().build_request_director([self._handler], preferences)


class _GuardedRH(UrllibRH):  # type: ignore[misc]
    _SUPPORTED_URL_SCHEMES = ("http", "https")

    def __init__(self, *, allow_private_addresses: bool, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._allow_private_addresses = allow_private_addresses

    def _create_instance(
        self,
        proxies: object,  # noqa: ARG002 - there are none
        cookiejar: Any,
        legacy_ssl_support: bool | None = None,
    ) -> urllib.request.OpenerDirector:
        opener = urllib.request.OpenerDirector()
        opener.addheaders = []
        for handler in (
            _GuardedHTTPHandler(self._connect, context=self._make_sslcontext(legacy_ssl_support=legacy_ssl_support)),
            urllib.request.HTTPCookieProcessor(cookiejar),
            urllib.request.UnknownHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            RedirectHandler(),
        ):
            opener.add_handler(handler)
        return opener

    def _send(self, request: Request) -> Response:
        try:
            return super()._send(request)
        except UnsafeInput as error:
            raise RequestError(cause=error) from error  # of the kinds that yt-dlp does not try again
        except Unavailable as error:
            raise TransportError(cause=error) from error

    def _connect(self, address: tuple[str, int], timeout_seconds: float, _source: object = None) -> socket.socket:
        endpoints = resolve_host(*address, allow_private=self._allow_private_addresses)
        return connect_first(endpoints, timeout_seconds)


class _GuardedHTTPHandler(HTTPHandler):  # type: ignore[misc]
    """Opens the library's connections by a function of ours; TLS, on top of it, still checks the host's name."""

    def __init__(self, connect: Any, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._connect = connect

    def do_open(self, make_connection: Any, request: urllib.request.Request, **arguments: Any) -> Any:
        def make(*positional: Any, **named: Any) -> HTTPConnection:
            connection: HTTPConnection = make_connection(*positional, **named)
            connection._create_connection = self._connect  # type: ignore[attr-defined]  # noqa: SLF001 - its only door
            return connection

        return super().do_open(make, request, **arguments)
