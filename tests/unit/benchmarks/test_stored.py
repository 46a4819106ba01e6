"""Benchmarks in a store: what is put, what is refused, and that nothing changed gets through."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.benchmarks.stored import (
    StoredBenchmark,
    choose_benchmarks,
    list_benchmarks,
    put_benchmark,
    remove_benchmark,
)
from gim.errors import ConfigError, CorruptObject, InvalidInput
from tests.posed_scene import pair_line, write_pairs, write_scene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scene") / "room", num_pairs=2)


@pytest.fixture
def folder(scene: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scene, tmp_path / "room"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    opened = FileStore(tmp_path / "store")
    yield opened
    opened.close()


def test_a_benchmark_is_read_as_it_was_put(store: FileStore, folder: Path) -> None:
    (folder / "images/left-over.png").write_bytes(b"no pair names this")
    manifest = put_benchmark(store, "room", folder, licence="CC0-1.0")
    assert manifest.benchmark_id.startswith("room-")
    assert (manifest.num_pairs, manifest.licence, len(manifest.files)) == (2, "CC0-1.0", 3)
    (found,) = choose_benchmarks(store)
    assert found.manifest == manifest
    for pair in found.pairs():
        assert np.array_equal(found.image(pair.image0), codecs.decode_image((folder / pair.image0).read_bytes()))


def test_the_same_files_are_put_once_and_others_make_another_benchmark(store: FileStore, folder: Path) -> None:
    first = put_benchmark(store, "room", folder)
    written = {key: store.get(key) for key in store.list()}
    assert put_benchmark(store, "room", folder) == first
    assert {key: store.get(key) for key in store.list()} == written
    lines = (folder / "pairs.txt").read_text().splitlines()
    write_pairs(folder, lines[1:2])
    second = put_benchmark(store, "room", folder)
    assert second.benchmark_id != first.benchmark_id
    assert [item.num_pairs for item in list_benchmarks(store)] in ([1, 2], [2, 1])


def test_a_put_that_was_cut_off_is_no_benchmark_and_is_completed(store: FileStore, folder: Path) -> None:
    manifest = put_benchmark(store, "room", folder)
    store.delete(keys.benchmark_manifest(manifest.benchmark_id))
    store.delete(keys.benchmark_file(manifest.benchmark_id, "images/1.png"))
    assert list_benchmarks(store) == []
    put_benchmark(store, "room", folder)
    (found,) = choose_benchmarks(store, ["room"])
    assert found.image("images/1.png").shape == (150, 200, 3)


@pytest.mark.parametrize("change", ["changed", "absent", "other pairs"])
def test_what_is_no_longer_what_was_put_is_refused(store: FileStore, folder: Path, change: str) -> None:
    manifest = put_benchmark(store, "room", folder)
    name = "pairs.txt" if change == "other pairs" else "images/0.png"
    key = keys.benchmark_file(manifest.benchmark_id, name)
    if change == "absent":
        store.delete(key)
    else:
        store.put(key, (folder / "images/1.png").read_bytes())
    benchmark = StoredBenchmark(store, manifest)
    with pytest.raises(CorruptObject, match=key):
        _ = benchmark.pairs() if change == "other pairs" else benchmark.image(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../secret.png", "cannot hold a file '../secret.png'"),
        ("/etc/passwd", "cannot hold a file '/etc/passwd'"),
        ("images/nowhere.png", "images/nowhere.png: cannot be read"),
        ("pairs.md", "not a readable image"),
    ],
)
def test_an_image_that_cannot_be_put_is_named(store: FileStore, folder: Path, name: str, said: str) -> None:
    (folder / "pairs.md").write_text("no image")
    K = np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]])
    write_pairs(folder, [pair_line("images/0.png", name, K, K, np.eye(4))])
    with pytest.raises(InvalidInput, match=said):
        put_benchmark(store, "room", folder)
    assert list(store.list()) == []


@pytest.mark.parametrize("name", ["", "a/b", "..", "white space"])
def test_a_name_that_no_key_can_hold_is_refused(store: FileStore, folder: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        put_benchmark(store, name, folder)


def test_benchmarks_are_chosen_by_name_or_id(store: FileStore, folder: Path) -> None:
    with pytest.raises(ConfigError, match="holds no benchmark: `gim benchmark put"):
        choose_benchmarks(store)
    room, hall = (put_benchmark(store, name, folder).benchmark_id for name in ("room", "hall"))
    assert [item.manifest.benchmark_id for item in choose_benchmarks(store, ["room", hall, room])] == [room, hall]
    with pytest.raises(ConfigError, match=r"no benchmark 'rom' \(did you mean room"):
        choose_benchmarks(store, ["rom"])
    write_pairs(folder, (folder / "pairs.txt").read_text().splitlines()[1:2])
    put_benchmark(store, "room", folder)
    with pytest.raises(ConfigError, match=f"'room': which of .*{room}"):
        choose_benchmarks(store, ["room"])
    remove_benchmark(store, room)
    assert list(store.list(keys.benchmarks_prefix(room))) == []
    assert len(choose_benchmarks(store, ["room", "hall"])) == 2
