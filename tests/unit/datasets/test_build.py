"""Datasets: the same store and settings give the same manifest, and nothing gets in that does not belong."""

import dataclasses
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.datasets.build import build_dataset, plan_dataset, split_of
from gim.datasets.config import DatasetConfig
from gim.datasets.manifest import (
    DatasetManifest,
    dataset_id_of,
    dataset_ids,
    datasets_with,
    read_dataset,
)
from gim.datasets.verify import dataset_faults
from gim.errors import CorruptObject, InvalidInput
from gim.export.selection import parse_condition
from gim.labels.shards import read_shard
from gim.records import Teacher, TeacherWeights
from tests.finished_pairs import RECIPE_ID, finish, video_id_of

ALL = DatasetConfig(held_out_share=0.0)
XFEAT = Teacher("xfeat", "Apache-2.0", (TeacherWeights("xfeat", "ab" * 32, "Apache-2.0"),))
GIM_TERMS = "MIT, research only by its authors' remark"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    opened = FileStore(tmp_path / "store")
    yield opened
    opened.close()


class Shuffled(FileStore):
    """A store that lists in any order."""

    def list(self, prefix: str = "") -> Iterator[str]:
        found = list(super().list(prefix))
        random.Random(len(found)).shuffle(found)
        return iter(found)


def reasons(manifest: DatasetManifest) -> dict[str, str]:
    return {video.video_id: video.reason for video in manifest.excluded}


def test_manifest_lists_all_that_training_reads(store: FileStore) -> None:
    ids = sorted([finish(store, 0), finish(store, 1, shards=(1,), teachers=(XFEAT,), licence="CC0")])
    built = build_dataset(store, ALL)
    manifest = built.manifest
    assert built.status == "built"
    assert [video.video_id for video in manifest.videos] == ids
    assert (manifest.num_pairs, manifest.num_held_out_pairs, manifest.recipe_ids) == (6, 0, [RECIPE_ID])
    assert {teacher.matcher for teacher in manifest.teachers} == {"rootsift", "xfeat"}
    assert {video.licence for video in manifest.videos} == {"CC BY 4.0", "CC0"}
    for shard in manifest.shards("train"):
        assert store.size(shard.key) == shard.num_bytes
        assert shard.num_pairs == shard.num_stored
    assert read_dataset(store, manifest.dataset_id) == manifest
    assert b"/films/" not in store.get(keys.dataset_manifest(manifest.dataset_id))  # no path of anybody's machine


def test_the_order_of_a_listing_changes_nothing(store: FileStore) -> None:
    for number in range(6):
        finish(store, number)
    shuffled = Shuffled(store.root)
    assert codecs.to_json(plan_dataset(shuffled, ALL)) == codecs.to_json(plan_dataset(store, ALL))
    shuffled.close()


def test_a_second_build_finds_the_first(store: FileStore) -> None:
    finish(store, 0)
    first = build_dataset(store, ALL)
    written = {key: store.get(key) for key in store.list()}
    second = build_dataset(store, ALL)
    assert (second.status, second.manifest) == ("present", first.manifest)
    assert {key: store.get(key) for key in store.list()} == written


@pytest.mark.parametrize(
    "change",
    [
        lambda store: finish(store, 7),
        lambda store: finish(store, 0, shards=(3, 1)),
        lambda store: finish(store, 0, licence="CC BY-NC 4.0"),
        lambda store: finish(store, 0, teachers=(XFEAT,)),
    ],
)
def test_whatever_is_listed_changes_the_id(store: FileStore, change: Callable[[FileStore], object]) -> None:
    finish(store, 0)
    before = build_dataset(store, ALL).manifest.dataset_id
    change(store)
    after = build_dataset(store, ALL).manifest.dataset_id
    assert after != before
    assert sorted(dataset_ids(store)) == sorted([before, after])


