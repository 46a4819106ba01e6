"""Evaluators as processes on a real Kafka and MinIO: an evaluation shared out, and reports told of from the start."""

import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from gim import codecs, keys
from gim.benchmarks.stored import put_benchmark
from gim.evaluation.protocols import protocol_named
from gim.matchers.network import ModelResources
from gim.ports.store import Store
from gim.ports.telemetry import NullTelemetry
from gim.stages.evaluate import EvaluateStage, EvaluationReport
from gim.stages.evaluate_shards import EvaluateShardStage
from gim.wire import topics
from gim.wire.v1.events_pb2 import CheckpointReady, EvaluationReady
from tests.e2e.cluster import Cluster, ServiceProcess, cluster, wait_for
from tests.integration.test_prometheus_scrape import prometheus_of
from tests.posed_scene import write_many, write_scene
from tests.servers import S3Server

pytestmark = pytest.mark.slow
KEYPOINTS = 300
PROTOCOL = "gim"
SETS = {
    "GIM_EVALUATION__SHARD_PAIRS": "16",
    "GIM_EVALUATION__PROTOCOL": PROTOCOL,
    "GIM_MATCHER__ROOTSIFT__MAX_KEYPOINTS": str(KEYPOINTS),
}
READY = CheckpointReady(run_id="run-1", step=2000, matcher="rootsift", dataset_id="videos-01234567")


@pytest.fixture
def system(tmp_path: Path, kafka_servers: tuple[str, ...], minio_server: S3Server, unique: str) -> Iterator[Cluster]:
    with cluster(tmp_path, kafka_servers, minio_server, unique, **SETS) as opened:
        with closing(opened.store()) as store:
            put_benchmark(store, "room", write_scene(tmp_path / "room", num_pairs=12))
            put_benchmark(store, "hall", write_many(tmp_path / "hall"))
        yield opened


def evaluated_in_one(store: Store, ready: CheckpointReady) -> dict[str, bytes]:
    """The reports as one process makes them, by key."""
    with ThreadPoolExecutor(1) as executor:
        stage = EvaluateStage(
            store,
            matcher_settings={"rootsift": {"max_keypoints": KEYPOINTS}},
            resources=ModelResources(),
            executor=executor,
            telemetry=NullTelemetry(),
            protocol=protocol_named(PROTOCOL),
        )
        events = [event for _, event in stage.handle(ready)]
    return {event.report: store.get(event.report) for event in events if isinstance(event, EvaluationReady)}


def publish(system: Cluster, ready: CheckpointReady) -> None:
    with closing(system.bus()) as bus:
        bus.publish(topics.CHECKPOINTS, ready.run_id, ready.SerializeToString())
        bus.flush()


def announced(system: Cluster) -> set[str]:
    with closing(system.bus()) as bus:
        return {EvaluationReady.FromString(message.value).report for message in bus.read(topics.EVALUATIONS)}


def metrics_of(service: ServiceProcess) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in service.ask("/metrics")[1].splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def shards_done(services: list[ServiceProcess]) -> list[int]:
    name = f'gim_messages_total{{outcome="done",stage="{EvaluateShardStage.name}"}}'
    return [int(metrics_of(service)[name]) for service in services]


def assert_as_of_one_process(system: Cluster, reports: set[str]) -> None:
    """That the reports in the store are those that one process makes from nothing."""
    with closing(system.store()) as store:
        shared = {key: store.get(key) for key in reports}
        for key in [*reports, *store.list("predictions/")]:
            store.delete(key)
        assert evaluated_in_one(store, READY) == shared


def test_evaluators_share_one_evaluation_and_none_forgets_it(system: Cluster, tmp_path: Path) -> None:
    with closing(system.store()) as store:
        old = evaluated_in_one(store, CheckpointReady(run_id="old", step=5, matcher="rootsift"))
        (hall,) = (key for key in old if "/hall-" in key)
        store.put(keys.evaluation_report("torn", 1, hall.split("/")[3]), old[hall][:300])
        scores = {key: codecs.from_json(EvaluationReport, data).score for key, data in old.items()}
        for key in list(store.list("predictions/")):
            store.delete(key)

    services = [system.start("evaluator"), system.start("evaluator")]
    for service in services:
        service.wait_ready()
        found = metrics_of(service)  # before any message
        name = 'gim_zeb_auc{dataset="hall",method="rootsift",run_id="old",threshold_deg="5"}'
        assert found[name] == pytest.approx(scores[hall].auc["5"])
        assert found['gim_zeb_rank{method="rootsift",run_id="old"}'] == 1
        assert [line["key"].split("/")[1] for line in service.events("report_skipped")] == ["torn"]

    publish(system, CheckpointReady(run_id="run-1", step=1, matcher="xfeat", checkpoint="checkpoints/absent.pt"))
    publish(system, READY)
    keys_expected = {key.replace("/old/00000005/", "/run-1/00002000/") for key in old}
    wait_for(lambda: announced(system) == keys_expected, "both reports")
    system.wait_idle_of(EvaluateShardStage.group, EvaluateShardStage.topic)
    assert sum(shards_done(services)) == 4 + 1, shards_done(services)
    with closing(system.bus()) as bus:
        (letter,) = bus.read(topics.CHECKPOINTS + topics.DEAD_SUFFIX)
        assert list(bus.read(topics.EVALUATION_SHARDS + topics.DEAD_SUFFIX)) == []
    assert "checkpoints/absent.pt: is not in the store" in "".join(letter.headers.values())
    assert_as_of_one_process(system, keys_expected)

    assert [service.kill(signal.SIGTERM) for service in services] == [0, 0]
    again = system.start("evaluator")
    again.wait_ready()
    port = int(re.findall(r":(\d+)/", again.url("/"))[0])
    folder = tmp_path / "prometheus"
    folder.mkdir()
    with prometheus_of(port, folder) as prometheus:
        found = prometheus.wait_for('gim_zeb_auc{run_id="run-1",dataset="hall",threshold_deg="5"}')
        assert float(found[0]["value"][1]) == pytest.approx(scores[hall].auc["5"])
        assert len(prometheus.query('gim_zeb_auc_mean{threshold_deg="20"}')) == 2
        assert {float(each["value"][1]) for each in prometheus.query("gim_zeb_rank")} == {1.5}
        assert float(prometheus.query('gim_zeb_step{run_id="run-1",dataset="room"}')[0]["value"][1]) == 2000


def test_an_evaluator_that_is_killed_loses_nothing(system: Cluster) -> None:
    services = [system.start("evaluator"), system.start("evaluator")]
    for service in services:
        service.wait_ready()
    publish(system, READY)
    with closing(system.store()) as store:
        wait_for(lambda: next(iter(store.list("predictions/")), ""), "the first pairs")
    services[0].kill(signal.SIGKILL)
    found = wait_for(lambda: found if len(found := announced(system)) == 2 else set(), "both reports")
    system.wait_idle_of(EvaluateShardStage.group, EvaluateShardStage.topic)
    with closing(system.bus()) as bus:
        assert list(bus.read(topics.EVALUATION_SHARDS + topics.DEAD_SUFFIX)) == []
    assert_as_of_one_process(system, found)
