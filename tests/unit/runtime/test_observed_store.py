"""A watched store works as the store itself, and tells of calls, seconds and bytes."""

import pytest

from gim.adapters.store_file import FileStore
from gim.adapters.telemetry_prometheus import PrometheusTelemetry
from gim.errors import GimError, KeyMissing, Unavailable
from gim.runtime.observed_store import ObservedStore
from tests.unit.adapters.test_telemetry_prometheus import samples


@pytest.fixture
def telemetry():
    return PrometheusTelemetry("matcher")


@pytest.fixture
def store(tmp_path, telemetry):
    watched = ObservedStore(FileStore(tmp_path / "store", create=True), telemetry)
    yield watched
    watched.close()


def requests(telemetry, operation, outcome="ok"):
    return samples(telemetry)[f'gim_store_requests_total{{operation="{operation}",outcome="{outcome}"}}']


def bytes_moved(telemetry):
    found = samples(telemetry)
    return tuple(found[f'gim_store_bytes_total{{direction="{way}"}}'] for way in ("in", "out"))


def test_bytes_and_calls_are_counted_both_ways(store, telemetry, tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 1000)
    store.put("a/b", b"12345")
    store.put_file("a/c", tmp_path / "file")
    assert store.get("a/b") == b"12345"
    with store.fetch("a/c") as path:
        assert path.read_bytes() == b"x" * 1000
    assert bytes_moved(telemetry) == (1005, 1005)
    for operation in ("put", "put_file", "get", "fetch"):
        assert requests(telemetry, operation) == 1
        assert samples(telemetry)[f'gim_store_seconds_count{{operation="{operation}"}}'] == 1


def test_what_was_not_written_is_not_counted(store, telemetry):
    assert store.put("a/b", b"123", if_absent=True)
    assert not store.put("a/b", b"456", if_absent=True)
    assert bytes_moved(telemetry) == (0, 3)


def test_a_missing_key_is_an_outcome_of_its_own(store, telemetry):
    with pytest.raises(KeyMissing):
        store.get("a/none")
    with pytest.raises(KeyMissing), store.fetch("a/none"):
        raise AssertionError("not reached")
    assert (requests(telemetry, "get", "missing"), requests(telemetry, "fetch", "missing")) == (1, 1)


def test_an_error_within_a_fetch_is_not_the_stores(store, telemetry):
    store.put("a/b", b"1")
    with pytest.raises(ZeroDivisionError), store.fetch("a/b"):
        raise ZeroDivisionError
    assert (requests(telemetry, "fetch"), requests(telemetry, "fetch", "error")) == (1, 0)


def test_a_listing_is_one_call_however_much_of_it_is_read(store, telemetry):
    for number in range(5):
        store.put(f"a/{number}", b"1")
    assert len(list(store.list("a/"))) == 5
    first = store.list("a/")
    assert next(first) == "a/0"
    first.close()
    assert requests(telemetry, "list") == 2
    assert requests(telemetry, "list", "error") == 0


def test_a_store_that_is_away_is_told_and_raised(telemetry):
    class Away(FileStore):
        def __init__(self):
            pass

        def exists(self, key):
            raise Unavailable("gone")

        def list(self, prefix=""):
            yield "a"
            raise Unavailable("gone")

    store = ObservedStore(Away(), telemetry)
    with pytest.raises(Unavailable):
        store.exists("a")
    with pytest.raises(GimError):
        list(store.list())
    assert (requests(telemetry, "exists", "error"), requests(telemetry, "list", "error")) == (1, 1)
