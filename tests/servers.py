"""The real servers of the tests: started by `make servers-up` (which `make test` does), found through `.run/`.

Tests that kill or restart a server start one of their own: `own_kafka`, `own_minio`.
"""

import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import infra.kafka
import infra.minio
from infra.state import TOOLS, read_state
from infra.tools import ALL
from tests.requirements import lacks


@dataclass(frozen=True)
class S3Server:
    """One that speaks S3, and its administrator."""

    name: str
    endpoint: str
    region: str
    access_key: str
    secret_key: str


def state_of(server: str) -> dict:
    """How to reach a server that is there now; a test without it is skipped, or fails where servers are required."""
    state = read_state(server)
    if state is None or not _is_there(state):
        lacks("servers", f"{server} is not running: make servers-up")
    assert state is not None
    return state


def _is_there(state: dict) -> bool:
    address = state["bootstrap_servers"][0] if "bootstrap_servers" in state else state.get("endpoint") or state["url"]
    parts = urlsplit(address if "//" in address else f"//{address}")
    try:
        with socket.create_connection((parts.hostname, parts.port), timeout=30):
            return True
    except OSError:
        return False


def needs_tool(name: str) -> Path:
    """The path of an installed program or folder of `infra.tools`, or the test is skipped, or fails."""
    tool = ALL[name]
    if not tool.is_installed(TOOLS):
        lacks("servers", f"{name} is not installed: python -m infra install {name}")
    return tool.path(TOOLS)


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Callable[..., infra.kafka.KafkaCluster]]:
    """Starts clusters that a test may kill: `own_kafka(brokers=3)`, see `infra.kafka.start`. They end with the test."""
    needs_tool("kafka")
    with ExitStack() as stack:

        def start(**options) -> infra.kafka.KafkaCluster:
            folder = tmp_path / f"kafka-{uuid.uuid4().hex[:6]}"
            return stack.enter_context(infra.kafka.start(folder, **options))

        yield start


@pytest.fixture
def own_minio(tmp_path: Path) -> Iterator[infra.minio.Minio]:
    """A MinIO that a test may kill, pause and restart."""
    needs_tool("minio")
    with infra.minio.start(tmp_path / "minio") as server:
        yield server


@pytest.fixture(scope="session")
def kafka_servers() -> tuple[str, ...]:
    """Bootstrap servers of a running Kafka. Use topics and groups of your own: see `unique`."""
    return tuple(state_of("kafka")["bootstrap_servers"])


@pytest.fixture(scope="session", params=["minio", "versitygw"])
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    """Each running S3 server. Use a bucket of your own."""
    return s3_server_of(request.param)


@pytest.fixture(scope="session")
def minio_server() -> S3Server:
    return s3_server_of("minio")


def s3_server_of(name: str) -> S3Server:
    state = state_of(name)
    return S3Server(name, state["endpoint"], state["region"], state["access_key"], state["secret_key"])


@pytest.fixture
def unique() -> str:
    """A short name that nobody else uses: for a prefix of topics and groups, or a bucket."""
    return f"t{uuid.uuid4().hex[:10]}"
