"""The trainer's job and the evaluator work on a real MinIO with no more rights than `access.toml` gives them."""

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gim import codecs, keys
from gim.adapters.bus_sqlite import SqliteBus
from gim.adapters.kafka.config import KafkaConfig
from gim.adapters.s3.store import MinioStore
from gim.benchmarks.stored import put_benchmark
from gim.datasets.config import DatasetConfig
from gim.datasets.manifest import dataset_ids
from gim.errors import ConfigError
from gim.evaluation.protocols import protocol_named
from gim.matchers.network import ModelResources
from gim.ports.telemetry import NullTelemetry
from gim.runtime import training_bells
from gim.runtime.access import read_access
from gim.runtime.dataset_job import run_dataset_job
from gim.runtime.logs import make_log
from gim.runtime.scoreboard import Scoreboard
from gim.runtime.training_job import STOPPED, run_training_job
from gim.settings import ServiceConfig, Settings, TrainerConfig
from gim.stages.evaluate import EvaluateStage, EvaluationReport, Judge
from gim.stages.evaluate_shards import EvaluateShardStage, HeldMatcher, PlanEvaluationStage
from gim.wire.v1.events_pb2 import CheckpointReady, EvaluationReady
from tests.finished_pairs import finish
from tests.integration.test_access_s3 import SERVICES, Bucket
from tests.posed_scene import write_scene
from tests.servers import S3Server
from tests.unit.runtime.test_training_job import STEPS, FakeTraining


@pytest.fixture
def bucket(minio_server: S3Server, unique: str) -> Iterator[Bucket]:
    with closing(Bucket(minio_server, unique)) as made:
        yield made


def test_the_trainer_builds_a_dataset_and_never_sees_a_film(bucket: Bucket) -> None:
    video_id = finish(bucket.root, 0)
    bucket.root.put(keys.video_source(video_id, "mp4"), b"the film")
    purged = finish(bucket.root, 1)
    bucket.root.put(keys.purge_mark(purged), b"{}")
    user = bucket.user(read_access(SERVICES, "trainer"))
    stream = io.StringIO()
    config = DatasetConfig(held_out_share=0)
    settings = replace(Settings(), store=f"s3://{bucket.name}", s3=user, dataset=config)
    for event in ("dataset_built", "dataset_present"):
        assert run_dataset_job(settings, make_log(stream, "json")) == 0
        last = json.loads(stream.getvalue().splitlines()[-1])
        assert (last["event"], last["videos"], [last["dataset"]]) == (event, 1, dataset_ids(bucket.root))
    with closing(MinioStore(user, bucket.name)) as store:
        with pytest.raises(ConfigError, match="access denied"):
            store.get(keys.video_source(video_id, "mp4"))


def test_the_trainer_looks_for_images_of_a_benchmark(bucket: Bucket, tmp_path: Path) -> None:
    put_benchmark(bucket.root, "room", write_scene(tmp_path / "room", num_pairs=1))
    video_id = finish(bucket.root, 0)
    stream = io.StringIO()
    config = DatasetConfig(held_out_share=0, keep_clear_of=("room",))
    user = bucket.user(read_access(SERVICES, "trainer"))
    settings = replace(Settings(), store=f"s3://{bucket.name}", s3=user, dataset=config)
    assert run_dataset_job(settings, make_log(stream, "json")) == 0
    (left_out,) = (line for line in map(json.loads, stream.getvalue().splitlines()) if "why" in line)
    assert (left_out["video"], left_out["reason"]) == (video_id, "leak")
    assert left_out["why"] == "cannot be compared: its frames are not in the store"


def test_the_trainer_trains_tells_and_forgets_with_its_own_key(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(bucket.root, 0)
    changes = ["train.schedule.pairs=24", "train.loop.batch_size=4", "train.loop.canonical_batch=4"]
    settings = replace(
        Settings.load(changes, environ={}),
        store=f"s3://{bucket.name}",
        s3=bucket.user(read_access(SERVICES, "trainer")),
        dataset=DatasetConfig(held_out_share=0.0),
        service=ServiceConfig(http_host="127.0.0.1", http_port=0),
        trainer=TrainerConfig(start_from_last=True),
        kafka=KafkaConfig(("nobody:1",)),
    )
    monkeypatch.setattr(training_bells, "open_bus", lambda _, client_id: SqliteBus(tmp_path / "bus.sqlite"))
    starts, runs = [], []
    for number, stop_after in enumerate((3, STEPS, STEPS)):
        training, stream = FakeTraining(stop_after), io.StringIO()
        code = run_training_job(settings, make_log(stream, "json"), environment={}, train=training)
        assert code == (STOPPED if stop_after < STEPS else 0), stream.getvalue()
        starts.append(training.requests[0].config.start)
        runs.append(training.requests[0].run_id)
        finish(bucket.root, number + 1)
    assert starts == ["", "", f"run:{runs[0]}@{STEPS}"]
    assert (runs[0] == runs[1], runs[1] == runs[2]) == (True, False)


def test_the_evaluator_shares_out_scores_and_tells(bucket: Bucket, tmp_path: Path) -> None:
    put_benchmark(bucket.root, "room", write_scene(tmp_path / "room", num_pairs=1))
    user = bucket.user(read_access(SERVICES, "evaluator"))
    with closing(MinioStore(user, bucket.name)) as store, ThreadPoolExecutor(1) as executor:
        board = Scoreboard(store, NullTelemetry())
        board.refresh()
        judge = Judge(
            store=store,
            matcher_settings={"rootsift": {"max_keypoints": 300}},
            resources=ModelResources(),
            executor=executor,
            telemetry=NullTelemetry(),
            protocol=protocol_named("gim"),
            on_report=board.add,
        )
        held = HeldMatcher(judge.loaded)
        planned = PlanEvaluationStage(judge, held).handle(CheckpointReady(run_id="sift", step=1, matcher="rootsift"))
        (ready,) = [ready for _, event in planned for _, ready in EvaluateShardStage(judge, held).handle(event)]
    assert isinstance(ready, EvaluationReady)
    assert bucket.root.exists(ready.report)
    assert bucket.root.exists(keys.last_reported("sift"))


def test_the_evaluator_scores_a_checkpoint(bucket: Bucket, tmp_path: Path) -> None:
    put_benchmark(bucket.root, "room", write_scene(tmp_path / "room", num_pairs=1))
    user = bucket.user(read_access(SERVICES, "evaluator"))
    with closing(MinioStore(user, bucket.name)) as store, ThreadPoolExecutor(1) as executor:
        stage = EvaluateStage(
            store,
            matcher_settings={"rootsift": {"max_keypoints": 500}},
            resources=ModelResources(),
            executor=executor,
            telemetry=NullTelemetry(),
        )
        ready = CheckpointReady(run_id="sift", step=1, matcher="rootsift")
        first, second = (list(stage.handle(ready)) for _ in range(2))
    assert first == second
    ((_, event),) = first
    assert isinstance(event, EvaluationReady)
    assert codecs.from_json(EvaluationReport, bucket.root.get(event.report)).score.num_pairs == 1
