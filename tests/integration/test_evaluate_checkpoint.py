"""From CheckpointReady on a real bus to the report in the store: AUC as computed directly, network or not."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from bench.accuracy import posed_pairs
from gim import codecs, keys
from gim.adapters.bus_sqlite import SqliteBus
from gim.adapters.s3.store import MinioStore
from gim.adapters.store_file import FileStore
from gim.benchmarks.stored import put_benchmark
from gim.evaluation.auc import error_auc
from gim.evaluation.pose import estimate_pose, pose_errors
from gim.evaluation.protocols import protocol_named
from gim.inference.config import InferenceConfig
from gim.matchers.base import Matcher
from gim.matchers.network import ModelResources
from gim.matchers.registry import load_matcher, matcher_status
from gim.ports.store import Store
from gim.ports.telemetry import NullTelemetry
from gim.records import CheckpointFile, CheckpointManifest
from gim.runtime.outcome import DrainReport
from gim.runtime.worker import drain
from gim.stages.evaluate import EvaluationReport, Judge
from gim.stages.evaluate_shards import EvaluateShardStage, HeldMatcher, PlanEvaluationStage
from gim.wire import topics
from gim.wire.v1.events_pb2 import CheckpointReady, EvaluationReady
from tests.posed_scene import some_pairs
from tests.s3_buckets import bucket_on, config_of

QUICK = {"rootsift": {"max_keypoints": 1500}, "xfeat": {"max_keypoints": 1000, "max_side_px": 640}}
RESOURCES = ModelResources(InferenceConfig(device="cpu"))


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[SqliteBus]:
    opened = SqliteBus(tmp_path / "bus.sqlite")
    yield opened
    opened.close()


@pytest.fixture(params=["folder", "minio"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "folder":
        opened = FileStore(tmp_path / "store")
        yield opened
        opened.close()
    else:
        server = request.getfixturevalue("minio_server")
        with bucket_on(server) as name, closing(MinioStore(config_of(server), name)) as bucket:
            yield bucket


@pytest.fixture
def drive(shared_data: Path, tmp_path: Path) -> Path:
    """Four pairs of a real drive."""
    return some_pairs(shared_data / "data/posed/kitti06", tmp_path / "kitti06", every=13)


def evaluate(store: Store, bus: SqliteBus, ready: CheckpointReady) -> DrainReport:
    bus.publish(topics.CHECKPOINTS, ready.run_id, ready.SerializeToString(), {})
    bus.flush()
    with ThreadPoolExecutor(2) as executor:
        judge = Judge(
            store=store,
            matcher_settings=QUICK,
            resources=RESOURCES,
            executor=executor,
            telemetry=NullTelemetry(),
            protocol=protocol_named("strict"),
        )
        with closing(HeldMatcher(judge.loaded)) as held:
            stages = [PlanEvaluationStage(judge, held), EvaluateShardStage(judge, held)]
            return drain(stages, bus, telemetry=NullTelemetry())


def announced(bus: SqliteBus) -> EvaluationReady:
    listener = bus.subscribe([topics.EVALUATIONS], "listener")
    message = listener.poll(1.0)
    assert message is not None
    assert listener.lag() == 1
    event = topics.parse_event(message.topic, message.value)
    assert isinstance(event, EvaluationReady)
    listener.close()
    return event


def scored_directly(matcher: Matcher, folder: Path) -> tuple[list[float], float]:
    """Mean AUC over the seeds in percent, and the median number of matches: pair by pair, nothing stored."""
    strict = protocol_named("strict")
    found, errors = [], []
    for images, K0, K1, T_0to1 in posed_pairs(folder):
        (matched,) = matcher.match_pairs([images])
        found.append(len(matched.points))
        estimates = [estimate_pose(matched.points, K0, K1, strict, seed) for seed in strict.seeds]
        errors.append([pose_errors(estimate, T_0to1, strict).pose_deg for estimate in estimates])
    auc = [error_auc(of_seed, (5, 10, 20)) for of_seed in np.transpose(errors)]
    return [float(100 * score) for score in np.mean(auc, axis=0)], float(np.median(found))


@pytest.mark.shared
def test_matcher_without_weights_is_scored_as_directly(store: Store, bus: SqliteBus, drive: Path) -> None:
    benchmark = put_benchmark(store, "kitti06", drive, licence="CC BY-NC-SA 3.0")
    report = evaluate(store, bus, CheckpointReady(run_id="sift", step=0, matcher="rootsift"))
    assert report.dead_letters == []
    ready = announced(bus)
    assert (ready.run_id, ready.step, ready.benchmark) == ("sift", 0, benchmark.benchmark_id)
    assert ready.report == f"reports/sift/00000000/{benchmark.benchmark_id}/report.json"
    found = codecs.from_json(EvaluationReport, store.get(ready.report))
    scores, matches = scored_directly(load_matcher("rootsift", QUICK["rootsift"]), drive)
    assert [found.score.auc[bound] for bound in ("5", "10", "20")] == pytest.approx(scores, abs=1e-9)
    assert found.median_matches == matches
    assert scores[0] > 50
    assert found.protocol.id == "strict-1"
    assert found.teacher.weights == ()


@pytest.mark.shared
def test_network_is_scored_with_the_weights_of_its_checkpoint(
    store: Store, bus: SqliteBus, drive: Path, shared_data: Path, lacks_models: Callable[[str], None]
) -> None:
    if reason := matcher_status("xfeat"):
        lacks_models(reason)
    put_benchmark(store, "kitti06", drive)
    weights = shared_data / "weights/permissive/xfeat_folded.pt"
    key, sha256 = "checkpoints/run-1/00002000/xfeat.pt", hashlib.sha256(weights.read_bytes()).hexdigest()
    store.put_file(key, weights)
    file = CheckpointFile(key, sha256, weights.stat().st_size)
    manifest = CheckpointManifest("run-1", 2000, "xfeat", [file], "videos-01234567", "Apache-2.0")
    store.put(keys.checkpoint_manifest("run-1", 2000), codecs.to_json(manifest))
    event = CheckpointReady(run_id="run-1", step=2000, matcher="xfeat", checkpoint=key, dataset_id="videos-01234567")
    assert evaluate(store, bus, event).dead_letters == []
    found = codecs.from_json(EvaluationReport, store.get(announced(bus).report))
    direct = load_matcher("xfeat", {**QUICK["xfeat"], "xfeat_weights": str(weights)}, RESOURCES)
    scores, matches = scored_directly(direct, drive)
    assert [found.score.auc[bound] for bound in ("5", "10", "20")] == pytest.approx(scores, abs=1e-9)
    assert found.median_matches == matches
    assert scores[2] > 50
    assert [(item.sha256, item.licence) for item in found.teacher.weights] == [(sha256, "Apache-2.0")]
    assert (found.dataset_id, found.checkpoint) == ("videos-01234567", key)
