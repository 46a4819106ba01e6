"""The trainer's job without its network: what it trains and on what, when it goes on, whom it tells, how it ends."""

import hashlib
import io
import json
import os
import signal
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gim import codecs, keys
from gim.adapters.bus_sqlite import SqliteBus
from gim.adapters.kafka.config import KafkaConfig
from gim.adapters.store_file import FileStore
from gim.datasets.config import DatasetConfig
from gim.datasets.manifest import dataset_ids, read_dataset
from gim.errors import ConfigError, InvalidInput, Unavailable
from gim.ports.bus import Bus
from gim.ports.store import Store
from gim.records import CheckpointFile, CheckpointManifest
from gim.runtime import training_bells
from gim.runtime.logs import make_log
from gim.runtime.training_job import STOPPED, run_training_job
from gim.settings import ServiceConfig, Settings, TrainerConfig
from gim.training.journal import Point
from gim.training.run import RunRequest, RunResult
from gim.training.run_record import RunRecord, begin_run, settings_of
from gim.wire import topics
from gim.wire.v1.events_pb2 import CheckpointReady
from tests.finished_pairs import finish

STEPS = 6  # of a run here; a checkpoint after every second one, of which the last two are kept
KAFKA = KafkaConfig(("nobody:1",))


def put_checkpoint(store: Store, run_id: str, step: int, dataset_id: str) -> None:
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(1)}, buffer)
    data, key = buffer.getvalue(), keys.checkpoint_weights(run_id, step, "w.ckpt")
    store.put(key, data)
    file = CheckpointFile(key, hashlib.sha256(data).hexdigest(), len(data))
    manifest = CheckpointManifest(run_id, step, "loftr", [file], dataset_id)
    store.put(keys.checkpoint_manifest(run_id, step), codecs.to_json(manifest))


@dataclass
class FakeTraining:
    """In place of training: the objects of a run, as far as its job looks at them."""

    stop_after: int = STEPS  # told to stop, or killed
    is_killed: bool = False
    in_step: Callable[[], None] = lambda: None
    requests: list[RunRequest] = field(default_factory=list)

    def __call__(self, request: RunRequest) -> RunResult:
        self.requests.append(request)
        store, run_id, dataset_id = request.store, request.run_id, request.dataset.dataset_id
        begin_run(store, RunRecord(run_id, "tiny", dataset_id, "", settings_of(request.config)))
        request.on_prepared(5, 5)
        step = 0
        for step in range(1, STEPS + 1):
            self.in_step()
            request.telemetry.count("pairs_kept", 4, run_id)
            request.on_point(Point(step, 4 * step, {"loss": 1 / step, "pairs_per_second": 20.0, "video/positive": 3.0}))
            is_stopped = request.is_told_to_stop() or step == self.stop_after
            if step % 2 == 0 or (is_stopped and not self.is_killed):
                put_checkpoint(store, run_id, step, dataset_id)
                store.delete(keys.checkpoint_manifest(run_id, step - 4))
                request.on_saved(step)
            if is_stopped and step < STEPS:
                if self.is_killed:
                    raise SystemError("killed")
                return RunResult(run_id, "stopped", step, 0, {})
        return RunResult(run_id, "finished", step, 0, {"video/few_labels": 1})


@dataclass
class Job:
    """A trainer on a store in a folder, started again and again."""

    root: Path
    settings: Settings

    def run(self, training: FakeTraining, **changes: Any) -> tuple[int, list[dict[str, Any]]]:
        """Exit code and lines of the log."""
        stream, settings = io.StringIO(), replace(self.settings, **changes)
        try:
            code = run_training_job(settings, make_log(stream, "json"), environment={}, train=training)
        except SystemError:
            code = -9
        self.lines = [json.loads(line) for line in stream.getvalue().splitlines()]
        return code, self.lines

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines]


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    with closing(FileStore(tmp_path / "store")) as made:
        finish(made, 0)
        yield made


@pytest.fixture
def job(store: FileStore, tmp_path: Path) -> Job:
    changes = ["train.schedule.pairs=24", "train.loop.batch_size=4", "train.loop.canonical_batch=4"]
    settings = replace(
        Settings.load(changes, environ={}),
        store=str(tmp_path / "store"),
        dataset=DatasetConfig(name="films", held_out_share=0.0),
        service=ServiceConfig(http_host="127.0.0.1", http_port=0),
    )
    return Job(tmp_path / "store", settings)


