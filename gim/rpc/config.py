"""How matching is served and called over gRPC. Imports no gRPC."""

import math
from dataclasses import dataclass, fields

from gim.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RpcConfig:
    """A matching server, and what a client needs to reach one."""

    host: str = "0.0.0.0"  # all addresses, as inside a pod
    port: int = 50051  # 0: any free one
    max_message_bytes: int = 32 * 2**20  # of a request or a response
    max_pixels: int = 64 * 10**6  # of one image, before it is decoded
    max_waiting: int = 64  # requests; more are refused at once
    max_waiting_bytes: int = 256 * 2**20  # of their images; streamed requests have as much room again, and wait
    max_decoded_pixels: int = 256 * 10**6  # of images that are decoded and not yet matched, 3 bytes each
    max_batch: int = 8  # requests computed together
    batch_wait_seconds: float = 0.005  # for more requests to fill a batch
    threads: int = 0  # for decoding, fitting and matchers that are no networks; 0 = the cores
    max_seconds: float = 60.0  # of a request that states no deadline, and the longest that is granted
    max_streams: int = 64  # open at a time; more are refused at once
    max_stream_requests: int = 16  # of one stream in hand; it is read on when one of them has been taken by its reader
    max_calls: int = 128  # of one connection at a time; a client keeps further ones back by itself
    keepalive_seconds: float = 30.0  # of silence, then a peer is asked whether it lives, and has as long to answer
    min_ping_seconds: float = 10.0  # a peer that pings more often without cause is sent away
    max_connection_seconds: float = 1800.0  # then a client connects anew, and finds servers that are new
    cert_file: str = ""  # PEM: serve TLS; for a client, its own certificate
    key_file: str = ""
    ca_file: str = ""  # PEM: a server asks clients for certificates of it; a client trusts servers of it
    retry_seconds: float = 20.0  # a client asks again for so long while a server is away

    def __post_init__(self) -> None:
        """Refuse limits that would let nothing through."""
        may_be_zero = ("port", "threads", "batch_wait_seconds", "retry_seconds")
        for item in fields(self):
            value = getattr(self, item.name)
            is_number = isinstance(value, (int, float))
            if is_number and not (0 if item.name in may_be_zero else 1e-9) <= value < math.inf:
                raise ConfigError(f"setting rpc.{item.name} = {value}: expected a number above 0")
