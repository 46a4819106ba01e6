"""The circle as it is deployed: a requested video becomes pairs, a dataset, a trained matcher and its scores, without a
hand; and the trainer as several processes.
"""

import json
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from minio import MinioAdmin
from minio.credentials import StaticProvider

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.benchmarks.stored import put_benchmark
from gim.datasets.manifest import dataset_ids
from gim.runtime.access import read_access, s3_policy
from gim.runtime.training_job import STOPPED
from gim.stages.evaluate import EvaluationReport
from gim.training.checkpoints.listing import stored_steps
from gim.training.run_record import RunRecord
from gim.wire import topics
from gim.wire.v1.events_pb2 import EvaluationReady
from tests.e2e.cluster import Cluster, ServiceProcess, cluster, count_writes, keep_versions, wait_for
from tests.e2e.commands import ROOT, environment
from tests.e2e.undisturbed import SERVICES, SETS
from tests.labelled_clip import label_clip
from tests.posed_scene import write_scene
from tests.servers import S3Server
from tests.synthetic import small_clip

pytestmark = [pytest.mark.slow, pytest.mark.shared]
STEPS = 120


def tiny_recipe(shared_data: Path, folder: Path) -> dict[str, str]:
    """The recipe `tiny`, smaller still: seconds on one core. Nothing is learnt by it."""
    return {
        "GIM_DATASET__NAME": "films",
        "GIM_DATASET__HELD_OUT_SHARE": "0",
        "GIM_TRAIN__MODEL__EXTRACTOR_WEIGHTS": str(shared_data / "weights/permissive/xfeat_folded.pt"),
        "GIM_TRAIN__FEATURES__CACHE": str(folder / "features"),
        "GIM_TRAIN__FEATURES__VARIANTS": "1",
        "GIM_TRAIN__FEATURES__MAX_KEYPOINTS": "64",
        "GIM_TRAIN__SAMPLE__WIDTH": "160",
        "GIM_TRAIN__SAMPLE__HEIGHT": "120",
        "GIM_TRAIN__SAMPLE__MIN_LABELS": "4",
        "GIM_TRAIN__LOOP__BATCH_SIZE": "2",
        "GIM_TRAIN__LOOP__CANONICAL_BATCH": "4",
        "GIM_TRAIN__SCHEDULE__PAIRS": str(4 * STEPS),
        "GIM_TRAIN__KEEP__EVERY_PAIRS": "120",
        "GIM_TRAIN__KEEP__KEEP_LAST": "2",
        "GIM_TRAIN__KEEP__LOG_EVERY_PAIRS": "40",
    }


@pytest.fixture
def system(
    tmp_path: Path, shared_data: Path, kafka_servers: tuple[str, ...], minio_server: S3Server, unique: str
) -> Iterator[Cluster]:
    sets = {**SETS, **tiny_recipe(shared_data, tmp_path), "GIM_EVALUATION__PROTOCOL": "gim"}
    with cluster(tmp_path, kafka_servers, minio_server, unique, **sets) as opened:
        with closing(opened.store()) as store:
            put_benchmark(store, "room", write_scene(tmp_path / "room", num_pairs=2))
        keep_versions(minio_server, unique)
        yield opened


@pytest.fixture
def trainer_key(minio_server: S3Server, unique: str) -> Iterator[dict[str, str]]:
    """A user of the store who may do what the trainer's access file states, as settings of its environment."""
    administrator = StaticProvider(minio_server.access_key, minio_server.secret_key)
    admin = MinioAdmin(endpoint=urlsplit(minio_server.endpoint).netloc, credentials=administrator, secure=False)
    name, secret = f"{unique}-trainer", secrets.token_urlsafe(24)
    admin.user_add(access_key=name, secret_key=secret)
    admin.policy_add(policy_name=name, policy=s3_policy(read_access(ROOT / "services", "trainer"), unique))
    admin.attach_policy(policies=[name], user=name)
    yield {"GIM_S3__ACCESS_KEY": name, "GIM_S3__SECRET_KEY": secret}
    admin.user_remove(access_key=name)
    admin.policy_remove(policy_name=name)
    admin._http.clear()