@pytest.mark.parametrize(
    "settings",
    [{"where": ("coverage>=0.2",)}, {"held_out_share": 0.5}, {"held_out_seed": 1}, {"permissive_only": True}],
)
def test_settings_that_matter_change_the_id(store: FileStore, settings: dict[str, Any]) -> None:
    finish(store, 0)
    assert plan_dataset(store, replace(ALL, **settings)).dataset_id != plan_dataset(store, ALL).dataset_id


def test_a_manifest_that_was_changed_is_refused(store: FileStore) -> None:
    finish(store, 0)
    manifest = build_dataset(store, ALL).manifest
    forged = replace(manifest, num_pairs=manifest.num_pairs + 1)
    assert dataset_id_of(forged) != manifest.dataset_id
    store.put(keys.dataset_manifest(manifest.dataset_id), codecs.to_json(forged))
    with pytest.raises(CorruptObject, match="has changed"):
        read_dataset(store, manifest.dataset_id)
    with pytest.raises(InvalidInput, match=r"no dataset 'videos-0000000'"):
        read_dataset(store, "videos-0000000")


# --- what belongs -----------------------------------------------------------------------------------------------------


def test_conditions_choose_pairs_and_a_reader_finds_the_same_ones(store: FileStore) -> None:
    finish(store, 0, shards=(3, 3))
    finish(store, 1, shards=(2,))
    manifest = plan_dataset(store, replace(ALL, where=("coverage>0.3",)))
    (video,) = manifest.videos
    (shard,) = video.shards
    assert (shard.key, shard.num_pairs, shard.num_stored) == (keys.pairs_shard(video.video_id, RECIPE_ID, 1), 3, 3)
    assert reasons(manifest) == {video_id_of(1): "conditions"}
    again = [parse_condition(text) for text in manifest.where]
    with store.fetch(shard.key) as path:
        read = [pair for pair, *_ in read_shard(path) if all(item.holds(pair.quality) for item in again)]
    assert len(read) == shard.num_pairs


def test_a_condition_keeps_all_its_digits(store: FileStore) -> None:
    finish(store, 0)
    (text,) = plan_dataset(store, replace(ALL, where=("coverage >= 0.123456789",))).where
    assert parse_condition(text).value == 0.123456789


@pytest.mark.parametrize("where", ["coverage", "sharpness>1", "coverage>=much"])
def test_a_condition_that_says_nothing_is_refused(store: FileStore, where: str) -> None:
    with pytest.raises(InvalidInput, match="condition"):
        plan_dataset(store, replace(ALL, where=(where,)))


@pytest.mark.parametrize(
    "teacher",
    [
        Teacher("gim_dkm", "Apache-2.0", (TeacherWeights("gim_dkm_100h", "ab" * 32, GIM_TERMS),)),
        Teacher("own", "Apache-2.0", (TeacherWeights("own.pt", "ab" * 32, "unknown"),)),
        Teacher("sold", "proprietary"),
        replace(
            XFEAT, segmenter="ade20k", segmenter_weights=(TeacherWeights("ade20k_decoder", "cd" * 32, "research"),)
        ),
    ],
)
def test_permissive_only_leaves_out_what_is_for_research_only(store: FileStore, teacher: Teacher) -> None:
    free = finish(store, 0, teachers=(XFEAT,))
    bound = finish(store, 1, teachers=(teacher,))
    unknown = finish(store, 2, teachers=())
    manifest = plan_dataset(store, replace(ALL, permissive_only=True))
    assert [video.video_id for video in manifest.videos] == [free]
    assert reasons(manifest) == {bound: "licence", unknown: "licence"}
    assert len(plan_dataset(store, ALL).videos) == 3


def test_videos_can_be_named(store: FileStore) -> None:
    ids = [finish(store, number) for number in range(3)]
    manifest = plan_dataset(store, replace(ALL, videos=(ids[2], ids[0], ids[2])))
    assert [video.video_id for video in manifest.videos] == sorted({ids[0], ids[2]})
    with pytest.raises(InvalidInput, match=f"{video_id_of(9)} has no finished result"):
        plan_dataset(store, replace(ALL, videos=(video_id_of(9),)))
    with pytest.raises(InvalidInput, match="invalid video id"):
        plan_dataset(store, replace(ALL, videos=("../x",)))


