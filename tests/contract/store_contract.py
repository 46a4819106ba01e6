"""What every Store adapter must show. A suite derives from `StoreContract` and says how its store is opened.

`store_machine` makes the same promise against a dict, for whatever order of calls hypothesis thinks of.
"""

import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gim.errors import InvalidInput, KeyMissing
from gim.ports.store import Store
from tests.contract.processes import run_program

OpenStore = Callable[[], Store]
BAD_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    "..",
    "a/../b",
    ".hidden",
    "a/.b",
    "a b",
    "a\\b",
    "ä",
    "a\n",
    "a\0b",
    "a" * 600,
]


class StoreContract:
    """Derive, and define the fixtures `open_store` (every call a new handle on the same store) and `store_program`
    (Python source that binds `store` to one more handle)."""

    @pytest.fixture
    def open_store(self) -> Iterator[OpenStore]:
        raise NotImplementedError

    @pytest.fixture
    def store_program(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def store(self, open_store: OpenStore) -> Store:
        return open_store()

    @pytest.mark.parametrize("data", [b"", b"\0\xff", b"x" * 300_000])
    def test_get_returns_what_was_put(self, store: Store, open_store: OpenStore, data: bytes) -> None:
        assert store.put("a/b.npz", data) is True
        assert open_store().get("a/b.npz") == data
        assert store.size("a/b.npz") == len(data)
        assert store.exists("a/b.npz")

    def test_put_when_present_replaces_and_equal_bytes_are_harmless(self, store: Store) -> None:
        for data in (b"old", b"old", b"new"):
            assert store.put("k", data) is True
            assert store.get("k") == data

    def test_put_if_absent_when_present_keeps_the_first(self, store: Store, open_store: OpenStore) -> None:
        assert store.put("k", b"first", if_absent=True) is True
        assert open_store().put("k", b"second", if_absent=True) is False
        assert store.get("k") == b"first"

    def test_put_if_absent_by_many_threads_has_one_winner(self, open_store: OpenStore) -> None:
        stores = [open_store() for _ in range(8)]
        barrier = threading.Barrier(len(stores))

        def put(index: int, round_: int) -> bool:
            barrier.wait()
            return stores[index].put(f"race/{round_}", str(index).encode(), if_absent=True)

        with ThreadPoolExecutor(len(stores)) as threads:
            for round_ in range(5):
                won = list(threads.map(put, range(len(stores)), [round_] * len(stores)))
                assert sum(won) == 1
                assert stores[0].get(f"race/{round_}") == str(won.index(True)).encode()

    def test_put_if_absent_by_many_threads_on_one_handle_stores_what_the_winner_wrote(self, store: Store) -> None:
        num_writers, num_rounds = 16, 20
        barrier = threading.Barrier(num_writers)

        def put(writer: int) -> list[bool]:
            won = []
            for round_ in range(num_rounds):
                barrier.wait()
                won.append(store.put(f"first/{round_}", f"by {writer}".encode() * 2000, if_absent=True))
            return won

        with ThreadPoolExecutor(num_writers) as threads:
            won = list(threads.map(put, range(num_writers)))
        for round_ in range(num_rounds):
            winners = [writer for writer in range(num_writers) if won[writer][round_]]
            assert len(winners) == 1
            assert store.get(f"first/{round_}") == f"by {winners[0]}".encode() * 2000

    def test_object_put_by_another_process_is_seen(self, store: Store, store_program: str) -> None:
        run_program(f"{store_program}\nstore.put('from/child', b'hello')\nstore.close()")
        assert store.get("from/child") == b"hello"

    def test_missing_key_raises_key_missing_that_names_it(self, store: Store) -> None:
        store.put("a/b", b"")
        for key in ("nothing", "a", "a/b/c", "a/c"):
            assert not store.exists(key)
            with pytest.raises(KeyMissing, match=key):
                store.get(key)
            with pytest.raises(KeyMissing, match=key):
                store.size(key)
            with pytest.raises(KeyMissing, match=key), store.fetch(key):
                pass

    def test_delete_removes_and_a_missing_key_is_no_error(self, store: Store) -> None:
        store.put("a/b", b"1")
        store.put("a/c", b"2")
        store.delete("a/b")
        store.delete("a/b")
        store.delete("never/there")
        assert not store.exists("a/b")
        assert list(store.list()) == ["a/c"]
        store.put("a/b", b"again")
        assert store.get("a/b") == b"again"

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_bad_key_is_refused_by_every_call(self, store: Store, tmp_path: Path, key: str) -> None:
        file = tmp_path / "file"
        file.write_bytes(b"x")
        calls: list[Callable[[], object]] = [
            lambda: store.put(key, b"x"),
            lambda: store.put_file(key, file),
            lambda: store.get(key),
            lambda: store.fetch(key).__enter__(),
            lambda: store.exists(key),
            lambda: store.size(key),
            lambda: store.delete(key),
        ]
        for call in calls:
            with pytest.raises(InvalidInput):
                call()

    def test_list_is_sorted_by_whole_keys_and_filtered_by_prefix(self, store: Store) -> None:
        names = ["a/b", "a-b", "a.b", "a0", "a/b0/c", "a/b.c/d", "a/b-c", "B", "a/_", "ab/c", "a=1"]
        for name in names:
            store.put(name, b"")
        for prefix in ("", "a", "a/", "a/b", "a/b.", "a/b0/", "ab", "c", "a/b0/c", "a/b0/c0"):
            assert list(store.list(prefix)) == sorted(name for name in names if name.startswith(prefix)), prefix

    def test_usage_is_the_bytes_below_a_prefix(self, store: Store) -> None:
        for key, size in {"a/b": 3, "a/c/d": 50_000, "a-b": 7, "b": 1, "c": 0}.items():
            store.put(key, b"x" * size)
        for prefix, expected in {"": 50_011, "a": 50_010, "a/": 50_003, "a/c": 50_000, "c": 0, "nothing/": 0}.items():
            assert store.usage(prefix) == expected, prefix
        store.put("a/b", b"shorter"[:1])
        store.delete("a/c/d")
        assert store.usage("a/") == 1

    @pytest.mark.parametrize("prefix", ["/", "/a", "../", "a//", "a b"])
    def test_list_and_usage_refuse_a_bad_prefix(self, store: Store, prefix: str) -> None:
        with pytest.raises(InvalidInput):
            store.usage(prefix)
        with pytest.raises(InvalidInput):
            store.list(prefix)

    def test_file_goes_in_and_out_unchanged(self, store: Store, tmp_path: Path) -> None:
        data = bytes(range(256)) * 20_000
        source = tmp_path / "source.mp4"
        source.write_bytes(data)
        store.put_file("videos/v/source.mp4", source)
        source.write_bytes(b"changed later")
        assert store.size("videos/v/source.mp4") == len(data)
        with store.fetch("videos/v/source.mp4") as path:
            assert path.read_bytes() == data
        assert store.get("videos/v/source.mp4") == data

    def test_put_file_when_there_is_no_file_says_so(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match=r"absent\.mp4"):
            store.put_file("k", tmp_path / "absent.mp4")
        assert list(store.list()) == []

    def test_large_file_is_not_held_in_memory(self, store: Store, tmp_path: Path) -> None:
        source = tmp_path / "large"
        with source.open("wb") as file:
            file.truncate(48 * 2**20)
        tracemalloc.start()
        try:
            store.put_file("large", source)
            with store.fetch("large") as path, path.open("rb") as file:
                assert file.seek(0, 2) == 48 * 2**20
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak_bytes < 12 * 2**20

    def test_reader_during_overwriting_sees_whole_objects_only(self, store: Store, open_store: OpenStore) -> None:
        versions = [letter * 200_000 for letter in (b"a", b"b")]
        store.put("k", versions[0])
        reader, seen, done = open_store(), set[bytes](), threading.Event()

        def read() -> None:
            while not done.is_set():
                seen.add(reader.get("k"))

        with ThreadPoolExecutor(1) as threads:
            reading = threads.submit(read)
            for round_ in range(20):
                store.put("k", versions[round_ % 2])
            done.set()
            reading.result()
        assert seen <= set(versions)

    def test_many_threads_on_one_handle_write_all(self, store: Store) -> None:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda index: store.put(f"many/{index:03d}", str(index).encode()), range(100)))
        assert list(store.list("many/")) == [f"many/{index:03d}" for index in range(100)]
        assert store.get("many/042") == b"42"


