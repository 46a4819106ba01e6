"""Opens what the settings name: which Store, which Bus. The clients of servers are imported here, on use."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay
from tenacity.wait import wait_fixed

from gim.adapters.store_file import FileStore
from gim.errors import ConfigError, Unavailable
from gim.ports.bus import Bus
from gim.ports.store import Store
from gim.settings import Settings

Result = TypeVar("Result")

_S3 = "s3://"
_PAUSE_SECONDS = 1.0


def is_remote(settings: Settings) -> bool:
    """Whether the store is an object store, and not a folder."""
    return settings.store.startswith(_S3)


def open_store(settings: Settings, *, create: bool = False) -> Store:
    """The store that the settings name: a folder, or `s3://bucket` at `s3.endpoint`.

    Raises:
        ConfigError: the folder is no store, or the settings say too little to reach the bucket.
        Unavailable: it cannot be reached.
    """
    if not is_remote(settings):
        return FileStore(Path(settings.store), create=create)
    bucket = settings.store.removeprefix(_S3).strip("/")
    if not bucket or "/" in bucket:
        raise ConfigError(f"store {settings.store}: expected s3://BUCKET")
    from gim.adapters.s3.store import MinioStore  # noqa: PLC0415 - on use

    return MinioStore(settings.s3, bucket, create=create)


def open_bus(settings: Settings, *, client_id: str = "gim") -> Bus:
    """The Kafka cluster that the settings name.

    Raises:
        ConfigError: they name none, or say too little to reach it.
        Unavailable: it cannot be reached.
    """
    if not settings.kafka.bootstrap_servers:
        raise ConfigError("no Kafka: set kafka.bootstrap_servers, as in GIM_KAFKA__BOOTSTRAP_SERVERS=localhost:9092")
    from gim.adapters.kafka.bus import KafkaBus  # noqa: PLC0415 - on use

    return KafkaBus(settings.kafka, client_id=client_id)


def patiently(action: Callable[[], Result], wait_seconds: float) -> Result:
    """What `action` returns, tried again while a server is away.

    Raises:
        Unavailable: it still was, so long after the beginning.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(Unavailable),
        stop=stop_after_delay(wait_seconds),
        wait=wait_fixed(_PAUSE_SECONDS),
        reraise=True,
    )
    return retrying(action)
