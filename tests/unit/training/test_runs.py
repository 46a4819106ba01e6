"""Which checkpoint a run's name stands for, and what is said where it stands for none."""

import re
import subprocess
import sys

import pytest

from gim import keys
from gim.adapters.store_file import FileStore
from gim.errors import CorruptObject, InvalidInput
from gim.training.runs import checkpoint_name, find_checkpoint, read_run, run_ids, runs_of
from tests.trained_run import NUM_STEPS, RUN_ID, begin, plant_checkpoint


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "store")


def plant(store, scores, *, run_id=RUN_ID, is_begun=True):
    if is_begun:
        begin(store, run_id)
    for step, score in scores.items():
        plant_checkpoint(store, step, b"weights", run_id=run_id, score=score)


def found(store, name):
    return find_checkpoint(store, name).step


@pytest.mark.parametrize(
    ("scores", "step"),
    [
        ({20: None, 40: None}, 40),
        ({20: 0.7, 40: 0.6}, 20),
        ({20: 0.6, 40: 0.6}, 40),
        ({20: -3.0, 40: None}, 20),
    ],
    ids=["last", "best", "later of equals", "the only one with a score"],
)
def test_a_finished_run_is_its_best_checkpoint_or_its_last(store, scores, step):
    plant(store, scores)
    assert found(store, f"run:{RUN_ID}") == step == read_run(store, RUN_ID).result
    assert checkpoint_name(find_checkpoint(store, f"run:{RUN_ID}")) == f"run:{RUN_ID}@{step}"


def test_a_step_names_its_checkpoint_whatever_its_score(store):
    plant(store, {20: 0.7, 40: 0.6})
    assert found(store, f"run:{RUN_ID}@40") == found(store, f"run:{RUN_ID}@00000040") == 40


def test_a_run_that_goes_on_is_no_checkpoint_but_has_some(store):
    plant(store, {20: 0.7})
    run = read_run(store, RUN_ID)
    assert (run.is_finished, run.result, run.best, run.num_steps) == (False, None, 20, NUM_STEPS)
    with pytest.raises(InvalidInput, match=rf"not finished, 20 of 40 steps .* as in run:{RUN_ID}@20"):
        find_checkpoint(store, f"run:{RUN_ID}")
    assert found(store, f"run:{RUN_ID}@20") == 20


def test_a_run_without_a_checkpoint_says_so(store):
    begin(store)
    with pytest.raises(InvalidInput, match="has no checkpoint yet"):
        find_checkpoint(store, f"run:{RUN_ID}")
    with pytest.raises(InvalidInput, match="no checkpoint of step 20: it has none yet"):
        find_checkpoint(store, f"run:{RUN_ID}@20")


def test_checkpoints_that_somebody_else_put_there_are_a_finished_run(store):
    plant(store, {7: None}, is_begun=False)
    assert found(store, f"run:{RUN_ID}") == 7


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("run:tiny-0a1b2c3e", rf"no run 'tiny-0a1b2c3e' in this store \(did you mean {RUN_ID}\?\); see `gim ls runs`"),
        (f"run:{RUN_ID}@30", "no checkpoint of step 30: its last are of 20, 40"),
        ("run:", "expected run:ID or run:ID@STEP"),
        (f"run:{RUN_ID}@last", "expected run:ID or run:ID@STEP"),
        (f"run:{RUN_ID}@²", "expected run:ID or run:ID@STEP"),
        ("run:../secrets", "no run can be called so"),
    ],
)
def test_a_name_that_stands_for_nothing_is_refused_in_one_line(store, name, said):
    plant(store, {20: None, 40: None})
    with pytest.raises(InvalidInput, match=said) as error:
        find_checkpoint(store, name)
    assert "\n" not in str(error.value)


def test_runs_are_listed_by_id_and_a_damaged_record_hides_none(store):
    plant(store, {40: 0.5}, run_id="b-00000000")
    plant(store, {20: None}, run_id="a-00000000")
    store.put(f"{keys.checkpoints_prefix('left-over')}00000003/state/00000.safetensors", b"half a checkpoint")
    assert run_ids(store) == ["a-00000000", "b-00000000", "left-over"]
    assert [(run.run_id, run.steps, run.result) for run in runs_of(store)] == [
        ("a-00000000", (20,), None),
        ("b-00000000", (40,), 40),
    ]
    store.put(keys.training_run("a-00000000"), b"{")
    assert [run.run_id for run in runs_of(store)] == ["a-00000000", "b-00000000"]
    with pytest.raises(CorruptObject, match=re.escape(keys.training_run("a-00000000"))):
        read_run(store, "a-00000000")


def test_looking_for_runs_loads_no_torch():
    code = "import sys, gim.training.runs, gim.runtime.trained; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
