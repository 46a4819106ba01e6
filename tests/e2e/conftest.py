"""What tests of whole commands and pages may ask for."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.browser import FLAGS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.e2e.cluster import Cluster
    from tests.servers import S3Server


@pytest.fixture(scope="module")
def browser(chromium: Path) -> "Iterator[Browser]":
    """A browser that reaches this machine only."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def system(
    tmp_path: Path, kafka_servers: tuple[str, ...], minio_server: "S3Server", unique: str
) -> "Iterator[Cluster]":
    """A deployed system whose clips have several segments and shards; nothing is started yet."""
    from tests.e2e.cluster import cluster
    from tests.e2e.undisturbed import SETS

    with cluster(tmp_path, kafka_servers, minio_server, unique, **SETS) as opened:
        yield opened
