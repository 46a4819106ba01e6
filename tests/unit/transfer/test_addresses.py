"""Which addresses are public, in every spelling and wrapping an attacker may choose."""

import socket

import pytest

from gim.errors import InvalidInput, Unavailable, UnsafeInput
from gim.transfer.addresses import is_public, resolve_host
from gim.transfer.faults import TransferFault

PRIVATE = [
    *("127.0.0.1", "127.8.9.1", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1"),
    *("203.0.113.9", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255", "168.63.129.16", "192.88.99.1"),
    *(
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "fec0::1",
        "2001:db8::1",
        "100::1",
    ),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::10.1.1.1", "64:ff9b::7f00:1"),
    *("64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::", "2001:0:7f00:1::", "2001::1", "3fff::1"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_is_public_when_the_address_points_inwards_then_no(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "142.250.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2001:4860::8888", "64:ff9b::808:808"],
)
def test_is_public_when_the_address_is_of_the_internet_then_yes(address):
    assert is_public(address)


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0x7f.1", "127.0.0.1", "::1"])
def test_resolve_host_when_loopback_is_spelled_otherwise_then_unsafe(host):
    with pytest.raises(UnsafeInput, match="not a public address"):
        resolve_host(host, 80, allow_private=False)


def test_resolve_host_when_private_addresses_are_allowed_then_returns_them():
    (endpoint,) = resolve_host("127.0.0.1", 8080, allow_private=True)
    assert (endpoint.family, endpoint.address, endpoint.port) == (socket.AF_INET, "127.0.0.1", 8080)


def test_resolve_host_when_the_name_is_no_name_then_invalid():
    with pytest.raises(InvalidInput):
        resolve_host("a" * 70 + ".example", 80, allow_private=False)


@pytest.mark.parametrize(("code", "kind"), [(socket.EAI_AGAIN, TransferFault), (socket.EAI_NONAME, Unavailable)])
def test_resolve_host_when_the_resolver_knows_nothing_then_unavailable(monkeypatch, code, kind):
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(code, "no")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(Unavailable, match=r"cannot resolve 'x\.example'") as raised:
        resolve_host("x.example", 80, allow_private=False)
    assert type(raised.value) is kind
