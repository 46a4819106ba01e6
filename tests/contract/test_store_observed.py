"""A watched store keeps the Store contract."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gim.adapters.store_file import FileStore
from gim.ports.telemetry import NullTelemetry
from gim.runtime.observed_store import ObservedStore
from tests.contract.store_contract import OpenStore, StoreContract


class TestObservedStoreContract(StoreContract):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Iterator[OpenStore]:
        opened: list[ObservedStore] = []

        def open_one() -> ObservedStore:
            opened.append(ObservedStore(FileStore(tmp_path / "store"), NullTelemetry()))
            return opened[-1]

        yield open_one
        for store in opened:
            store.close()

    @pytest.fixture
    def store_program(self, tmp_path: Path) -> str:
        return f"""
from pathlib import Path
from gim.adapters.store_file import FileStore
from gim.ports.telemetry import NullTelemetry
from gim.runtime.observed_store import ObservedStore
store = ObservedStore(FileStore(Path({str(tmp_path / "store")!r})), NullTelemetry())
"""