@pytest.fixture
def bus_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `open_bus` opens."""
    path = tmp_path / "bus" / "bus.sqlite"
    monkeypatch.setattr(training_bells, "open_bus", lambda _settings, client_id: SqliteBus(path))
    return path


def rung(path: Path) -> list[tuple[str, int]]:
    with closing(SqliteBus(path)) as bus:
        events = [CheckpointReady.FromString(message.value) for message in bus.read(topics.CHECKPOINTS)]
    return [(event.run_id, event.step) for event in events]


def test_it_makes_a_dataset_trains_on_it_and_does_nothing_a_second_time(job: Job, store: FileStore) -> None:
    training = FakeTraining()
    code, lines = job.run(training)
    assert code == 0
    (dataset_id,) = dataset_ids(store)
    (request,) = training.requests
    assert (request.dataset, request.is_resumed) == (read_dataset(store, dataset_id), False)
    assert request.run_id.startswith("tiny-")
    assert job.events()[:4] == ["service_started", "no_bus", "dataset_built", "run_begun"]
    point = next(line for line in lines if line["event"] == "progress" and line["step"] == 3)
    assert (point["run"], point["pairs"], point["loss"]) == (request.run_id, 12, 0.333333)
    assert (point["pairs_per_second"], point["video/positive"]) == (20.0, 3.0)
    assert [line["step"] for line in lines if line["event"] == "checkpoint_stored"] == [2, 4, 6]
    assert (lines[-1]["event"], lines[-1]["step"], lines[-1]["skipped"]) == ("run_finished", 6, {"video/few_labels": 1})

    again = FakeTraining()
    assert job.run(again)[0] == 0
    assert (again.requests, job.events()[2:]) == ([], ["dataset_present", "nothing_to_train"])


def test_it_answers_over_http_while_it_trains(job: Job) -> None:
    answers: dict[str, str] = {}
    stream = io.StringIO()

    def ask() -> None:
        port = json.loads(stream.getvalue().splitlines()[0])["http_port"]
        for page in ("healthz", "readyz", "metrics"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=10) as answer:
                answers[page] = answer.read().decode()

    code = run_training_job(job.settings, make_log(stream, "json"), environment={}, train=FakeTraining(in_step=ask))
    assert (code, answers["healthz"], answers["readyz"]) == (0, "alive\n", "ready\n")
    assert "gim_training_pairs_total 20.0\n" in answers["metrics"]
    assert 'gim_store_requests_total{operation="put",outcome="ok"}' in answers["metrics"]


@pytest.mark.parametrize("is_killed", [False, True])
def test_an_unfinished_run_goes_on_with_its_data_though_more_have_come(
    job: Job, store: FileStore, is_killed: bool
) -> None:
    first, second, third = FakeTraining(3, is_killed=is_killed), FakeTraining(), FakeTraining()
    assert job.run(first)[0] == (-9 if is_killed else STOPPED)
    finish(store, 1)
    code, lines = job.run(second)
    assert code == 0
    assert [line["step"] for line in lines if line["event"] == "run_goes_on"] == [2 if is_killed else 3]
    (before,), (after,) = first.requests, second.requests
    assert (after.run_id, after.dataset, after.is_resumed) == (before.run_id, before.dataset, True)
    assert len(dataset_ids(store)) == 1

    assert job.run(third)[0] == 0
    (grown,) = third.requests
    assert len(grown.dataset.videos) == 2
    assert (grown.run_id == before.run_id, grown.is_resumed, grown.config.start) == (False, False, "")


def test_a_run_on_grown_data_may_begin_with_what_the_last_has_learnt(job: Job, store: FileStore) -> None:
    trainer = TrainerConfig(start_from_last=True)
    starts, runs = [], []
    for number, stop_after in enumerate((STEPS, 3, STEPS, STEPS)):
        training = FakeTraining(stop_after)
        job.run(training, trainer=trainer)
        (request,) = training.requests
        starts.append(request.config.start)
        runs.append(request.run_id)
        finish(store, number + 1)
    assert runs[1] == runs[2]  # one that was stopped goes on
    assert len(set(runs)) == 3
    assert starts == ["", f"run:{runs[0]}@6", f"run:{runs[0]}@6", f"run:{runs[2]}@6"]


def test_a_run_one_of_whose_videos_was_purged_is_given_up(job: Job, store: FileStore) -> None:
    video_id = finish(store, 1)
    first, second = FakeTraining(3), FakeTraining()
    job.run(first)
    store.put(keys.purge_mark(video_id), b"{}")
    assert job.run(second)[0] == 0
    given_up = next(line for line in job.lines if line["event"] == "run_given_up")
    assert (given_up["run"], given_up["why"]) == (first.requests[0].run_id, f"{video_id} has been purged")
    assert [video.video_id == video_id for video in second.requests[0].dataset.videos] == [False]
    assert second.requests[0].run_id != first.requests[0].run_id


def test_other_settings_of_the_data_or_the_recipe_are_another_trainer(job: Job) -> None:
    runs = []
    for change in ({}, {"dataset": DatasetConfig(name="other", held_out_share=0.0)}, {"train": seeded(job, 1)}):
        training = FakeTraining(3)
        job.run(training, **change)
        runs.append(training.requests[0].run_id)
        assert not training.requests[0].is_resumed
    assert len(set(runs)) == 3
    again = FakeTraining()
    job.run(again)
    assert (again.requests[0].run_id, again.requests[0].is_resumed) == (runs[0], True)


def seeded(job: Job, seed: int) -> Any:
    return replace(job.settings.train, loop=replace(job.settings.train.loop, seed=seed))


def test_a_signal_ends_it_with_the_code_that_asks_for_another_start(job: Job) -> None:
    code, lines = job.run(FakeTraining(in_step=lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert (code, lines[-1]["event"], lines[-1]["step"]) == (STOPPED, "run_stopped", 1)


def test_a_signal_while_the_dataset_is_made_ends_it_at_once(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def never_ends(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("it went on")

    monkeypatch.setattr("gim.runtime.training_turn.build_dataset", never_ends)
    training = FakeTraining()
    code, lines = job.run(training)
    assert (code, lines[-1]["event"], training.requests) == (STOPPED, "stopped_at_once", [])


def test_evaluators_are_told_of_what_a_finished_run_keeps_and_only_once(job: Job, bus_file: Path) -> None:
    training = FakeTraining(4)
    assert job.run(training, kafka=KAFKA)[0] == STOPPED
    assert rung(bus_file) == []
    assert job.run(FakeTraining(), kafka=KAFKA)[0] == 0
    run_id = training.requests[0].run_id
    assert rung(bus_file) == [(run_id, 4), (run_id, 6)]
    assert job.run(FakeTraining(), kafka=KAFKA)[0] == 0
    assert len(rung(bus_file)) == 2
    with closing(SqliteBus(bus_file)) as bus:
        message = next(bus.read(topics.CHECKPOINTS))
    event = CheckpointReady.FromString(message.value)
    assert (message.key, event.matcher) == (run_id, "loftr")
    assert event.checkpoint == keys.checkpoint_weights(run_id, 4, "w.ckpt")
    assert event.dataset_id == training.requests[0].dataset.dataset_id
    assert message.headers == {"gim-type": "gim.wire.v1.CheckpointReady", "gim-producer": "trainer"}


def test_evaluators_are_told_of_each_checkpoint_where_that_is_asked_for(job: Job, bus_file: Path) -> None:
    changes = {"kafka": KAFKA, "trainer": TrainerConfig(announce="each")}
    seen: list[int] = []
    training = FakeTraining(5, is_killed=True, in_step=lambda: seen.append(len(rung(bus_file))))
    assert job.run(training, **changes)[0] == -9
    assert seen == [0, 0, 1, 1, 2]
    job.run(FakeTraining(), **changes)
    # Whether the last bells had been rung before the kill nobody knows: they are rung again.
    assert [step for _, step in rung(bus_file)] == [2, 4, 2, 4, 2, 4, 6]


def test_a_bus_that_is_away_costs_time_and_no_training(
    job: Job, bus_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> Bus:
        raise Unavailable("nobody:1: no broker answers")

    with monkeypatch.context() as patch:
        patch.setattr(training_bells, "open_bus", away)
        training, trainer = FakeTraining(), TrainerConfig(announce="each")
        with pytest.raises(Unavailable, match="no broker"):
            job.run(training, kafka=KAFKA, trainer=trainer)
    assert len(training.requests) == 1
    again = FakeTraining()
    assert job.run(again, kafka=KAFKA)[0] == 0
    assert again.requests == []
    assert [step for _, step in rung(bus_file)] == [4, 6]


def test_a_bus_that_refuses_us_is_told_before_anything_is_trained(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Bus:
        raise ConfigError("access denied")

    monkeypatch.setattr(training_bells, "open_bus", refuse)
    training = FakeTraining()
    with pytest.raises(ConfigError, match="access denied"):
        job.run(training, kafka=KAFKA)
    assert training.requests == []


def test_too_few_pairs_are_no_error_and_nothing_is_trained(job: Job, store: FileStore) -> None:
    training = FakeTraining()
    code, lines = job.run(training, dataset=DatasetConfig(name="films", held_out_share=0.0, min_pairs=6))
    assert (code, lines[-1]["event"], training.requests) == (0, "dataset_too_small", [])
    finish(store, 1)
    assert job.run(training, dataset=DatasetConfig(name="films", held_out_share=0.0, min_pairs=6))[0] == 0
    assert len(training.requests) == 1


def test_it_trains_on_a_dataset_that_is_there_where_one_is_named(job: Job, store: FileStore) -> None:
    job.run(FakeTraining())
    (dataset_id,) = dataset_ids(store)
    finish(store, 1)

    named, trainer = FakeTraining(), TrainerConfig(dataset=dataset_id)
    code, _ = job.run(named, trainer=trainer, train=seeded(job, 1))
    assert (code, named.requests[0].dataset.dataset_id, dataset_ids(store)) == (0, dataset_id, [dataset_id])
    with pytest.raises(InvalidInput, match="films-nowhere"):
        job.run(FakeTraining(), trainer=TrainerConfig(dataset="films-nowhere"))


def test_it_only_makes_the_dataset_where_that_is_asked_for(job: Job, store: FileStore) -> None:
    training, trainer = FakeTraining(), TrainerConfig(dataset_only=True)
    code, _ = job.run(training, trainer=trainer)
    assert (code, job.events(), training.requests) == (0, ["service_started", "dataset_begun", "dataset_built"], [])
    settings, stream = replace(job.settings, trainer=trainer), io.StringIO()
    other = {"RANK": "1", "LOCAL_RANK": "1"}
    assert run_training_job(settings, make_log(stream, "json"), environment=other) == 0
    assert stream.getvalue() == ""  # of several processes the first alone does it
