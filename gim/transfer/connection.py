"""One guarded HTTP GET: http(s) only, each hop's address checked, and connected to as checked.

The standard library's client is used as it is, but for `connect`, and for answers whose head broke off: the socket
goes to the address that was checked (no second look-up that could answer differently), while the certificate is
verified against the name in the URL.
Proxies, cookies and credentials do not exist here. Retries are `download`'s business, naming faults is `faults`'s.
"""

import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

from gim.errors import InvalidInput, Unavailable
from gim.transfer.addresses import Endpoint, resolve_host
from gim.transfer.faults import TransferFault, faults_named
from gim.transfer.limits import TransferLimits
from gim.transfer.urls import normalise_url, without_query
from gim.transfer.whole_head import WholeHeadResponse

_MAX_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({408, 425, 429})


class _PinnedConnection(http.client.HTTPConnection):
    """Connects to checked addresses, whatever the host's name says by now."""

    response_class = WholeHeadResponse

    def __init__(self, host: str, port: int, endpoints: list[Endpoint], timeout_seconds: float) -> None:
        super().__init__(host, port, timeout=timeout_seconds)
        self._endpoints = endpoints
        self._timeout_seconds = timeout_seconds

    def connect(self) -> None:
        self.sock = connect_first(self._endpoints, self._timeout_seconds)


class _PinnedTLSConnection(_PinnedConnection):
    """The same over TLS; the certificate must be valid for the host's name."""

    default_port = http.client.HTTPS_PORT

    def connect(self) -> None:
        super().connect()
        self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


@contextmanager
def open_url(
    url: str, headers: Mapping[str, str], limits: TransferLimits
) -> Iterator[tuple[str, http.client.HTTPResponse]]:
    """GET a URL and follow its redirects; yields the URL that answered and its response of status 200, 206 or 416.

    Args:
        url: normalised.
        headers: of the request, sent at every hop.
        limits: whether private addresses are allowed, and the longest silence.

    Raises:
        InvalidInput: the server says no (4xx), redirects in a circle, or to where it must not (`UnsafeInput`).
        TransferFault: network trouble, 5xx, 429: worth another attempt. Reading the body is up to the caller, inside
            `faults_named`.
    """
    hop = url
    for _ in range(_MAX_REDIRECTS):
        connection = _open_connection(hop, limits)
        try:
            with _request(connection, hop, headers, limits) as response:  # which may own the socket by now
                if response.status not in _REDIRECTS:
                    _check_status(hop, response)
                    yield hop, response
                    return
                hop = normalise_url(urljoin(hop, response.headers.get("Location", "")))
        finally:
            connection.close()
    raise InvalidInput(f"{without_query(url)}: redirects more than {_MAX_REDIRECTS} times")


def _open_connection(url: str, limits: TransferLimits) -> _PinnedConnection:
    parts = urlsplit(url)
    kind = _PinnedTLSConnection if parts.scheme == "https" else _PinnedConnection
    host = parts.hostname or ""
    port = parts.port or kind.default_port
    try:
        endpoints = resolve_host(host, port, allow_private=limits.allow_private_addresses)
    except (InvalidInput, Unavailable) as error:
        raise type(error)(f"{without_query(url)}: {error}") from error
    return kind(host, port, endpoints, limits.timeout_seconds)


def connect_first(endpoints: list[Endpoint], timeout_seconds: float) -> socket.socket:
    """A connection to the first address that takes one.

    Raises:
        OSError: none does.
    """
    failure: OSError | None = None
    for endpoint in endpoints:
        connected = socket.socket(endpoint.family, socket.SOCK_STREAM)
        try:
            connected.settimeout(timeout_seconds)
            connected.connect((endpoint.address, endpoint.port))
        except OSError as error:
            connected.close()
            failure = error
        else:
            return connected
    raise failure or OSError("no address to connect to")


def _request(
    connection: _PinnedConnection, url: str, headers: Mapping[str, str], limits: TransferLimits
) -> http.client.HTTPResponse:
    parts = urlsplit(url)
    with faults_named(url, limits):
        connection.request("GET", parts.path + (f"?{parts.query}" if parts.query else ""), headers=dict(headers))
        return connection.getresponse()


def _check_status(url: str, response: http.client.HTTPResponse) -> None:
    status = response.status
    if status in {200, 206, 416}:
        return
    said = f"{without_query(url)}: the server answered {status} {_printable(response.reason)}"
    if status >= 500 or status in _TRANSIENT:
        raise TransferFault(said, _retry_after_seconds(response.headers))
    raise InvalidInput(said)


def _printable(text: str) -> str:
    return "".join(filter(str.isprintable, text))[:60]


def _retry_after_seconds(headers: http.client.HTTPMessage) -> float:
    """RFC 9110, 10.2.3: whole seconds, or a date, which is read by the server's own clock."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return (parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("Date", ""))).total_seconds()
    except (TypeError, ValueError):
        return 0.0