def test_of_several_recipes_the_preferred_one_is_taken(store: FileStore) -> None:
    both = finish(store, 0)
    finish(store, 0, recipe_id="paper-01234567", shards=(1,))
    only = finish(store, 1)
    with pytest.raises(InvalidInput, match=r"2 recipes, paper-01234567, standard-89abcdef: choose by dataset\.recipes"):
        plan_dataset(store, ALL)
    chosen = {
        recipes: {
            video.video_id: video.recipe_id for video in plan_dataset(store, replace(ALL, recipes=recipes)).videos
        }
        for recipes in (("paper", "standard"), (RECIPE_ID,), ("paper-01234567",))
    }
    assert chosen == {
        ("paper", "standard"): {both: "paper-01234567", only: RECIPE_ID},
        (RECIPE_ID,): {both: RECIPE_ID, only: RECIPE_ID},
        ("paper-01234567",): {both: "paper-01234567"},
    }
    assert reasons(plan_dataset(store, replace(ALL, recipes=("paper",)))) == {only: "recipe"}
    finish(store, 0, recipe_id="standard-00000000")
    with pytest.raises(InvalidInput, match="results of 2 recipes"):
        plan_dataset(store, replace(ALL, recipes=("standard",)))


def test_a_purged_video_is_not_even_named(store: FileStore) -> None:
    kept, purged = finish(store, 0), finish(store, 1)
    store.put(keys.purge_mark(purged), b"{}")
    manifest = build_dataset(store, ALL).manifest
    assert [video.video_id for video in manifest.videos] == [kept]
    assert purged.encode() not in store.get(keys.dataset_manifest(manifest.dataset_id))


def test_a_video_without_pairs_or_origin_is_left_out(store: FileStore) -> None:
    finish(store, 0)
    empty, stray = finish(store, 1, shards=()), finish(store, 2)
    store.delete(keys.video_meta(stray))
    assert reasons(plan_dataset(store, ALL)) == {empty: "no_pairs", stray: "no_meta"}


def _cut(store: FileStore, key: str) -> None:
    store.put(key, store.get(key)[:-512])


def _flip(store: FileStore, key: str) -> None:
    data = bytearray(store.get(key))
    data[600] ^= 1
    store.put(key, bytes(data))


@pytest.mark.parametrize(
    ("damage", "why"),
    [(FileStore.delete, "is not in the store"), (_cut, "its manifest says"), (_flip, "SHA-256")],
)
def test_a_damaged_shard_keeps_its_video_out(store: FileStore, damage: Callable[..., None], why: str) -> None:
    good, bad = finish(store, 0), finish(store, 1)
    whole = build_dataset(store, ALL).manifest
    assert list(dataset_faults(store, whole)) == []
    key = keys.pairs_shard(bad, RECIPE_ID, 1)
    damage(store, key)
    manifest = plan_dataset(store, ALL)
    assert [video.video_id for video in manifest.videos] == [good]
    (left_out,) = manifest.excluded
    assert (left_out.video_id, left_out.reason) == (bad, "damaged")
    assert left_out.detail.startswith(key)
    assert why in left_out.detail
    with pytest.raises(InvalidInput, match=rf"{bad}, {RECIPE_ID}: {key}.*gim reconcile --verify"):
        plan_dataset(store, replace(ALL, damaged="refuse"))
    assert [(fault.video_id, fault.key) for fault in dataset_faults(store, whole)] == [(bad, key)]


def test_sizes_alone_do_not_show_a_changed_byte(store: FileStore) -> None:
    video_id = finish(store, 0)
    manifest = build_dataset(store, ALL).manifest
    _flip(store, keys.pairs_shard(video_id, RECIPE_ID, 0))
    assert len(plan_dataset(store, replace(ALL, verify="sizes")).videos) == 1
    assert list(dataset_faults(store, manifest, "sizes")) == []
    assert len(list(dataset_faults(store, manifest, "hashes"))) == 1


