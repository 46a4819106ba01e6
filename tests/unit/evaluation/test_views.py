"""Images of pairs, of a folder and of a store: the same pixels, and an id that changes with what is matched."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gim import codecs
from gim.adapters.store_file import FileStore
from gim.benchmarks.posed import read_posed_pairs
from gim.benchmarks.stored import StoredBenchmark, put_benchmark
from gim.errors import CorruptObject, InvalidInput
from gim.evaluation.image_size import SizeRule
from gim.evaluation.views import folder_views, stored_views
from tests.posed_scene import write_scene

PAIRS = [("a.png", "b.png"), ("b.png", "c.png")]
RULE = SizeRule(longest_side=40, multiple_of=8, padded_to=(48, 40))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for index, name in enumerate("abcd"):
        image = np.random.default_rng(index).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        (folder / f"{name}.png").write_bytes(codecs.encode_png(image))
    return folder


def view_id(root: Path) -> str:
    return folder_views("set", root, PAIRS, RULE).id


def test_images_are_read_at_the_size_of_the_rule(root: Path) -> None:
    views = folder_views("set", root, PAIRS, RULE)
    assert views.pairs == PAIRS
    view = views.image("a.png")
    assert (view.original, view.size, view.pixels.shape) == ((80, 60), (40, 24), (40, 48, 3))
    assert view.mask is not None
    assert view.mask[:24, :40].all()
    assert np.count_nonzero(view.mask) == 24 * 40
    plain = folder_views("set", root, PAIRS, SizeRule()).image("a.png")
    assert np.array_equal(plain.pixels, codecs.decode_image((root / "a.png").read_bytes()))
    assert plain.mask is None


def test_the_id_knows_names_order_sizes_and_rule(root: Path) -> None:
    first = view_id(root)
    assert first.startswith("set-")
    others = [
        folder_views("other", root, PAIRS, RULE),
        folder_views("set", root, PAIRS[::-1], RULE),
        folder_views("set", root, PAIRS[:1], RULE),
        folder_views("set", root, [("a.png", "b.png"), ("b.png", "d.png")], RULE),
        folder_views("set", root, PAIRS, replace(RULE, longest_side=48)),
        folder_views("set", root, PAIRS, replace(RULE, multiple_of=1)),
        folder_views("set", root, PAIRS, replace(RULE, padded_to=None)),
    ]
    assert len({first, *(other.id for other in others)}) == len(others) + 1


def test_the_id_stays_when_the_folder_moves_or_other_files_change(root: Path) -> None:
    first = view_id(root)
    (root / "d.png").write_bytes(b"of no pair")
    assert view_id(root) == first
    assert view_id(root.rename(root.with_name("moved"))) == first


def test_an_image_of_another_number_of_bytes_makes_another_id(root: Path) -> None:
    first, before = view_id(root), (root / "c.png").read_bytes()
    (root / "c.png").write_bytes(before + b"\0")
    assert view_id(root) != first
    (root / "c.png").write_bytes(before)
    assert view_id(root) == first


def test_an_absent_image_is_refused_before_any_is_matched(root: Path) -> None:
    (root / "c.png").unlink()
    with pytest.raises(InvalidInput) as refused:
        view_id(root)
    assert str(refused.value) == f"{root / 'c.png'}: cannot be read (No such file or directory)"


@pytest.mark.parametrize("data", [b"", b"no image at all", None], ids=["empty", "text", "cut"])
def test_an_image_that_is_none_is_one_line_with_its_file(root: Path, data: bytes | None) -> None:
    path = root / "a.png"
    path.write_bytes(path.read_bytes()[:20] if data is None else data)
    views = folder_views("set", root, PAIRS, RULE)
    with pytest.raises(InvalidInput, match=r"a\.png: not a readable image") as refused:
        views.image("a.png")
    assert "\n" not in str(refused.value)
    path.unlink()
    with pytest.raises(InvalidInput, match=r"a\.png: cannot be read \(No such file"):
        views.image("a.png")


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[tuple[FileStore, StoredBenchmark, Path]]:
    folder = write_scene(tmp_path / "room", num_pairs=2)
    store = FileStore(tmp_path / "store")
    yield store, StoredBenchmark(store, put_benchmark(store, "room", folder)), folder
    store.close()


def test_a_store_gives_the_pixels_of_the_folder(stored: tuple[FileStore, StoredBenchmark, Path]) -> None:
    _, benchmark, folder = stored
    pairs = [(pair.image0, pair.image1) for pair in read_posed_pairs(folder / "pairs.txt")]
    of_store, of_folder = stored_views(benchmark, pairs, RULE), folder_views("room", folder, pairs, RULE)
    for name in sorted({name for pair in pairs for name in pair}):
        found, expected = of_store.image(name), of_folder.image(name)
        assert np.array_equal(found.pixels, expected.pixels)
        assert (found.size, found.original) == (expected.size, expected.original)
    assert of_store.id != stored_views(benchmark, pairs[:1], RULE).id
    assert of_store.id != stored_views(benchmark, pairs, SizeRule()).id


def test_a_stored_image_that_has_changed_is_refused(stored: tuple[FileStore, StoredBenchmark, Path]) -> None:
    store, benchmark, _ = stored
    views = stored_views(benchmark, [("images/0.png", "images/1.png")], RULE)
    (key,) = [key for key in store.list("benchmarks/") if key.endswith("images/0.png")]
    store.put(key, store.get(key) + b"\0")
    with pytest.raises(CorruptObject, match=r"images/0\.png has changed"):
        views.image("images/0.png")
