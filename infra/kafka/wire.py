"""Ask a broker which brokers it knows, in Kafka's own protocol and with the standard library alone.

A TCP connection is answered long before a broker does its work; metadata that lists all brokers is not.
Requests: see "Protocol Guide" in Kafka's documentation, Metadata, version 2 (the first that names the cluster).
"""

import socket
import struct
from dataclasses import dataclass

_METADATA, _VERSION = 3, 2
_CLIENT = b"gim-infra"
_MAX_REPLY_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a broker says of the cluster it belongs to."""

    cluster_id: str
    controller: int  # -1 while there is none
    brokers: tuple[str, ...]  # host:port, as clients are told


def ask_metadata(host: str, port: int, timeout_seconds: float = 5.0) -> Cluster | None:
    """What the broker at an address without security says, or None where none answers."""
    # No topics, an empty array, else all are listed.
    request = struct.pack(f">hhih{len(_CLIENT)}si", _METADATA, _VERSION, 1, len(_CLIENT), _CLIENT, 0)
    try:
        with socket.create_connection((host, port), timeout_seconds) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", _read(connection, 4))
            if not 4 <= size <= _MAX_REPLY_BYTES:
                return None
            return _parse(_read(connection, size))
    except (OSError, EOFError, struct.error, UnicodeDecodeError):
        return None


def _parse(reply: bytes) -> Cluster:
    fields = _Fields(reply)
    fields.take(">i")  # correlation id
    brokers = []
    for _ in range(fields.take(">i")):
        fields.take(">i")  # node id
        brokers.append(f"{fields.text()}:{fields.take('>i')}")
        fields.text()  # rack
    return Cluster(fields.text(), fields.take(">i"), tuple(sorted(brokers)))


class _Fields:
    """The fields of a reply, one after the other."""

    def __init__(self, reply: bytes) -> None:
        self._reply = reply
        self._at = 0

    def take(self, layout: str) -> int:
        (value,) = struct.unpack_from(layout, self._reply, self._at)
        self._at += struct.calcsize(layout)
        return int(value)

    def text(self) -> str:
        length = max(self.take(">h"), 0)  # -1: null
        self._at += length
        if self._at > len(self._reply):
            raise EOFError
        return self._reply[self._at - length : self._at].decode()


def _read(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise EOFError
        received += part
    return bytes(received)
