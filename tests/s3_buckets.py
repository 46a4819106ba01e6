"""Buckets of one's own on a real S3 server, for tests: made, opened in this process or another, gone at the end."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

from gim.adapters.s3.config import S3Config
from gim.adapters.s3.store import MinioStore
from tests.servers import S3Server


def config_of(server: S3Server, **changes: Any) -> S3Config:
    """The server's administrator; `changes` are fields of the config."""
    known = {"endpoint": server.endpoint, "region": server.region}
    keys = {"access_key": server.access_key, "secret_key": server.secret_key}
    return S3Config(**{**known, **keys, **changes})


@contextmanager
def bucket_on(server: S3Server) -> Iterator[str]:
    """A bucket of one's own, gone at the end."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with closing(MinioStore(config_of(server), name, create=True)) as store:
        try:
            yield name
        finally:
            empty(store)
            store._client.remove_bucket(bucket_name=name)


def empty(store: MinioStore) -> None:
    """Delete every object, also those whose names are no keys."""
    with ThreadPoolExecutor(4) as threads:
        while page := store._client.page("", "", 1000):
            list(threads.map(store._client.remove, [str(entry.object_name) for entry in page]))


def program_of(server: S3Server, bucket: str) -> str:
    """Python source that binds `store` to a handle on a bucket."""
    return f"""
from pathlib import Path
from gim.adapters.s3.config import S3Config
from gim.adapters.s3.store import MinioStore
config = S3Config(endpoint={server.endpoint!r}, access_key={server.access_key!r}, secret_key={server.secret_key!r})
store = MinioStore(config, {bucket!r})
"""
