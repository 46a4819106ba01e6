"""What a run goes on from: all of it, bit for bit, and nothing that is damaged."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.errors import CorruptObject, InvalidInput, KeyMissing
from gim.evaluation.checkpoint import Checkpoint, read_checkpoint_manifest
from gim.training.checkpoints.reading import load, resume
from gim.training.checkpoints.state import flatten_state
from gim.training.checkpoints.writing import Weights, write_checkpoint
from gim.weights.checkpoint import read_checkpoint
from tests.unit.training.checkpoints.toy import TEMPLATE, ToyRun, reference_losses, same

RUN = TEMPLATE.run_id


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def plant(store: FileStore, *steps: int) -> None:
    for step in steps:
        state = flatten_state({"weights": torch.full((4,), float(step)), "step": step})
        write_checkpoint(store, TEMPLATE, step, state=state, weights=[Weights("toy.ckpt", b"weights")])


def damage(store: FileStore, key: str) -> None:
    data = store.get(key)
    store.put(key, data[:-1] + bytes([data[-1] ^ 1]))


def test_a_run_goes_on_with_the_very_losses_that_it_would_have_had(store):
    with torch.random.fork_rng(devices=[]):
        run = ToyRun()
        losses = [run.train_step() for _ in range(5)]
        state = run.state()
        write_checkpoint(store, TEMPLATE, 5, state=flatten_state(state), weights=run.weights())
        loaded = load(store, RUN, 5)
        assert same(loaded.state, state)
        again = ToyRun()
        again.load(loaded.state)
        losses += [again.train_step() for _ in range(5)]
    assert losses == reference_losses(10)


def test_matchers_find_the_weights_by_the_manifest(store):
    average = {"first.weight": torch.arange(3.0)}
    weights = Weights("toy.ckpt", average, "matcher_weights")
    manifest = write_checkpoint(store, TEMPLATE, 5, state=flatten_state({}), weights=[weights])
    key = keys.checkpoint_weights(RUN, 5, "toy.ckpt")
    assert read_checkpoint_manifest(store, Checkpoint(RUN, 5, "xfeat", key)) == manifest
    assert [(file.key, file.setting) for file in manifest.files] == [(key, "matcher_weights")]
    assert (manifest.step, manifest.dataset_id, manifest.licence) == (5, TEMPLATE.dataset_id, "Apache-2.0")
    with store.fetch(key) as path:
        assert same(read_checkpoint(path), average)


def test_the_same_state_makes_the_same_bytes(tmp_path):
    stores = [FileStore(tmp_path / name) for name in "ab"]
    for store in stores:
        state = flatten_state({"a": torch.arange(5), "b": {"c": 1}})
        write_checkpoint(store, TEMPLATE, 1, state=state, weights=[Weights("a.ckpt", {"x": torch.ones(2)})])
    first, second = ({key: store.get(key) for key in store.list()} for store in stores)
    assert first == second


def test_weights_in_a_file_are_stored_as_they_are(store, tmp_path):
    (tmp_path / "made").write_bytes(b"weights")
    manifest = write_checkpoint(
        store, TEMPLATE, 5, state=flatten_state({}), weights=[Weights("toy.safetensors", tmp_path / "made")]
    )
    assert store.get(manifest.files[0].key) == b"weights"
    assert manifest.files[0].num_bytes == 7
    with pytest.raises(InvalidInput, match="a file of weights ends in"):
        Weights("toy.bin", b"")


@pytest.mark.parametrize("name", ["state/00000.safetensors", "state/state.json", "weights/toy.ckpt", "manifest.json"])
def test_a_damaged_newest_is_passed_over_by_name(store, name):
    plant(store, 10, 20)
    key = keys.checkpoint_prefix(RUN, 20) + name
    damage(store, key)
    loaded = resume(store, RUN)
    assert (loaded.step, loaded.state["step"], loaded.state["weights"][0]) == (10, 10, 10.0)
    assert [passed.step for passed in loaded.passed_over] == [20]
    assert key in loaded.passed_over[0].reason
    with pytest.raises(CorruptObject, match=name.replace(".", r"\.")):
        load(store, RUN, 20)


def test_a_file_that_is_cut_off_or_gone_is_named(store):
    plant(store, 10)
    key = keys.checkpoint_state(RUN, 10, "00000.safetensors")
    data = store.get(key)
    store.put(key, data[:50])
    with pytest.raises(CorruptObject, match=f"{key}: has changed .*: 50 bytes of {len(data)}"):
        load(store, RUN, 10)
    store.delete(key)
    with pytest.raises(CorruptObject, match=f"{key}: is missing"):
        load(store, RUN, 10)


def test_when_all_are_damaged_the_run_is_told_how_to_begin_anew(store):
    plant(store, 10, 20)
    for step in (10, 20):
        damage(store, keys.checkpoint_state(RUN, step, "state.json"))
    with pytest.raises(CorruptObject, match=r"every checkpoint is damaged .step 20.*delete checkpoints/run-1/"):
        resume(store, RUN)


def test_a_run_without_checkpoints_has_nothing_to_go_on_from(store):
    assert resume(store, RUN) is None
    with pytest.raises(KeyMissing):
        load(store, RUN, 10)


def test_weights_alone_are_nothing_to_go_on_from(store):
    manifest = replace(TEMPLATE, step=10)
    store.put(keys.checkpoint_manifest(RUN, 10), codecs.to_json(manifest))
    with pytest.raises(InvalidInput, match="holds weights alone"):
        load(store, RUN, 10)


def test_a_manifest_of_another_checkpoint_is_corrupt(store):
    plant(store, 10)
    store.put(keys.checkpoint_manifest(RUN, 20), store.get(keys.checkpoint_manifest(RUN, 10)))
    with pytest.raises(CorruptObject, match="is of step 10 of run run-1"):
        load(store, RUN, 20)
