"""Checkpoints in the background: at most one on its way, none half, and trouble is told without ending the run."""

import threading
from pathlib import Path

import pytest
import torch

from gim import keys
from gim.adapters.store_file import FileStore
from gim.errors import DiskFull, InvalidInput, Unavailable
from gim.training.checkpoints.listing import stored_scores, stored_steps
from gim.training.checkpoints.reading import load, resume
from gim.training.checkpoints.saver import CheckpointSaver, NotSaved, Saved
from tests.unit.training.checkpoints.toy import TEMPLATE, ToyRun, same, weight_file

RUN = TEMPLATE.run_id


class Trouble(FileStore):
    """A store that can be made to wait or to fail."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.error: Exception | None = None
        self.delete_error: Exception | None = None
        self.may_write = threading.Event()
        self.may_write.set()
        self.num_puts = 0

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> bool:
        assert self.may_write.wait(20)
        self.num_puts += 1
        if self.error is not None and not key.endswith(".safetensors"):
            raise self.error
        return super().put(key, data, if_absent=if_absent)

    def delete(self, key: str) -> None:
        if self.delete_error is not None and "00000010" in key:
            raise self.delete_error
        super().delete(key)


@pytest.fixture
def store(tmp_path: Path) -> Trouble:
    return Trouble(tmp_path / "store")


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("gim-checkpoint")]


def state_of(step: int) -> dict:
    return {"step": step, "weights": torch.full((8,), float(step))}


def steps_of(saver: CheckpointSaver, *steps: int) -> None:
    for step in steps:
        saver.save(step, state_of(step))
        assert isinstance(saver.wait(), Saved)


def test_training_goes_on_while_the_state_of_the_step_is_written(store):
    store.may_write.clear()
    with torch.random.fork_rng(devices=[]), CheckpointSaver(store, TEMPLATE) as saver:
        run = ToyRun()
        run.train_step()
        copied = run.state()
        copied["network"] = {name: value.clone() for name, value in copied["network"].items()}
        assert saver.save(1, run.state(), run.weights()) is None
        run.train_step()
        assert not same(run.state()["network"], copied["network"])
        assert saver.outcome() is None
        assert stored_steps(store, RUN) == []
        store.may_write.set()
        outcome = saver.wait()
        assert isinstance(outcome, Saved)
        assert (outcome.step, saver.outcome(), saver.wait()) == (1, None, None)
    loaded = load(store, RUN, 1)
    assert same(loaded.state["network"], copied["network"])
    assert loaded.state["optimiser"]["state"][0]["step"] == 1


def test_one_checkpoint_is_on_its_way_at_a_time_and_each_is_told_once(store):
    store.may_write.clear()
    with CheckpointSaver(store, TEMPLATE) as saver:
        saver.save(10, state_of(10))
        threading.Timer(0.1, store.may_write.set).start()
        assert saver.save(20, state_of(20)).step == 10
        assert stored_steps(store, RUN)[:1] == [10]
        assert saver.close().step == 20


def test_a_step_that_is_stored_is_not_stored_again(store, tmp_path):
    (tmp_path / "made").write_bytes(b"weights")
    with CheckpointSaver(store, TEMPLATE) as saver:
        steps_of(saver, 10)
        before = store.num_puts
        assert saver.save(10, state_of(10), [weight_file(tmp_path / "made")]) is None
        assert saver.wait() is None
    assert store.num_puts == before


def test_a_full_disk_leaves_the_last_good_one_and_the_next_is_another_try(store):
    with CheckpointSaver(store, TEMPLATE, keep_last=3) as saver:
        steps_of(saver, 10)
        store.error = DiskFull("/store: the disk is full: free some space")
        saver.save(20, state_of(20))
        assert saver.save(30, state_of(30)) == NotSaved(20, "/store: the disk is full: free some space")
        assert saver.wait().step == 30
        assert [key for key in store.list() if "00000010" not in key] == []  # what was written takes no room
        store.error = None
        steps_of(saver, 40)
    assert stored_steps(store, RUN) == [10, 40]
    assert resume(store, RUN).state["step"] == 40


def test_a_run_whose_last_checkpoint_is_not_stored_ends_with_exit_code_3(store):
    saver = CheckpointSaver(store, TEMPLATE)
    steps_of(saver, 10)
    store.error = DiskFull("/store: the disk is full")
    saver.save(20, state_of(20))
    with pytest.raises(
        Unavailable, match=r"run run-1: checkpoint 20 is not stored, the last good one is of step 10"
    ) as it:
        saver.close()
    assert it.value.exit_code == 3
    assert "\n" not in str(it.value)
    assert resume(store, RUN).step == 10


def test_an_error_of_the_program_is_raised_at_the_next_save(store):
    with CheckpointSaver(store, TEMPLATE) as saver:
        store.error = RuntimeError("no error of ours")
        saver.save(10, state_of(10))
        with pytest.raises(RuntimeError, match="no error of ours"):
            saver.save(20, state_of(20))
        store.error = None
    assert stored_steps(store, RUN) == []


def test_what_cannot_be_stored_is_the_callers_error_at_once(store):
    with CheckpointSaver(store, TEMPLATE) as saver:
        with pytest.raises(InvalidInput, match="reader is a set"):
            saver.save(10, {"reader": {1}})


def test_the_error_that_ends_a_run_is_the_one_that_is_seen(store):
    def fail() -> None:
        with CheckpointSaver(store, TEMPLATE) as saver:
            saver.save(10, state_of(10))
            raise ZeroDivisionError

    store.error = DiskFull("the disk is full")
    with pytest.raises(ZeroDivisionError):
        fail()


def test_the_last_and_the_best_are_kept(store):
    scores = {10: 0.1, 20: 0.9, 30: 0.2, 40: 0.8, 50: 0.3}
    with CheckpointSaver(store, TEMPLATE, keep_last=1, keep_best=2) as saver:
        for step, score in scores.items():
            steps_of(saver, step)
            saver.score(step, score)
        assert stored_steps(store, RUN) == [20, 40, 50]
        with pytest.raises(InvalidInput, match="its score is nan"):
            saver.score(50, float("nan"))
    assert stored_scores(store, RUN, [20, 40, 50]) == {20: 0.9, 40: 0.8, 50: 0.3}  # the last one at the end
    with CheckpointSaver(store, TEMPLATE, keep_last=1, keep_best=2, resumed_from=50) as saver:
        saver.save(60, state_of(60))
        assert saver.wait().removed == (50,)
    assert stored_steps(store, RUN) == [20, 40, 60]


def test_old_ones_that_cannot_be_removed_are_told_and_tried_again(store):
    with CheckpointSaver(store, TEMPLATE, keep_last=1) as saver:
        steps_of(saver, 10)
        store.delete_error = Unavailable("the server is away")
        saver.save(20, state_of(20))
        outcome = saver.wait()
        assert isinstance(outcome, Saved)
        assert (outcome.removed, outcome.trouble) == ((), "the server is away")
        store.delete_error = None
        saver.save(30, state_of(30))
        assert saver.wait().removed == (10, 20)


def test_what_a_killed_process_has_left_is_cleared_away(store):
    key = keys.checkpoint_state(RUN, 20, "00000.safetensors")
    with CheckpointSaver(store, TEMPLATE) as saver:
        steps_of(saver, 10)
    store.put(key, b"half")
    with CheckpointSaver(store, TEMPLATE, resumed_from=resume(store, RUN).step) as saver:
        steps_of(saver, 30)
    assert not store.exists(key)


def test_damaged_ones_that_were_passed_over_are_replaced(store):
    with CheckpointSaver(store, TEMPLATE, keep_last=5) as saver:
        steps_of(saver, 10, 20, 30)
    for step in (20, 30):
        store.put(keys.checkpoint_state(RUN, step, "state.json"), b"damaged")
    loaded = resume(store, RUN)
    assert (loaded.step, [passed.step for passed in loaded.passed_over]) == (10, [30, 20])
    with CheckpointSaver(store, TEMPLATE, keep_last=5, resumed_from=10) as saver:
        saver.save(20, state_of(20))
        assert saver.wait().removed == (30,)
    assert resume(store, RUN).step == 20


def test_a_new_run_of_an_old_name_is_refused_and_touches_nothing(store):
    with CheckpointSaver(store, TEMPLATE) as saver:
        steps_of(saver, 10)
    with pytest.raises(InvalidInput, match="run run-1 has checkpoints, the newest of step 10: go on with --resume"):
        CheckpointSaver(store, TEMPLATE)
    assert resume(store, RUN).step == 10


@pytest.mark.parametrize("num_written", [0, 1, 2])
def test_a_crash_between_the_files_leaves_no_checkpoint(store, monkeypatch, num_written):
    with CheckpointSaver(store, TEMPLATE) as saver:
        steps_of(saver, 10)
    written: list[str] = []
    put = store.put

    def put_some(key: str, data: bytes) -> bool:
        if len(written) == num_written:
            raise Unavailable("the power is gone")
        written.append(key)
        return put(key, data)

    monkeypatch.setattr(store, "put", put_some)
    monkeypatch.setattr(store, "delete", lambda key: None)  # nor is anything cleared away
    saver = CheckpointSaver(store, TEMPLATE, resumed_from=10)
    saver.save(20, state_of(20))
    with pytest.raises(Unavailable):
        saver.close()
    assert (len(written), resume(store, RUN).step) == (num_written, 10)
