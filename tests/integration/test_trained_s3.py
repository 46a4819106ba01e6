"""A run in a bucket as a matcher: its weights come from real S3 servers, are held to their SHA-256, and mended."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gim import codecs, keys
from gim.adapters.bus_sqlite import SqliteBus
from gim.adapters.s3.config import S3Config
from gim.adapters.s3.store import MinioStore
from gim.cli.main import run_command
from gim.errors import CorruptObject, InvalidInput, Unavailable
from gim.ports.store import Store
from gim.ports.telemetry import NullTelemetry
from gim.ports.tracing import NullTracing
from gim.records import CheckpointManifest, PairsManifest
from gim.runtime import service_parts
from gim.runtime.access import read_access
from gim.runtime.opening import open_store
from gim.runtime.service_parts import Parts
from gim.runtime.threads import one_thread_each
from gim.runtime.trained import with_run
from gim.runtime.wiring import ingest_stage
from gim.settings import Settings
from gim.stages.purged import PurgeGuard
from gim.wire.v1.events_pb2 import PairsReady
from tests.integration.test_access_s3 import SERVICES, Bucket, work_through
from tests.matcher_files import files_of
from tests.s3_buckets import bucket_on, config_of
from tests.servers import S3Server
from tests.synthetic import write_wall
from tests.trained_run import MATCHER, NUM_STEPS, RUN_ID, begin, plant_checkpoint
from tests.two_view_sets import write_hpatches

pytest.importorskip("torch")

NAME, PINNED = f"run:{RUN_ID}", f"run:{RUN_ID}@{NUM_STEPS}"
LABELLER = f"run-{RUN_ID}={NUM_STEPS}"
WEIGHTS = keys.checkpoint_weights(RUN_ID, NUM_STEPS, f"{MATCHER}-{RUN_ID}.ckpt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


def finished_run(store: Store, folder: Path) -> CheckpointManifest:
    """A finished run of weights that find nothing."""
    files = files_of(MATCHER, folder, None).settings
    begin(store)
    stated = {name: value for name, value in files.items() if name != "weights"} | {"max_keypoints": 200}
    return plant_checkpoint(store, NUM_STEPS, Path(files["weights"]), settings=stated)


@pytest.fixture
def settings(s3_server: S3Server, tmp_path: Path) -> Iterator[Settings]:
    """Of a bucket of its own."""
    loaded = Settings.load([f"weights.cache={tmp_path / 'cache'}", "run.threads=1"], environ={})
    with bucket_on(s3_server) as name:
        yield replace(loaded, store=f"s3://{name}", s3=config_of(s3_server))


@pytest.fixture
def bucket(settings: Settings, folder: Path) -> Iterator[Store]:
    """That bucket with a finished run."""
    with closing(open_store(settings)) as store:
        finished_run(store, folder)
        yield store


def weights_here(settings: Settings) -> Path:
    found, pinned = with_run(settings, NAME)
    return Path(found.matcher[pinned]["weights"])


def test_weights_of_a_bucket_are_held_to_their_hash_and_mended(bucket: Store, settings: Settings) -> None:
    whole = bucket.get(WEIGHTS)
    path = weights_here(settings)
    assert path.read_bytes() == whole
    path.write_bytes(whole[:-1])
    assert weights_here(settings) == path
    assert path.read_bytes() == whole
    bucket.put(WEIGHTS, whole + b"!")
    assert weights_here(settings) == path  # what is whole here is not asked for again
    path.unlink()
    with pytest.raises(CorruptObject, match=f"checkpoint {WEIGHTS} has changed"):
        weights_here(settings)
    bucket.delete(WEIGHTS)
    with pytest.raises(CorruptObject, match=f"{WEIGHTS}: is not in the store, though its manifest names it"):
        weights_here(settings)
    assert [item.name for item in path.parent.iterdir() if item.suffix != ".licence"] == []


def test_what_a_bucket_lacks_is_told_as_of_a_folder(bucket: Store, settings: Settings) -> None:
    begin(bucket, "tiny-11111111")
    plant_checkpoint(bucket, 20, b"PK\x03\x04 weights", run_id="tiny-11111111")
    for name, message in (
        ("run:tiny-0a1b2c3e", f"did you mean {RUN_ID}"),
        (f"{NAME}@7", "no checkpoint of step 7"),
        ("run:tiny-11111111", "is not finished, 20 of 40"),
    ):
        with pytest.raises(InvalidInput, match=message):
            with_run(settings, name)
    away = replace(settings, s3=S3Config("http://127.0.0.1:9", "us-east-1", "key", "a secret", max_attempts=1))
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"):
        with_run(away, NAME)


def test_commands_take_a_run_from_a_bucket(
    bucket: Store, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name in ("endpoint", "region", "access_key", "secret_key"):
        monkeypatch.setenv(f"GIM_S3__{name.upper()}", str(getattr(settings.s3, name)))
    sequence = write_hpatches(tmp_path, ["v_wall"]) / "v_wall"
    H01 = np.loadtxt(sequence / "H_1_2").ravel().tolist()
    (sequence / "pairs_h.txt").write_text(" ".join(["1.ppm", "2.ppm", *map(repr, H01)]))
    evaluate = ["evaluate", "homography", str(sequence / "pairs_h.txt"), "--json"]
    evaluate += ["--set", f"weights.cache={settings.weights.cache}", "--set", "run.threads=1", "--matcher"]
    assert run_command([*evaluate, NAME, "--store", settings.store]) == 0  # matches are kept there, too
    assert f'"matcher": "{PINNED}"' in capsys.readouterr().out
    kept = [key for key in bucket.list("predictions/") if LABELLER in key]
    assert kept
    assert run_command([*evaluate, f"{NAME}@7", "--set", f"store={settings.store}"]) == 2
    assert capsys.readouterr().err.startswith(f"error: run {RUN_ID} has no checkpoint of step 7")
    assert [key for key in bucket.list("predictions/") if LABELLER in key] == kept


@pytest.fixture
def deployed(minio_server: S3Server, unique: str) -> Iterator[Bucket]:
    with closing(Bucket(minio_server, unique)) as made:
        yield made


def test_services_label_with_a_run_by_their_own_keys(deployed: Bucket, folder: Path, tmp_path: Path) -> None:
    manifest = finished_run(deployed.root, folder)
    write_wall(tmp_path / "clip.mp4")
    loaded = Settings.load([f"matchers={PINNED}", f"weights.cache={tmp_path / 'cache'}", "run.threads=1"], environ={})
    with ExitStack() as stack:
        executor = stack.enter_context(ThreadPoolExecutor(1))
        stack.enter_context(one_thread_each())
        bus = stack.enter_context(closing(SqliteBus(tmp_path / "bus.sqlite")))

        def parts_of(service: str) -> Parts:
            user = deployed.user(read_access(SERVICES, service))
            store = stack.enter_context(closing(MinioStore(user, deployed.name)))
            own = replace(loaded, store=f"s3://{deployed.name}", s3=user)
            return Parts(own, store, bus, NullTelemetry(), NullTracing(), executor, 1, tmp_path / "work")

        parts = {service: parts_of(service) for service in ("downloader", "matcher", "propagator")}
        (label,) = service_parts.matcher(parts["matcher"]).stages
        (propagate,) = service_parts.propagator(parts["propagator"]).stages
        ingest = ingest_stage(loaded, parts["downloader"].store, NullTelemetry(), 1, tmp_path / "work")
        assert label.group == f"label-{LABELLER}"
        stages = {"downloader": ingest, "matcher": label, "propagator": propagate}
        guards = {service: PurgeGuard(each.store) for service, each in parts.items()}
        done = work_through(stages, guards, str(tmp_path / "clip.mp4"))[-1]
    assert isinstance(done, PairsReady)
    (key,) = (key for key in deployed.root.list("pairs/") if key.endswith("/manifest.json"))
    (teacher,) = codecs.from_json(PairsManifest, deployed.root.get(key)).teachers
    assert teacher.matcher == LABELLER
    assert (manifest.files[0].sha256, manifest.licence) in {(item.sha256, item.licence) for item in teacher.weights}
