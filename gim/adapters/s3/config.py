"""How an object store that speaks S3 is reached. Imports no client."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class S3Config:
    """A server and how this process proves who it is; the bucket is named by the store, `s3://bucket`."""

    endpoint: str = ""  # http(s)://host:port
    region: str = "us-east-1"  # stated, since a key of few rights may not ask for it
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    access_key_file: str = ""  # its first line is the access key; stronger than access_key
    secret_key_file: str = ""
    ca_file: str = ""  # PEM; empty: the system's authorities
    connect_timeout_seconds: float = 5.0
    read_timeout_seconds: float = 30.0  # without a byte
    max_attempts: int = 5  # of one request that a server refuses for now, before the worker's own patience begins
    part_bytes: int = 8 * 2**20  # larger files go up and come down in parts of this size, one in memory; at least 5 MiB
    connections: int = 16  # held open at most; a further thread waits for one
