"""What a run says of itself: means over windows, told at once and kept in chunks."""

from dataclasses import dataclass, field
from math import isnan, nan

import pytest
import torch

from gim import keys
from gim.adapters.store_file import FileStore
from gim.errors import Unavailable
from gim.ports.telemetry import NullTelemetry
from gim.training.journal import Journal, Point, read_points
from gim.training.step import StepResult
from tests.unit.training.toy import Rows, ToyMicroBatch


def result(loss: float, wait_seconds: float = 0.0, *, skipped: int = 0, **terms: float) -> StepResult:
    seen = ToyMicroBatch(Rows(torch.zeros(1, 4)), skipped={"too_few_labels": skipped} if skipped else {})
    return StepResult(loss, terms, 1.0, not isnan(loss), (), (seen,), 1, wait_seconds)


@dataclass
class Told(NullTelemetry):
    """What a journal tells others."""

    points: list[Point] = field(default_factory=list)
    scalars: list[tuple[str, float, int]] = field(default_factory=list)
    counted: list[tuple[str, float, dict[str, str]]] = field(default_factory=list)
    levels: dict[str, float] = field(default_factory=dict)

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self.scalars.append((tag, scalar_value, global_step))

    def close(self) -> None:
        pass

    def count(self, name: str, value: float, video_id: str, **labels: str) -> None:
        self.counted.append((name, value, labels))

    def set_level(self, name: str, value: float, **labels: str) -> None:
        self.levels[" ".join([name, *labels.values()])] = value


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path)


def journal_of(store, told=None, every_pairs=8):
    told = told or Told()
    return Journal(
        store, "run-1", every_pairs=every_pairs, telemetry=told, curves=told, on_point=told.points.append
    ), told


def test_a_point_is_the_mean_of_its_window_without_what_was_no_number(store):
    journal, _ = journal_of(store)
    assert journal.add_step(1, 4, result(1.0, 0.5, **{"video/x": 2.0}), num_pairs=4, seconds=1.0, rate=0.1) is None
    point = journal.add_step(2, 8, result(nan, 0.25), num_pairs=4, seconds=2.0, rate=0.2)
    assert point == Point(
        2,
        8,
        {
            "loss": 1.0,
            "gradient_norm": 1.0,
            "video/x": 2.0,
            "lr": 0.2,
            "pairs_per_second": pytest.approx(8 / 3),
            "data_wait_share": pytest.approx(0.25),
            "bad_steps": 1,
        },
    )
    assert journal.add_step(3, 12, result(5.0), num_pairs=4, seconds=1.0, rate=0.1) is None
    again = journal.add_step(4, 16, result(7.0), num_pairs=4, seconds=1.0, rate=0.1)
    assert again is not None
    assert again.values["loss"] == 6.0  # of its own window alone


def test_everyone_hears_of_a_point(store):
    journal, told = journal_of(store)
    journal.add_step(1, 8, result(1.5), num_pairs=8, seconds=1.0, rate=0.1)
    journal.add(1, 8, {"validation/loss": 0.5})
    assert [(point.step, "validation/loss" in point.values) for point in told.points] == [(1, False), (1, True)]
    assert ("loss", 1.5, 1) in told.scalars
    assert ("validation/loss", 0.5, 1) in told.scalars
    assert told.counted == [("trained_pairs", 8, {"run_id": "run-1"})]
    assert told.levels["training_value run-1 validation/loss"] == 0.5


def test_what_was_skipped_and_what_was_no_number_is_counted(store):
    journal, told = journal_of(store)
    journal.add_step(1, 4, result(nan, skipped=2), num_pairs=4, seconds=1.0, rate=0.1)
    point = journal.add_step(2, 8, result(1.0, skipped=1), num_pairs=4, seconds=1.0, rate=0.1)
    assert point is not None
    assert (point.values["skipped/video/too_few_labels"], point.values["bad_steps"]) == (3, 1)
    where = {"run_id": "run-1", "part": "video", "reason": "too_few_labels"}
    assert [entry for entry in told.counted if entry[0] == "training_skipped_pairs"] == [
        ("training_skipped_pairs", 2, where),
        ("training_skipped_pairs", 1, where),
    ]
    assert ("training_bad_steps", 1, {"run_id": "run-1"}) in told.counted
    assert told.levels["training_step run-1"] == 2


def test_a_stored_checkpoint_is_told_with_its_time(store):
    told = Told()
    Journal(store, "run-1", every_pairs=8, telemetry=told, now=lambda: 123.0).note_checkpoint(40)
    assert told.levels == {"training_checkpoint_step run-1": 40, "training_checkpoint_time_seconds run-1": 123.0}


def test_points_come_back_in_order_up_to_a_step(store):
    journal, told = journal_of(store)
    for step in range(1, 6):
        journal.add_step(step, 8 * step, result(float(step)), num_pairs=8, seconds=1.0, rate=0.1)
        if step in (2, 5):
            journal.flush(step)
    assert list(read_points(store, "run-1")) == told.points
    assert [point.step for point in read_points(store, "run-1", up_to=3)] == [1, 2, 3]
    assert list(read_points(store, "run-2")) == []


def test_what_a_killed_run_had_logged_is_overwritten_when_it_is_computed_again(store):
    for loss in (1.0, 2.0):
        journal, _ = journal_of(store)
        journal.add_step(1, 8, result(loss), num_pairs=8, seconds=1.0, rate=0.1)
        journal.flush(1)
    assert [point.values["loss"] for point in read_points(store, "run-1")] == [2.0]


def test_points_that_could_not_be_stored_come_with_the_next(store):
    class Full(FileStore):
        is_full = True

        def put(self, key, data):
            if self.is_full:
                raise Unavailable("the disk is full")
            super().put(key, data)

    full = Full(store.root)
    journal, _ = journal_of(full)
    journal.add_step(1, 8, result(1.0), num_pairs=8, seconds=1.0, rate=0.1)
    with pytest.raises(Unavailable):
        journal.flush(1)
    full.is_full = False
    journal.add_step(2, 16, result(2.0), num_pairs=8, seconds=1.0, rate=0.1)
    journal.flush(2)
    assert [point.step for point in read_points(store, "run-1")] == [1, 2]
    assert list(store.list(keys.training_logs_prefix("run-1"))) == [keys.training_log("run-1", 2)]
