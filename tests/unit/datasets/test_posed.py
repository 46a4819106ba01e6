"""Posed sets in manifests: they change no dataset without them, name no folder, and may be all there is."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.datasets.build import build_dataset, plan_dataset
from gim.datasets.config import DatasetConfig
from gim.datasets.manifest import DatasetManifest, dataset_id_of, read_dataset
from gim.datasets.verify import posed_faults
from gim.errors import ConfigError, InvalidInput
from tests.finished_pairs import finish
from tests.unit.training.data.posed.layout_files import write_folder, write_megadepth

ALL = DatasetConfig(held_out_share=0.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    opened = FileStore(tmp_path / "store")
    yield opened
    opened.close()


def test_a_dataset_of_videos_keeps_the_id_it_had_before_posed_sets(store: FileStore) -> None:
    finish(store, 0)
    finish(store, 1, shards=())
    manifest = build_dataset(store, replace(ALL, name="old")).manifest
    assert manifest.dataset_id == "old-a1b5b707"  # made by the version before
    written = codecs.to_json(manifest).replace(b'"posed":[],', b"").replace(b'"clear_of":[],', b"")
    store.put(keys.dataset_manifest(manifest.dataset_id), written)
    assert read_dataset(store, manifest.dataset_id) == manifest


def test_a_posed_set_is_part_of_the_manifest_and_its_folder_is_not(store: FileStore, tmp_path: Path) -> None:
    finish(store, 0)
    write_megadepth(tmp_path / "here", scene="0001")
    write_folder(tmp_path / "here" / "room")
    texts = (f"megadepth={tmp_path}/here,pairs=5", f"posed={tmp_path}/here/room,name=room")
    manifest = build_dataset(store, replace(ALL, posed=texts)).manifest
    assert [(item.name, item.kind, item.num_pairs("train")) for item in manifest.posed] == [
        ("megadepth", "megadepth", 5),
        ("room", "posed", 15),
    ]
    assert (manifest.num_pairs, manifest.num_posed_pairs("train")) == (5, 20)
    assert str(tmp_path).encode() not in store.get(keys.dataset_manifest(manifest.dataset_id))
    assert read_dataset(store, manifest.dataset_id) == manifest
    (tmp_path / "here").rename(tmp_path / "there")
    roots = {"megadepth": str(tmp_path / "there"), "room": str(tmp_path / "there" / "room")}
    moved = replace(ALL, posed=("posed,name=room", "megadepth,pairs=5"), posed_roots=roots)
    assert plan_dataset(store, moved).dataset_id == manifest.dataset_id
    assert list(posed_faults(manifest, roots)) == []
    assert [fault.video_id for fault in posed_faults(manifest, {})] == ["megadepth", "room"]
    (tmp_path / "there" / "output" / "0001.npz").unlink()
    assert [fault.video_id for fault in posed_faults(manifest, roots)] == ["megadepth"]


@pytest.mark.parametrize("option", ["pairs=6", "max_overlap=0.5", "name=other"])
def test_whatever_is_asked_of_a_posed_set_changes_the_id(store: FileStore, tmp_path: Path, option: str) -> None:
    write_folder(tmp_path / "room")
    ids = {
        plan_dataset(store, replace(ALL, posed=(f"posed={tmp_path}/room{rest}",))).dataset_id
        for rest in ("", f",{option}")
    }
    assert len(ids) == 2


def test_a_dataset_may_have_no_videos(store: FileStore, tmp_path: Path) -> None:
    finish(store, 0)
    write_folder(tmp_path / "room")
    config = replace(ALL, posed=(f"posed={tmp_path}/room",), posed_only=True, min_pairs=15)
    built = build_dataset(store, config)
    assert (built.status, built.manifest.videos, built.manifest.excluded) == ("built", [], [])
    assert build_dataset(store, replace(config, min_pairs=16)).status == "too_small"
    assert build_dataset(store, replace(ALL, posed_only=True, min_pairs=0)).status == "too_small"


def test_sets_that_cannot_be_told_apart_are_refused(store: FileStore, tmp_path: Path) -> None:
    write_folder(tmp_path / "room")
    text = f"posed={tmp_path}/room"
    with pytest.raises(ConfigError, match="two posed sets are called 'posed'"):
        plan_dataset(store, replace(ALL, posed=(text, text)))
    with pytest.raises(InvalidInput, match="no pair of 1 scenes"):
        plan_dataset(store, replace(ALL, posed=(f"megadepth={write_megadepth(tmp_path)},min_overlap=0.69",)))


def test_a_manifest_with_posed_sets_is_read_back_as_it_was(store: FileStore, tmp_path: Path) -> None:
    write_megadepth(tmp_path)
    manifest = plan_dataset(store, replace(ALL, posed=(f"megadepth={tmp_path},without=,scenes=0015",)))
    again = codecs.from_json(DatasetManifest, codecs.to_json(manifest))
    assert again == manifest
    assert dataset_id_of(again) == manifest.dataset_id
