"""What a run says of itself: points of curves, told at once and kept in chunks."""

from dataclasses import dataclass, field

import pytest

from gim import keys
from gim.adapters.store_file import FileStore
from gim.errors import Unavailable
from gim.ports.telemetry import NullTelemetry
from gim.training.journal import Journal, Point, read_points
from gim.training.window import Sum, Window


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


def journal_of(store, first_step=0):
    told = Told()
    journal = Journal(store, "run-1", first_step=first_step, telemetry=told, curves=told, on_point=told.points.append)
    return journal, told


def log(journal, step, loss):
    journal.add_windows(step, 8 * step, [Window(8, 1.0, sums={"loss": Sum(loss, 1)})], rate=0.1)


def test_everyone_hears_of_a_point(store):
    journal, told = journal_of(store)
    journal.note_step(1, num_pairs=8, is_good=True)
    log(journal, 1, 1.5)
    journal.add(1, 8, {"validation/loss": 0.5})
    assert [(point.step, "validation/loss" in point.values) for point in told.points] == [(1, False), (1, True)]
    assert ("loss", 1.5, 1) in told.scalars
    assert ("validation/loss", 0.5, 1) in told.scalars
    assert told.counted == [
        ("trained_pairs", 8, {"run_id": "run-1"}),
        ("training_bad_steps", 0, {"run_id": "run-1"}),  # so that there is a series of it
    ]
    assert told.levels["training_value run-1 validation/loss"] == 0.5


def test_a_point_is_of_all_ranks_and_its_speed_of_the_first(store):
    journal, told = journal_of(store)
    windows = [
        Window(8, seconds, wait_seconds=1.0, sums={"loss": Sum(loss, 2)}, skipped={("video", "too_few_labels"): 3})
        for seconds, loss in ((4.0, 1.0), (5.0, 5.0))
    ]
    point = journal.add_windows(2, 8, windows, rate=0.2)
    skipped = {"bad_steps": 0, "skipped/video/too_few_labels": 6}
    assert point.values == {"loss": 1.5, "lr": 0.2, "pairs_per_second": 2.0, "data_wait_share": 2 / 9, **skipped}
    where = {"run_id": "run-1", "part": "video", "reason": "too_few_labels"}
    assert told.counted == [("training_skipped_pairs", 6, where)]


def test_a_step_that_was_no_number_is_counted(store):
    journal, told = journal_of(store)
    for step, is_good in ((1, False), (2, True)):
        journal.note_step(step, num_pairs=4, is_good=is_good)
    assert [entry for entry in told.counted if entry[0] == "training_bad_steps"] == [
        ("training_bad_steps", 1, {"run_id": "run-1"}),
        ("training_bad_steps", 0, {"run_id": "run-1"}),
    ]
    assert told.levels["training_step run-1"] == 2


def test_a_stored_checkpoint_is_told_with_its_time(store):
    told = Told()
    Journal(store, "run-1", telemetry=told, now=lambda: 123.0).note_checkpoint(40)
    assert told.levels == {"training_checkpoint_step run-1": 40, "training_checkpoint_time_seconds run-1": 123.0}


def test_points_come_back_in_order_up_to_a_step(store):
    journal, told = journal_of(store)
    for step in range(1, 6):
        log(journal, step, float(step))
        if step in (2, 5):
            journal.flush(step)
    assert list(read_points(store, "run-1")) == told.points
    assert [point.step for point in read_points(store, "run-1", up_to=3)] == [1, 2, 3]
    assert list(read_points(store, "run-2")) == []


def test_what_a_killed_run_had_logged_is_overwritten_when_it_is_computed_again(store):
    for loss in (1.0, 2.0):
        journal, _ = journal_of(store)
        log(journal, 1, loss)
        journal.flush(1)
    assert [point.values["loss"] for point in read_points(store, "run-1")] == [2.0]


def test_points_after_the_checkpoint_that_a_run_goes_on_from_make_room_for_its_own(store):
    journal, _ = journal_of(store)
    for step in range(1, 8):
        log(journal, step, 1.0)
        if step in (3, 6, 7):  # by a signal after 7; neither 6 nor 7 was stored
            journal.flush(step)
    journal, _ = journal_of(store, first_step=3)
    assert [point.step for point in read_points(store, "run-1")] == list(range(1, 8))  # until there are others
    for step in (4, 5):
        log(journal, step, 2.0)
    journal.flush(5)
    assert [point.values["loss"] for point in read_points(store, "run-1")] == [1.0, 1.0, 1.0, 2.0, 2.0]


def test_points_that_could_not_be_stored_come_with_the_next(store):
    class Full(FileStore):
        is_full = True

        def put(self, key, data):
            if self.is_full:
                raise Unavailable("the disk is full")
            super().put(key, data)

    full = Full(store.root)
    journal, _ = journal_of(full)
    log(journal, 1, 1.0)
    with pytest.raises(Unavailable):
        journal.flush(1)
    full.is_full = False
    log(journal, 2, 2.0)
    journal.flush(2)
    assert [point.step for point in read_points(store, "run-1")] == [1, 2]
    assert list(store.list(keys.training_logs_prefix("run-1"))) == [keys.training_log("run-1", 2)]
