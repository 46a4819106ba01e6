"""Which network addresses a download may connect to. Resolves names once and hands back what was checked.

Server-side request forgery is refused here: a URL, or a redirect of one, must not reach this machine, its network or
a cloud's metadata service. The check is made on the resolved address, so every spelling of it (decimal, octal,
IPv4-mapped, a name that points inwards) is the same to it, and the caller connects to that very address.
"""

import ipaddress
import socket
from dataclasses import dataclass

from gim.errors import InvalidInput, Unavailable, UnsafeInput
from gim.transfer.faults import TransferFault

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Public by number, yet a host's own control channel: Azure's wire server.
_METADATA = frozenset({ipaddress.ip_address("168.63.129.16")})
# Networks that carry an IPv4 address in their low or middle bits, past what `ipaddress` unwraps by itself.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "3fff::/20",
        "fec0::/10",
    )
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address that was checked and may be connected to."""

    family: socket.AddressFamily
    address: str  # numeric
    port: int


def resolve_host(host: str, port: int, *, allow_private: bool) -> list[Endpoint]:
    """The checked addresses of a host, in the order the resolver prefers.

    Args:
        host: name or numeric address, without brackets.
        port: goes into the endpoints unchanged.
        allow_private: skip the check (intranets, tests).

    Raises:
        UnsafeInput: one of its addresses is not public. One is enough: a name that answers with both is an attack.
        InvalidInput: the text cannot be a host's name.
        Unavailable: the resolver knows no such host, for a wrong name as for a machine without a network;
            `TransferFault` when it says itself that it may know later.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise InvalidInput(f"{host[:80]!r} is not a host name") from error
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise TransferFault(f"cannot resolve {host!r} now ({error.strerror})") from error
        raise Unavailable(f"cannot resolve {host!r}: is the name right, and is there a network?") from error
    endpoints = [Endpoint(family, str(address[0]), port) for family, _, _, _, address in found]
    for endpoint in endpoints:
        if not allow_private and not is_public(endpoint.address):
            raise UnsafeInput(
                f"{host!r} is at {endpoint.address}, which is not a public address; "
                "allow it with --set source.allow_private_addresses=true"
            )
    return endpoints


def is_public(address: str) -> bool:
    """Whether a numeric address lies in the public Internet, whatever it is wrapped in."""
    if "%" in address:  # a zone: link-local by definition
        return False
    ip: _Address = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = _embedded_ipv4(ip)
        if inner is not None:
            return is_public(str(inner))
    if any(ip.version == network.version and ip in network for network in _NOT_PUBLIC):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and ip not in _METADATA


def _embedded_ipv4(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip in _NAT64 or ip in _IPV4_COMPATIBLE:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return None
