"""Whatever is wrong with what a run is given is said in one line, and nothing is left half-written."""

import re
from dataclasses import replace

import pytest
import torch

from gim.adapters.store_file import FileStore
from gim.errors import ConfigError, CorruptObject, GimError, InvalidInput
from gim.training.distributed import Ranks
from gim.training.run import RunRequest, train
from tests.unit.training.data.films import dataset_of, write_film
from tests.unit.training.run_small import (
    CONFIG,
    NUM_STEPS,
    changed,
    small_dataset,
    train_small,
    with_held_out,
)


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "store")


def refusal(error: type[GimError], *arguments, **options) -> str:
    """The line with which a run is refused."""
    with pytest.raises(error) as raised:
        train_small(*arguments, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def runs_in(store) -> list[str]:
    return sorted({key.split("/")[1] for key in store.list("checkpoints/")})


def test_an_empty_dataset(store):
    said = refusal(InvalidInput, store, dataset_of())
    assert said == (
        "dataset films-00000000 has no pairs for training that recipe small draws from: see `gim dataset show`, "
        "and the settings train.mix"
    )


def test_a_dataset_that_holds_everything_out(store):
    dataset = small_dataset(store)
    dataset = replace(dataset, videos=[replace(video, split="held_out") for video in dataset.videos])
    assert "has no pairs for training" in refusal(InvalidInput, store, dataset)


def test_a_run_that_could_not_begin_can_be_begun_with_other_data_under_its_name(store):
    refusal(InvalidInput, store, dataset_of(), run_id="mine")
    assert runs_in(store) == []
    result, _ = train_small(store, replace(small_dataset(store), dataset_id="films-00000001"), run_id="mine")
    assert result.ended == "finished"


def shard_of(dataset, video=0, shard=1):
    return dataset.videos[video].shards[shard]


def test_a_shard_that_is_cut_off(store):
    dataset = small_dataset(store)
    shard = shard_of(dataset)
    store.put(shard.key, store.get(shard.key)[:-1000])
    said = refusal(CorruptObject, store, dataset)
    assert said == f"{shard.key}: {shard.num_bytes - 1000} bytes, the dataset's manifest says {shard.num_bytes}"


def test_a_shard_whose_hash_differs(store):
    dataset = small_dataset(store)
    shard = shard_of(dataset)
    data = bytearray(store.get(shard.key))
    data[len(data) // 2] ^= 1
    store.put(shard.key, bytes(data))
    said = refusal(CorruptObject, store, dataset)
    assert said == f"{shard.key} has changed: its SHA-256 is not the dataset's manifest's"


def test_a_shard_that_is_gone(store):
    dataset = small_dataset(store)
    store.delete(shard_of(dataset).key)
    assert shard_of(dataset).key in refusal(GimError, store, dataset)


def test_a_shard_that_breaks_on_the_way_leaves_the_checkpoints_before_it(store):
    dataset, left = small_dataset(store), shard_of(small_dataset(store))
    result, _ = train_small(store, dataset, until=4)
    store.put(left.key, b"")
    assert left.key in refusal(CorruptObject, store, dataset, is_resumed=True)
    small_dataset(store)  # mended
    result, heard = train_small(store, dataset, is_resumed=True)
    assert (result.ended, sorted(heard.losses)) == ("finished", list(range(5, NUM_STEPS + 1)))


def test_labels_outside_the_image_are_dropped(store, tmp_path):
    whole = FileStore(tmp_path / "whole")
    config = changed(mix={"homography": 0.0}, sample={"augment": "none", "max_labels": 100})
    _, heard = train_small(whole, small_dataset(whole), config)
    result, with_outside = train_small(store, small_dataset(store, outside=30), config)
    assert result.skipped == {}
    assert with_outside.losses == heard.losses


def test_labels_outside_the_image_are_counted(store):
    config = changed(mix={"homography": 0.0}, sample={"augment": "none"})
    result, _ = train_small(store, small_dataset(store, outside=3), config)
    assert result.labels_outside >= 3 * NUM_STEPS * 4
    assert result.labels_outside % 3 == 0


def test_pairs_with_too_few_labels_are_counted_and_left_out(store):
    dataset = dataset_of(write_film(store, 0), write_film(store, 1, num_labels=3))
    result, _ = train_small(store, dataset, changed(mix={"homography": 0.0}))
    assert result.ended == "finished"
    assert set(result.skipped) == {"video/too_few_labels"}
    assert result.skipped["video/too_few_labels"] >= NUM_STEPS  # half of all pairs


def test_no_pair_with_enough_labels_ends_at_once(store):
    config = changed(sample={"min_labels": 1000})
    said = refusal(InvalidInput, store, small_dataset(store), config)
    assert re.fullmatch(
        r"part video: 10 pairs in a row gave no sample \(too_few_labels 10\); look at the dataset's labels, or lower "
        r"sample.min_labels",
        said,
    )


def test_a_number_of_ranks_that_does_not_divide(store):
    config = changed(loop={"canonical_batch": 6})
    said = refusal(ConfigError, store, small_dataset(store), config, ranks=Ranks(0, 4))
    assert said.startswith("world size 4 does not divide the 6 micro-batches of a step")
    assert said.endswith("these do: 1, 2, 3, 6")
    assert runs_in(store) == []


def test_an_unknown_architecture_and_a_setting_that_it_does_not_have(store):
    dataset = small_dataset(store)
    for config, words in (
        (replace(CONFIG, architecture="lightgleu"), "train.architecture = 'lightgleu'"),
        (replace(CONFIG, architecture="xfeat_lighterglue", model={"layer": 3}), "has no setting model.layer"),
    ):
        with pytest.raises(ConfigError, match=words):
            train(RunRequest(store=store, dataset=dataset, config=config))
    assert runs_in(store) == []


def test_weights_of_another_architecture_to_begin_with(store, tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    config = replace(CONFIG, start=str(tmp_path / "other.pth"))
    said = refusal(InvalidInput, store, small_dataset(store), config)
    assert said == "other.pth: not the weights of pixels"


def test_weights_to_begin_with_that_are_not_there(store):
    dataset = small_dataset(store)
    for start in ("run:none", "run:none@4"):
        assert f"train.start = {start}" in refusal(InvalidInput, store, dataset, replace(CONFIG, start=start))
    assert runs_in(store) == []


def test_going_on_with_another_architecture_or_other_settings(store):
    dataset = small_dataset(store)
    train_small(store, dataset, until=4, run_id="mine")
    before = {key: store.get(key) for key in store.list("checkpoints/mine/")}
    other = replace(CONFIG, architecture="lightglue")
    said = refusal(InvalidInput, store, dataset, other, run_id="mine", is_resumed=True)
    assert said == (
        "run mine was begun with train.architecture = pixels, not lightglue: go on with those, or give this run "
        "another name by --run"
    )
    other = changed(optimiser={"lr": 0.5, "name": "adam"}, loop={"seed": 1, "ema": 0.9, "batch_size": 2})
    said = refusal(InvalidInput, store, dataset, other, run_id="mine", is_resumed=True)
    assert said.startswith("run mine was begun with train.loop.batch_size = 1, not 2, train.loop.ema = 0.0, not 0.9, ")
    assert " and 1 more: " in said
    said = refusal(InvalidInput, store, replace(dataset, dataset_id="films-1"), run_id="mine", is_resumed=True)
    assert said.startswith("run mine was begun with dataset_id films-00000000, not films-1:")
    assert {key: store.get(key) for key in store.list("checkpoints/mine/")} == before


def test_a_run_that_is_there_and_is_not_gone_on_with(store):
    dataset = small_dataset(store)
    result, _ = train_small(store, dataset, until=4)
    said = refusal(InvalidInput, store, dataset)
    assert said == (
        f"run {result.run_id} has checkpoints, the newest of step 4: go on with --resume, or give the run another name"
    )


def test_a_run_without_a_checkpoint_begins_when_it_is_resumed(store):
    result, heard = train_small(store, small_dataset(store), is_resumed=True, until=2)
    assert result.ended == "stopped"
    assert heard.lines[0] == f"run {result.run_id} has no checkpoint yet: it begins"


def test_all_checkpoints_damaged(store):
    dataset = small_dataset(store)
    result, _ = train_small(store, dataset, until=2)
    for key in list(store.list(f"checkpoints/{result.run_id}/00000002/state")):
        store.put(key, b"cut off")
    said = refusal(CorruptObject, store, dataset, is_resumed=True)
    assert said.startswith(f"run {result.run_id}: every checkpoint is damaged (step 2: ")


def test_no_held_out_videos(store):
    config = changed(keep={"validation_pairs": 8, "validate_every_pairs": 20})
    result, heard = train_small(store, small_dataset(store), config)
    assert result.ended == "finished"
    assert heard.lines == [
        "dataset films-00000000 holds no video out: there is no validation, and the last checkpoints are kept"
    ]
    _, heard = train_small(store, with_held_out(small_dataset(store)), config, run_id="with")
    assert [point.step for point in heard.points if "validation/loss" in point.values] == [5, 8]
    assert heard.lines == []


def test_held_out_videos_without_a_usable_pair(store):
    dataset = with_held_out(dataset_of(write_film(store, 0), write_film(store, 1, num_labels=3)))
    config = changed(mix={"homography": 0.0}, keep={"validation_pairs": 8, "validate_every_pairs": 8})
    result, heard = train_small(store, dataset, config)
    assert result.ended == "finished"
    assert any("validation" in line for line in heard.lines)
