"""The downloader waits while labelling lags, or a quota might be passed."""

import math
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from gim.adapters.bus_sqlite import SqliteBus
from gim.adapters.store_file import FileStore
from gim.errors import ConfigError
from gim.runtime.pressure import Pressure
from gim.settings import Settings
from gim.wire import topics


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    with closing(FileStore(tmp_path / "store")) as opened:
        yield opened


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[SqliteBus]:
    with closing(SqliteBus(tmp_path / "bus", survive_power_cut=False)) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _looks_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gim.runtime.pressure._SHARE_OF_TIME", math.inf)


def pressure(store: FileStore, bus: SqliteBus, work_dir: Path, *sets: str) -> Pressure:
    settings = Settings.load(["service.pressure_seconds=0", "source.max_bytes=1000", *sets], environ={})
    return Pressure(settings, store, bus, work_dir)


def test_waits_while_more_segments_lag_than_allowed(store: FileStore, bus: SqliteBus, tmp_path: Path) -> None:
    limited = pressure(store, bus, tmp_path, "service.max_label_lag=2", "matchers=rootsift,loftr")
    for number in range(3):
        bus.publish(topics.SEGMENTS, str(number), b"x")
    bus.flush()
    assert "3 segments wait for matcher rootsift" in limited.why_wait()
    for group in ("label-rootsift", "label-loftr"):
        subscription = bus.subscribe([topics.SEGMENTS], group)
        message = subscription.poll(1.0)
        assert message is not None
        subscription.ack(message)
        subscription.close()
    assert limited.why_wait() == ""


def test_begins_no_video_that_might_pass_the_stores_quota(store: FileStore, bus: SqliteBus, tmp_path: Path) -> None:
    limited = pressure(store, bus, tmp_path, "service.max_store_bytes=3000")
    store.put("videos/a", bytes(2000))
    assert limited.why_wait() == ""
    store.put("videos/b", b"1")
    assert "service.max_store_bytes = 3000" in limited.why_wait()
    store.delete("videos/b")
    assert limited.why_wait() == ""


def test_begins_no_video_that_might_pass_the_work_folders_quota(
    store: FileStore, bus: SqliteBus, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    (work / "inner").mkdir(parents=True)
    limited = pressure(store, bus, work, "service.max_work_bytes=1500")
    assert limited.why_wait() == ""
    (work / "inner" / "half.part").write_bytes(bytes(501))
    assert "service.max_work_bytes = 1500" in limited.why_wait()


def test_downloads_that_end_while_the_work_folder_is_measured_are_no_error(
    store: FileStore, bus: SqliteBus, tmp_path: Path
) -> None:
    work, is_done = tmp_path / "work", threading.Event()

    def come_and_go() -> None:
        while not is_done.is_set():
            for index in range(20):
                (work / f"{index}" / "inner").mkdir(parents=True)
            shutil.rmtree(work)

    with ThreadPoolExecutor(1) as downloads:
        coming = downloads.submit(come_and_go)
        try:
            for _ in range(100):
                assert pressure(store, bus, work, "service.max_work_bytes=1500").why_wait() == ""
        finally:
            is_done.set()
        coming.result()


def test_a_quota_below_one_video_is_refused(store: FileStore, bus: SqliteBus, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"service\.max_work_bytes = 1000 leaves no room"):
        pressure(store, bus, tmp_path, "service.max_work_bytes=1000")


def test_looks_only_from_time_to_time(store: FileStore, bus: SqliteBus, tmp_path: Path) -> None:
    settings = Settings.load(["service.pressure_seconds=3600", "service.max_label_lag=0"], environ={})
    limited = Pressure(settings, store, bus, tmp_path)
    assert limited.why_wait() == ""
    bus.publish(topics.SEGMENTS, "k", b"x")
    bus.flush()
    assert limited.why_wait() == ""