def ended(trainer: ServiceProcess) -> int:
    """The exit code of a job that ends by itself."""
    trainer.is_ended = True
    return trainer.process.wait(120)


def announced(system: Cluster) -> list[EvaluationReady]:
    with closing(system.bus()) as bus:
        return [EvaluationReady.FromString(message.value) for message in bus.read(topics.EVALUATIONS)]


def test_a_requested_video_becomes_scores_though_the_trainer_is_killed(
    system: Cluster, trainer_key: dict[str, str], minio_server: S3Server, unique: str, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    small_clip(clip, kind="terrain", duration_seconds=4.0, size=(320, 180), fps=10)
    system.start_all(*SERVICES, "evaluator")
    system.publish(clip)
    system.wait_finished(1)

    killed = system.start("trainer", **trainer_key)
    wait_for(lambda: killed.events("checkpoint_stored"), "a first checkpoint")
    assert killed.ask("/healthz")[0] == 200
    assert "gim_store_requests_total" in killed.ask("/metrics")[1]
    killed.kill(signal.SIGKILL)

    stopped = system.start("trainer", **trainer_key)
    (begun,) = wait_for(lambda: stopped.events("run_goes_on"), "the second trainer")
    wait_for(lambda: stopped.events("progress"), "its first steps")
    assert stopped.kill(signal.SIGTERM) == STOPPED
    stop = stopped.lines()[-1]
    assert (stop["event"], begun["step"] < stop["step"] < STEPS) == ("run_stopped", True)

    last = system.start("trainer", **trainer_key)
    assert ended(last) == 0
    assert [line["step"] for line in last.events("run_goes_on")] == [stop["step"]]
    (run_id,) = {line["run"] for each in (killed, stopped, last) for line in each.lines() if "run" in line}

    with closing(system.store()) as store:
        steps = stored_steps(store, run_id)
        record = codecs.from_json(RunRecord, store.get(keys.training_run(run_id)))
        assert ([record.dataset_id], steps[-1]) == (dataset_ids(store), STEPS)
        ready = wait_for(lambda: found if len(found := announced(system)) >= len(steps) else [], "the evaluations")
        assert sorted((event.run_id, event.step) for event in ready) == [(run_id, step) for step in steps]
        for event in ready:
            report = codecs.from_json(EvaluationReport, store.get(event.report))
            assert (report.teacher.matcher, report.dataset_id) == ("xfeat_lighterglue", record.dataset_id)
            assert (report.score.num_pairs, report.checkpoint) == (2, next(iter(weights_of(store, run_id, event.step))))
    reports = {key: n for key, n in count_writes(minio_server, unique, "reports/").items() if "/report.json" in key}
    assert reports == dict.fromkeys((event.report for event in ready), 1)

    idle = system.start("trainer", **trainer_key)
    assert ended(idle) == 0
    assert idle.lines()[-1]["event"] == "nothing_to_train"
    system.wait_idle_of("evaluate", topics.CHECKPOINTS)
    assert len(announced(system)) == len(steps)
    with closing(system.bus()) as bus:
        assert [letter for topic in topics.ALL for letter in bus.read(f"{topic}{topics.DEAD_SUFFIX}")] == []


def weights_of(store: FileStore, run_id: str, step: int) -> list[str]:
    return list(store.list(f"{keys.checkpoint_prefix(run_id, step)}weights/"))


def test_several_processes_are_one_trainer(tmp_path: Path, shared_data: Path) -> None:
    labelled = label_clip(tmp_path)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, str(ROOT / "services/trainer/main.py"), "--set", "train.schedule.pairs=24"],
        capture_output=True, text=True, check=False, timeout=300,
        env=environment(
            GIM_STORE=str(labelled.root), GIM_SERVICE__HTTP_PORT="0", GIM_RUN__THREADS="1", OMP_NUM_THREADS="1",
            **tiny_recipe(shared_data, tmp_path),
        ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    for name in ("service_started", "dataset_built", "run_begun", "run_finished"):  # the first process alone speaks
        assert [line["event"] for line in events].count(name) == 1
    with closing(FileStore(labelled.root, create=False)) as store:
        assert stored_steps(store, events[-1]["run"]) == [6]
        assert dataset_ids(store) == [line["dataset"] for line in events if line["event"] == "dataset_built"]