@pytest.mark.parametrize("key_of", [keys.pairs_manifest, keys.pairs_index])
@pytest.mark.parametrize("data", [b"", b"[]", None])
def test_a_damaged_description_keeps_its_video_out(
    store: FileStore, key_of: Callable[[str, str], str], data: bytes | None
) -> None:
    bad, other = finish(store, 0), finish(store, 1)
    key = key_of(bad, RECIPE_ID)
    store.put(key, store.get(key_of(other, RECIPE_ID)) if data is None else data)
    assert reasons(plan_dataset(store, ALL)) == {bad: "damaged"}


# --- held out ---------------------------------------------------------------------------------------------------------


def test_a_held_out_video_stays_so_whatever_is_added(store: FileStore) -> None:
    config = DatasetConfig(held_out_share=0.4)
    for number in range(8):
        finish(store, number, shards=(1,))
    first = {video.video_id: video.split for video in plan_dataset(store, config).videos}
    assert set(first.values()) == {"train", "held_out"}
    for number in range(8, 16):
        finish(store, number, shards=(1,))
    manifest = plan_dataset(store, config)
    later = {video.video_id: video.split for video in manifest.videos}
    assert first.items() <= later.items()
    assert manifest.num_held_out_pairs == sum(split == "held_out" for split in later.values())
    assert manifest.num_pairs + manifest.num_held_out_pairs == 16
    held_out = {shard.key for shard in manifest.shards("held_out")}
    assert held_out.isdisjoint({shard.key for shard in manifest.shards("train")})


def test_a_larger_share_holds_out_the_same_videos_and_more() -> None:
    ids = [video_id_of(number) for number in range(2000)]
    held_out = [{i for i in ids if split_of(i, share, 0) == "held_out"} for share in (0.0, 0.05, 0.3, 1.0)]
    assert held_out[0] < held_out[1] < held_out[2] < held_out[3] == set(ids)
    assert abs(len(held_out[1]) - 100) < 40
    assert {i for i in ids if split_of(i, 0.3, 1) == "held_out"} != held_out[2]


@pytest.mark.parametrize("config", [DatasetConfig(held_out_share=1.0), replace(ALL, min_pairs=6)])
def test_too_few_pairs_for_training_are_no_dataset(store: FileStore, config: DatasetConfig) -> None:
    finish(store, 0)
    assert build_dataset(store, config).status == "too_small"
    assert dataset_ids(store) == []


def test_an_empty_store_is_no_dataset(store: FileStore) -> None:
    assert build_dataset(store, replace(ALL, min_pairs=0)).status == "too_small"


@pytest.mark.parametrize("name", ["", "a/b", "white space", ".."])
def test_a_name_that_no_key_can_hold_is_refused(store: FileStore, name: str) -> None:
    with pytest.raises(InvalidInput):
        plan_dataset(store, replace(ALL, name=name))


# --- who asks afterwards ----------------------------------------------------------------------------------------------


def test_datasets_of_a_video_are_those_it_is_part_of(store: FileStore) -> None:
    first, second = finish(store, 0), finish(store, 1, shards=())
    dataset_id = build_dataset(store, ALL).manifest.dataset_id
    store.put(keys.dataset_manifest("older-00000000"), b'{"videos": ["' + second.encode() + b'"]}')
    assert datasets_with(store, first) == [dataset_id]
    assert datasets_with(store, second) == ["older-00000000"]
    store.put(keys.purge_mark(first), b"{}")
    faults = list(dataset_faults(store, read_dataset(store, dataset_id)))
    assert [(fault.video_id, fault.why) for fault in faults] == [(first, "was purged since")]


def test_a_manifest_is_read_back_as_it_was(store: FileStore) -> None:
    finish(store, 0)
    manifest = plan_dataset(store, ALL)
    again = codecs.from_json(DatasetManifest, codecs.to_json(manifest))
    assert again == manifest
    assert dataset_id_of(again) == manifest.dataset_id
    assert dataclasses.asdict(again) == dataclasses.asdict(manifest)
