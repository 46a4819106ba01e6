"""Steps that are no numbers: skipped, counted, dumped, and too many of them end the run with one line."""

import io
import re
from math import isfinite

import pytest
import torch

from gim import keys
from gim.adapters.store_file import FileStore
from gim.errors import InvalidInput
from gim.training.checkpoints.listing import stored_steps
from gim.training.checkpoints.reading import load
from tests.unit.training.run_small import NUM_STEPS, changed, small_dataset, train_small


class BadOnes:
    """Says of the n-th batches that they are bad, and remembers their pairs."""

    def __init__(self, *numbers):
        self.numbers, self.count, self.names = set(numbers), 0, []

    def __call__(self, batch):
        self.count += 1
        if self.count not in self.numbers:
            return False
        self.names.append(batch.names)
        return True


def dumps_of(store, run_id):
    found = {}
    for key in store.list(keys.checkpoints_prefix(run_id) + "bad/"):
        found[int(key.rpartition("/")[2][:8])] = torch.load(io.BytesIO(store.get(key)), weights_only=True)
    return found


@pytest.fixture(scope="module")
def run_with_two(tmp_path_factory):
    """A run of which a micro-batch of step 3 and two of step 7 are bad."""
    store = FileStore(tmp_path_factory.mktemp("bad"))
    bad = BadOnes(10, 25, 28)
    dataset = small_dataset(store)
    result, heard = train_small(store, dataset, changed(loop={"ema": 0.9}), is_bad=bad)
    return store, dataset, bad, result, heard


def test_bad_steps_are_told_counted_and_dumped(run_with_two):
    store, _, bad, result, heard = run_with_two
    assert (result.ended, result.step, result.num_bad_steps) == ("finished", NUM_STEPS, 2)
    assert heard.lines == [
        f"step {step}: the gradient is no number, nothing was changed ({count} such steps so far)"
        for step, count in ((3, 1), (7, 2))
    ]
    dumps = dumps_of(store, result.run_id)
    assert [(step, [item["names"] for item in dumped]) for step, dumped in dumps.items()] == [
        (3, bad.names[:1]),
        (7, bad.names[1:]),
    ]
    (item,) = dumps[3]
    assert item["batch"]["images0"].shape == (1, 3, 32, 48)
    assert item["batch"]["truth"]
    assert all(isfinite(loss) for loss in heard.losses.values())  # means of those that are numbers


def test_a_bad_step_changes_nothing_not_even_running_statistics(run_with_two):
    store, _, _, result, _ = run_with_two
    state = load(store, result.run_id, NUM_STEPS).state
    for of in (state["model"], state["average"]["averages"], state["average"]["buffers"]):
        assert [name for name, value in of.items() if not torch.isfinite(value).all()] == []


def test_weights_stay_numbers(run_with_two):
    store, _, _, result, _ = run_with_two
    averages = load(store, result.run_id, NUM_STEPS).state["average"]["averages"]
    assert all(torch.isfinite(value).all() for value in averages.values())


def test_too_many_in_a_row_end_the_run_with_one_line_and_what_was_stored_stays(tmp_path):
    store = FileStore(tmp_path)
    bad = BadOnes(*range(17, 100))  # from step 5 on
    with pytest.raises(InvalidInput) as raised:
        train_small(store, small_dataset(store), is_bad=bad)
    assert re.fullmatch(r"step 8: the gradients of 4 steps in a row are no numbers; .+", str(raised.value))
    (run_id,) = {key.split("/")[1] for key in store.list("checkpoints/")}
    assert stored_steps(store, run_id)[0] == 3
    assert list(dumps_of(store, run_id)) == [5, 6, 7, 8]


def test_a_run_of_nothing_but_bad_steps_fills_no_store(tmp_path):
    store = FileStore(tmp_path)
    config = changed(loop={"max_bad_batches": 100}, schedule={"pairs": 14 * 4})
    result, _ = train_small(store, small_dataset(store), config, is_bad=lambda _: True)
    assert result.num_bad_steps == 14
    assert len(dumps_of(store, result.run_id)) == 10