KEYS = st.sampled_from(["a", "b/c", "b/d", "b/d.e", "b/e/f", "b-c", "x/y/z"])


def store_machine(open_in: Callable[[Path], Store]) -> type[RuleBasedStateMachine]:
    """A machine that puts, deletes and reopens at will, and compares with a dict."""

    class StoreMachine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.folder = TemporaryDirectory()
            self.root = Path(self.folder.name) / "store"
            self.store = open_in(self.root)
            self.model: dict[str, bytes] = {}

        @rule(key=KEYS, data=st.binary(max_size=8), if_absent=st.booleans())
        def put(self, key: str, data: bytes, if_absent: bool) -> None:
            written = not (if_absent and key in self.model)
            assert self.store.put(key, data, if_absent=if_absent) is written
            if written:
                self.model[key] = data

        @rule(key=KEYS, data=st.binary(max_size=8))
        def put_file(self, key: str, data: bytes) -> None:
            path = Path(self.folder.name) / "file"
            path.write_bytes(data)
            self.store.put_file(key, path)
            self.model[key] = data

        @rule(key=KEYS)
        def delete(self, key: str) -> None:
            self.store.delete(key)
            self.model.pop(key, None)

        @rule()
        def reopen(self) -> None:
            self.store.close()
            self.store = open_in(self.root)

        @rule(key=KEYS)
        def read(self, key: str) -> None:
            assert self.store.exists(key) is (key in self.model)
            if key in self.model:
                assert self.store.get(key) == self.model[key]
                assert self.store.size(key) == len(self.model[key])
                with self.store.fetch(key) as path:
                    assert path.read_bytes() == self.model[key]

        @rule(prefix=st.sampled_from(["", "b", "b/", "b/d", "x/", "nothing"]))
        def list_prefix(self, prefix: str) -> None:
            assert list(self.store.list(prefix)) == sorted(key for key in self.model if key.startswith(prefix))

        @invariant()
        def same_keys(self) -> None:
            assert list(self.store.list()) == sorted(self.model)

        def teardown(self) -> None:
            self.store.close()
            self.folder.cleanup()

    StoreMachine.TestCase.settings = settings(max_examples=10, stateful_step_count=25)
    return StoreMachine
