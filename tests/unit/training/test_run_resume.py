"""A run that was stopped goes on as if it had not been: the same losses, the same weights."""

from dataclasses import replace

import pytest
import torch

from gim.adapters.store_file import FileStore
from gim.errors import DiskFull, Unavailable
from gim.training.checkpoints.listing import stored_steps
from gim.training.checkpoints.reading import load
from gim.training.journal import read_points
from tests.unit.training.checkpoints.toy import same
from tests.unit.training.run_small import CONFIG, NUM_STEPS, changed, small_dataset, train_small, with_held_out

# The average, a schedule that moves in every step, and a validation between the steps, of which nothing may show.
_CONFIG = changed(
    loop={"ema": 0.9},
    schedule={"warmup_pairs": 20, "decay": "cosine"},
    keep={"validate_every_pairs": 16, "validation_pairs": 3},
)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The losses of a run that nothing interrupts, and its last state."""
    store = FileStore(tmp_path_factory.mktemp("whole") / "store")
    result, heard = train_small(store, with_held_out(small_dataset(store)), _CONFIG)
    assert (result.ended, result.step, len(heard.losses)) == ("finished", NUM_STEPS, NUM_STEPS)
    return heard.losses, load(store, result.run_id, NUM_STEPS).state


@pytest.mark.parametrize("stops", [(1,), (3, 5, 7)])
def test_a_stopped_run_that_goes_on_has_the_same_losses_and_weights(tmp_path, uninterrupted, stops):
    losses, last_state = uninterrupted
    store = FileStore(tmp_path)
    dataset, found = with_held_out(small_dataset(store)), {}
    for stop in (*stops, 0):
        result, heard = train_small(store, dataset, _CONFIG, until=stop, is_resumed=True)
        assert result.ended == ("stopped" if stop else "finished")
        assert not found.keys() & heard.losses.keys()  # no step is computed twice
        found |= heard.losses
    assert found == losses  # in every bit; asked for: 1e-6
    assert same(load(store, result.run_id, NUM_STEPS).state, last_state)


def test_from_an_older_checkpoint_the_steps_after_it_are_the_same_again(tmp_path, uninterrupted):
    losses, last_state = uninterrupted
    store = FileStore(tmp_path)
    dataset = with_held_out(small_dataset(store))
    result, _ = train_small(store, dataset, _CONFIG, until=7)
    assert stored_steps(store, result.run_id) == [3, 6, 7]
    for key in list(store.list(f"checkpoints/{result.run_id}/00000007/state")):
        store.put(key, b"cut off")
    result, heard = train_small(store, dataset, _CONFIG, is_resumed=True)
    assert heard.losses == {step: loss for step, loss in losses.items() if step > 6}
    assert [line.partition(":")[0] for line in heard.lines] == ["checkpoint 7 is passed over"]
    assert same(load(store, result.run_id, NUM_STEPS).state, last_state)
    logged = [point.step for point in read_points(store, result.run_id) if "loss" in point.values]
    assert logged == list(range(1, NUM_STEPS + 1))


def test_a_last_checkpoint_that_was_not_stored_gives_no_point_twice(tmp_path):
    class Small(FileStore):
        def put(self, key, data):
            if "/00000005/" in key:
                raise DiskFull("the disk is full")
            super().put(key, data)

    store = FileStore(tmp_path)
    dataset = small_dataset(store)
    with pytest.raises(Unavailable, match="checkpoint 5 is not stored, the last good one is of step 3"):
        train_small(Small(tmp_path), dataset, until=5, run_id="mine")
    assert [point.step for point in read_points(store, "mine")] == [1, 2, 3, 4, 5]
    train_small(store, dataset, run_id="mine", is_resumed=True)
    assert [point.step for point in read_points(store, "mine")] == list(range(1, NUM_STEPS + 1))


def test_other_threads_and_prefetching_change_no_loss(tmp_path, uninterrupted):
    losses, last_state = uninterrupted
    store = FileStore(tmp_path)
    config = replace(_CONFIG, reader=replace(CONFIG.reader, threads=3, prefetch_batches=5))
    result, heard = train_small(store, with_held_out(small_dataset(store)), config)
    assert heard.losses == losses
    assert same(load(store, result.run_id, NUM_STEPS).state, last_state)


def test_what_is_not_in_the_checkpoint_would_show(tmp_path, uninterrupted):
    losses, last_state = uninterrupted
    store = FileStore(tmp_path)
    other = replace(_CONFIG, loop=replace(_CONFIG.loop, seed=1))
    result, heard = train_small(store, with_held_out(small_dataset(store)), other)
    assert all(loss != losses[step] for step, loss in heard.losses.items())
    state = load(store, result.run_id, NUM_STEPS).state
    for of in ("model", "optimiser", "average", "reader"):
        assert not same(state[of], last_state[of]), of
    assert all(bool(torch.isfinite(value).all()) for value in state["model"].values())


def test_a_run_that_is_done_says_at_which_step(tmp_path):
    store = FileStore(tmp_path)
    dataset = small_dataset(store)
    train_small(store, dataset)
    result, heard = train_small(store, dataset, is_resumed=True)
    assert (result.ended, result.step, heard.losses) == ("finished", NUM_STEPS, {})
