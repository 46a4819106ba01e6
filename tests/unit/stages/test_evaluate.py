"""The evaluate stage: idempotent, resumed pair by pair, and clear about checkpoints that are none."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.benchmarks.stored import put_benchmark
from gim.errors import ConfigError, CorruptObject, InvalidInput, LicenceRefused, UnknownMatcher
from gim.evaluation import passes
from gim.evaluation.protocols import PoseProtocol, protocol_named
from gim.inference.config import InferenceConfig
from gim.matchers.network import ModelResources
from gim.matchers.registry import matcher_status
from gim.matchers.rootsift import RootSift
from gim.ports.telemetry import NullTelemetry
from gim.records import CheckpointFile, CheckpointManifest, Features
from gim.stages.evaluate import EvaluateStage, EvaluationReport
from gim.weights.config import WeightsConfig
from gim.wire.v1.events_pb2 import CheckpointReady, EvaluationReady
from tests.matcher_files import files_of
from tests.posed_scene import write_scene

QUICK = {"max_keypoints": 500}
ROOTSIFT = CheckpointReady(run_id="sift", step=7, matcher="rootsift", dataset_id="videos-01234567")
NUM_PAIRS = 3
STRICT = protocol_named("strict")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scene") / "room", num_pairs=NUM_PAIRS)


@pytest.fixture
def store(tmp_path: Path, scene: Path) -> Iterator[FileStore]:
    opened = FileStore(tmp_path / "store")
    put_benchmark(opened, "room", scene)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _kept_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "CHUNK", 1)


def run(
    store: FileStore,
    event: CheckpointReady = ROOTSIFT,
    *,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    protocol: PoseProtocol = STRICT,
    weights: WeightsConfig | None = None,
    **more: Any,
) -> list[EvaluationReady]:
    resources = ModelResources(InferenceConfig(device="cpu"), weights or WeightsConfig(offline=True))
    with ThreadPoolExecutor(1) as executor:
        stage = EvaluateStage(
            store,
            matcher_settings={"rootsift": QUICK} if settings is None else settings,
            resources=resources,
            executor=executor,
            telemetry=NullTelemetry(),
            protocol=protocol,
            **more,
        )
        produced = list(stage.handle(event))
    assert [key for key, _ in produced] == [event.run_id] * len(produced)
    return [ready for _, ready in produced if isinstance(ready, EvaluationReady)]


def read(store: FileStore, ready: EvaluationReady) -> EvaluationReport:
    return codecs.from_json(EvaluationReport, store.get(ready.report))


def test_report_says_what_was_judged_and_how(store: FileStore) -> None:
    (ready,) = run(store)
    report = read(store, ready)
    assert (report.run_id, report.step, report.dataset_id, report.checkpoint) == ("sift", 7, "videos-01234567", "")
    assert (report.teacher.matcher, report.teacher.weights) == ("rootsift", ())
    assert report.protocol == STRICT
    assert report.benchmark == ready.benchmark
    assert [(pair.image0, pair.image1) for pair in report.pairs] == [
        (f"images/{i}.png", f"images/{j}.png") for i, j in ((0, 1), (1, 0), (1, 2))
    ]
    assert report.score.num_pairs == NUM_PAIRS
    assert report.score.num_failures == 0
    assert report.score.auc["10"] > 80  # exact cameras, textured walls


def test_a_second_delivery_matches_nothing_and_announces_the_same(store: FileStore, matched: list[int]) -> None:
    first = run(store)
    before = {key: store.get(key) for key in store.list()}
    assert sum(matched) == NUM_PAIRS
    assert run(store) == first
    assert sum(matched) == NUM_PAIRS
    assert {key: store.get(key) for key in store.list()} == before


def test_another_protocol_scores_the_same_matches_anew(store: FileStore, matched: list[int]) -> None:
    (ready,) = run(store)
    (again,) = run(store, protocol=replace(STRICT, min_matches=10_000))
    assert again == ready
    assert sum(matched) == NUM_PAIRS
    report = read(store, again)
    assert report.score.num_failures == NUM_PAIRS
    assert set(report.score.auc.values()) == {0.0}
    assert report.pairs[0].rotation_errors_deg == [None, None, None]


def test_other_settings_of_the_matcher_are_matched_anew(store: FileStore, matched: list[int]) -> None:
    (ready,) = run(store)
    (again,) = run(store, settings={"rootsift": {"max_keypoints": 100}})
    assert sum(matched) == 2 * NUM_PAIRS
    assert read(store, again).median_matches <= 100
    run(store)
    assert sum(matched) == 2 * NUM_PAIRS  # the first matches are still there
    assert read(store, ready).median_matches > 100


def test_what_a_failed_attempt_matched_is_not_matched_again(
    store: FileStore, matched: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = RootSift.match_features

    def failing(self: RootSift, features0: Features, features1: Features) -> Any:
        if sum(matched) == 2:
            raise RuntimeError("the device is gone")
        return real(self, features0, features1)

    with monkeypatch.context() as patch:
        patch.setattr(RootSift, "match_features", failing)
        with pytest.raises(RuntimeError, match="device"):
            run(store)
    assert list(store.list("reports/")) == []
    assert len([key for key in store.list("predictions/") if key.count("/") == 3]) == 2
    (ready,) = run(store)
    assert sum(matched) == NUM_PAIRS
    resumed = store.get(ready.report)
    for key in [*store.list("reports/"), *store.list("predictions/")]:
        store.delete(key)
    run(store)
    assert store.get(ready.report) == resumed


def test_a_damaged_prediction_or_report_is_made_again(store: FileStore, matched: list[int]) -> None:
    (ready,) = run(store)
    report = store.get(ready.report)
    predictions = [key for key in store.list("predictions/") if key.count("/") == 3]
    scores = [key for key in store.list("predictions/") if key.count("/") == 4]
    for key in (predictions[0], *scores[:2]):
        store.put(key, store.get(key)[:100])
    store.put(ready.report, report[:-20])
    run(store)
    assert sum(matched) == NUM_PAIRS + 1
    assert store.get(ready.report) == report


_WORKER = """
import sys
from pathlib import Path
from tests.unit.stages.test_evaluate import FileStore, passes, run
passes.CHUNK = 1
store = FileStore(Path(sys.argv[1]))
run(store, settings={"rootsift": {}})
"""


def test_an_evaluation_killed_in_the_middle_goes_on_where_it_was(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    put_benchmark(store, "room", write_scene(tmp_path / "room", num_pairs=12))
    command = [sys.executable, "-c", _WORKER, str(store.root)]
    worker = subprocess.Popen(command, cwd=Path(__file__).resolve().parents[3])
    until = time.monotonic() + 120
    while not list(store.list("predictions/")) and worker.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    with suppress(ProcessLookupError):
        os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    kept = {key: (store.root / key).stat().st_mtime_ns for key in store.list("predictions/")}
    assert 0 < len(kept) < 24, "it was over before it could be killed"
    (ready,) = run(store, settings={"rootsift": {}})
    assert {key: (store.root / key).stat().st_mtime_ns for key in kept} == kept
    report = store.get(ready.report)
    for key in [*store.list("reports/"), *store.list("predictions/")]:
        store.delete(key)
    run(store, settings={"rootsift": {}})
    assert store.get(ready.report) == report
    store.close()


def test_each_benchmark_is_reported_and_some_can_be_chosen(store: FileStore, scene: Path) -> None:
    put_benchmark(store, "hall", scene)
    assert [ready.benchmark.partition("-")[0] for ready in run(store, benchmarks=["hall"])] == ["hall"]
    assert [ready.benchmark.partition("-")[0] for ready in run(store)] == ["hall", "room"]


def test_no_benchmark_is_said(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "empty")
    with pytest.raises(ConfigError, match="gim benchmark put"):
        run(store)
    store.close()


@pytest.mark.parametrize("run_id", ["", "a/b", "..", "white space"])
def test_a_run_id_that_no_key_can_hold_is_refused(store: FileStore, run_id: str) -> None:
    with pytest.raises(InvalidInput):
        run(store, CheckpointReady(run_id=run_id, step=1, matcher="rootsift"))
    assert list(store.list("reports/")) == []


def test_a_matcher_that_is_unknown_or_takes_no_weights_is_refused(store: FileStore) -> None:
    with pytest.raises(UnknownMatcher, match=r"rootsfit.*did you mean rootsift"):
        run(store, CheckpointReady(run_id="r", step=1, matcher="rootsfit"))
    with pytest.raises(InvalidInput, match=r"checkpoint checkpoints/w\.pt: matcher rootsift has no weights"):
        run(store, CheckpointReady(run_id="r", step=1, matcher="rootsift", checkpoint="checkpoints/w.pt"))


# --- checkpoints of a network, with weights filled by rule ------------------------------------------------------------

KEY = "checkpoints/run-1/00000005/weights.pt"
XFEAT = CheckpointReady(run_id="run-1", step=5, matcher="xfeat", checkpoint=KEY)
SMALL = {"xfeat": {"max_keypoints": 200, "detection_threshold": 0.0, "min_similarity": -1.0}}


@pytest.fixture(scope="module")
def weights(
    tmp_path_factory: pytest.TempPathFactory, shared_if_there: Path | None, lacks_models: Callable[[str], None]
) -> Path:
    if reason := matcher_status("xfeat"):
        lacks_models(reason)
    settings = files_of("xfeat", tmp_path_factory.mktemp("weights"), shared_if_there).settings
    return Path(settings["xfeat_weights"])


def write_manifest(store: FileStore, data: bytes, **changes: Any) -> None:
    file = CheckpointFile(KEY, hashlib.sha256(data).hexdigest(), len(data))
    manifest = replace(CheckpointManifest("run-1", 5, "xfeat", [file]), **changes)
    store.put(keys.checkpoint_manifest("run-1", 5), codecs.to_json(manifest))


def test_weights_of_a_checkpoint_are_those_of_its_report(store: FileStore, weights: Path) -> None:
    store.put_file(KEY, weights)
    (ready,) = run(store, XFEAT, settings=SMALL)
    report = read(store, ready)
    (used,) = report.teacher.weights
    assert used.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert report.checkpoint == KEY
    assert all(pair.num_matches > 0 for pair in report.pairs)


def test_settings_and_licence_of_a_manifest_go_with_the_weights(store: FileStore, weights: Path) -> None:
    store.put_file(KEY, weights)
    data = weights.read_bytes()
    write_manifest(store, data, settings={"max_keypoints": 50}, licence="MIT")
    (ready,) = run(store, XFEAT, settings=SMALL, weights=WeightsConfig(offline=True, licences="permissive"))
    report = read(store, ready)
    assert max(pair.num_matches for pair in report.pairs) <= 50
    assert [item.licence for item in report.teacher.weights] == ["MIT"]
    write_manifest(store, data + b"x", licence="MIT")
    with pytest.raises(CorruptObject, match=f"checkpoint {KEY} has changed"):
        run(store, replace_step(6, store), settings=SMALL)


def replace_step(step: int, store: FileStore) -> CheckpointReady:
    """The same checkpoint and its manifest as another step, of which nothing is reported yet."""
    store.put(keys.checkpoint_manifest("run-1", step), store.get(keys.checkpoint_manifest("run-1", 5)))
    return CheckpointReady(run_id="run-1", step=step, matcher="xfeat", checkpoint=KEY)


def test_a_licence_that_the_settings_do_not_accept_is_refused(store: FileStore, weights: Path) -> None:
    store.put_file(KEY, weights)
    write_manifest(store, weights.read_bytes(), licence="research only")
    with pytest.raises(LicenceRefused, match=f"checkpoint {KEY} .*'research only'"):
        run(store, XFEAT, settings=SMALL, weights=WeightsConfig(offline=True, licences="permissive"))


def test_a_manifest_of_something_else_is_refused(store: FileStore, weights: Path) -> None:
    store.put_file(KEY, weights)
    write_manifest(store, weights.read_bytes(), matcher="loftr")
    with pytest.raises(InvalidInput, match=f"checkpoint {KEY}: .*speaks of matcher loftr"):
        run(store, XFEAT, settings=SMALL)
    write_manifest(store, weights.read_bytes(), files=[CheckpointFile("checkpoints/other.pt", "", 0)])
    with pytest.raises(InvalidInput, match=r"and of checkpoints/other\.pt"):
        run(store, XFEAT, settings=SMALL)


@pytest.mark.parametrize(
    ("key", "data", "said"),
    [
        (KEY, None, "is not in the store"),
        ("checkpoints/run-1/00000005/weights.bin", b"1", r"ends in \.ckpt, \.pt, \.pth"),
        (KEY, b"", "is empty"),
        (KEY, b"PK\x03\x04" + bytes(100), "cut off or damaged"),
        (KEY, b"no weights at all, only words", "weights"),
        (KEY, "other", "do not fit: .*missing"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_one_line(
    store: FileStore, weights: Path, tmp_path: Path, key: str, data: bytes | str | None, said: str
) -> None:
    if data == "other":
        import torch

        torch.save({"encoder.weight": torch.zeros(3)}, tmp_path / "other.pt")
        data = (tmp_path / "other.pt").read_bytes()
    if isinstance(data, bytes):
        store.put(key, data)
    event = CheckpointReady(run_id="run-1", step=5, matcher="xfeat", checkpoint=key)
    with pytest.raises(InvalidInput, match=f"^checkpoint {key}.*{said}") as caught:
        run(store, event, settings=SMALL, work_dir=tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("gim-checkpoint")]
    assert list(store.list("reports/")) == []


def test_which_of_several_weights_has_to_be_stated(store: FileStore, weights: Path) -> None:
    store.put_file(KEY, weights)
    event = CheckpointReady(run_id="run-1", step=5, matcher="dedode", checkpoint=KEY)
    with pytest.raises(InvalidInput, match="which weights of dedode are these"):
        run(store, event)
