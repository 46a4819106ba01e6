"""The policies made of `services/*/access.toml`, on a real MinIO: each service can do its work, and nothing else."""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from minio import MinioAdmin
from minio.credentials import StaticProvider
from minio.error import S3Error

from gim import keys
from gim.adapters.s3.config import S3Config
from gim.adapters.s3.store import MinioStore
from gim.errors import ConfigError, InvalidInput, KeyMissing
from gim.ports.telemetry import NullTelemetry
from gim.runtime.access import Access, read_access, s3_policy, service_names
from gim.runtime.threads import one_thread_each
from gim.runtime.wiring import ingest_stage, propagate_stage
from gim.settings import Settings
from gim.stages.base import Stage
from gim.stages.deployed import deployed_labels_id
from gim.stages.label import LabelStage
from gim.stages.purged import PurgeGuard, VideoPurged, mark_purged
from gim.wire.topics import Event, topic_of
from gim.wire.v1 import events_pb2
from tests.architecture.tree import ROOT
from tests.servers import S3Server
from tests.synthetic import small_clip
from tests.unit.stages.pipeline import SHORT_SEGMENTS, quick_rootsift

SERVICES = ROOT / "services"
VIDEO_ID = "file-0123456789abcdef"
SOURCE = keys.video_source(VIDEO_ID, "mp4")
# One key below each root that there is; `test_every_root` keeps it complete.
KEYS = {
    "videos": SOURCE,
    "sources": keys.source_alias("http://example.org/walk.mp4"),
    "frames": keys.frame_manifest(VIDEO_ID, "s"),
    "masks": keys.frame_mask(VIDEO_ID, "s", "m", 1),
    "features": keys.segment_features(VIDEO_ID, "s", "e", 1),
    "labels": keys.segment_labels(VIDEO_ID, "s", "m", 1),
    "failures": keys.segment_failure(VIDEO_ID, "s", "m", 1),
    "pairs": keys.pairs_manifest(VIDEO_ID, "r"),
    "matchers": keys.deployed_matcher("m"),
    "datasets": keys.dataset_manifest("d"),
    "checkpoints": keys.checkpoint_manifest("r", 1),
    "benchmarks": keys.benchmark_manifest("b"),
    "reports": keys.evaluation_report("r", 1, "b"),
    "predictions": keys.predictions("v", "m", 1),
    "audit": keys.purge_record(VIDEO_ID, "20260102T000000"),
    "audit, mark": keys.purge_mark(VIDEO_ID),
}


class Bucket:
    """A bucket of its own, and a user with the policy of each service."""

    def __init__(self, server: S3Server, name: str) -> None:
        self.name = name
        self._server = server
        self._admin = MinioAdmin(
            endpoint=urlsplit(server.endpoint).netloc,
            credentials=StaticProvider(server.access_key, server.secret_key),
            secure=False,
        )
        self._made: list[str] = []
        self.root = MinioStore(self._config(server.access_key, server.secret_key), name, create=True)

    def user(self, access: Access) -> S3Config:
        name, secret = f"{self.name}-{len(self._made)}", secrets.token_urlsafe(24)
        self._admin.user_add(access_key=name, secret_key=secret)
        self._made.append(name)
        self._admin.policy_add(policy_name=name, policy=s3_policy(access, self.name))
        self._admin.attach_policy(policies=[name], user=name)
        return self._config(name, secret)

    def close(self) -> None:
        for name in self._made:
            self._admin.user_remove(access_key=name)
            self._admin.policy_remove(policy_name=name)
        for key in list(self.root.list()):
            self.root.delete(key)
        self.root._client.remove_bucket(bucket_name=self.name)
        self.root.close()
        self._admin._http.clear()

    def _config(self, access_key: str, secret_key: str) -> S3Config:
        server = self._server
        return S3Config(server.endpoint, server.region, access_key, secret_key, max_attempts=2)


@pytest.fixture
def bucket(minio_server: S3Server, unique: str) -> Iterator[Bucket]:
    with closing(Bucket(minio_server, unique)) as made:
        yield made


@pytest.fixture
def store_of(bucket: Bucket) -> Iterator[Callable[[str], MinioStore]]:
    """The store as a service sees it."""
    with ExitStack() as stack:

        def open_as(service: str) -> MinioStore:
            config = bucket.user(read_access(SERVICES, service))
            return stack.enter_context(closing(MinioStore(config, bucket.name)))

        yield open_as


def is_allowed(action: Callable[[], object]) -> bool:
    try:
        action()
    except ConfigError as error:
        if "access denied" not in str(error):
            raise
        return False
    except KeyMissing:
        pass
    return True


def test_every_root_of_the_store_is_stated() -> None:
    assert {key.partition("/")[0] for key in KEYS.values()} == {root.partition(",")[0] for root in KEYS}
    assert set(KEYS) - {"sources", "audit", "audit, mark"} >= {
        prefix.partition("/")[0] for prefix in keys.everything_of(VIDEO_ID)
    }


@pytest.mark.parametrize("service", service_names(SERVICES))
def test_a_service_may_do_in_every_root_what_is_stated_and_nothing_else(
    bucket: Bucket, store_of: Callable[[str], MinioStore], service: str
) -> None:
    store, stated = store_of(service), read_access(SERVICES, service).store
    found, expected = {}, {}
    for root, key in KEYS.items():
        bucket.root.put(key, b"before")
        actions: dict[str, Callable[[], object]] = {
            "list": lambda key=key: list(store.list(f"{key.rpartition('/')[0]}/")),
            "read": lambda key=key: (store.exists(key), store.get(key)),
            "write": lambda key=key: store.put(key, b"after"),
            "delete": lambda key=key: store.delete(key),
        }
        found[root] = [name for name, action in actions.items() if is_allowed(action)]
        expected[root] = [name for name in actions if _states(getattr(stated, name), key, name)]
        assert list(bucket.root.list(key)) == ([] if "delete" in expected[root] else [key])
        if "delete" not in expected[root]:
            assert bucket.root.get(key) == (b"after" if "write" in expected[root] else b"before")
    assert found == expected
    assert is_allowed(lambda: list(store.list())) is ("" in stated.list)


def _states(prefixes: tuple[str, ...], key: str, action: str) -> bool:
    asked = f"{key.rpartition('/')[0]}/" if action == "list" else key
    return any(asked.startswith(prefix) for prefix in prefixes)


def test_a_stolen_key_of_a_matcher_cannot_touch_a_source_video_nor_look_around(
    bucket: Bucket, store_of: Callable[[str], MinioStore]
) -> None:
    bucket.root.put(SOURCE, b"the video")
    bucket.root.put(KEYS["audit"], b"{}")
    stolen = store_of("matcher")

    actions: list[Callable[[], object]] = [
        lambda: stolen.delete(SOURCE),
        lambda: stolen.put(SOURCE, b"another"),
        lambda: stolen.put(SOURCE, b"another", if_absent=True),
        lambda: stolen.put_file(SOURCE, Path(__file__)),
        lambda: stolen.get(SOURCE),
        lambda: list(stolen.list(keys.video_prefix(VIDEO_ID))),
        lambda: list(stolen.list("audit/")),
        lambda: list(stolen.list()),
        stolen.usage,
        lambda: stolen.get(KEYS["audit"]),
        lambda: stolen.put(KEYS["pairs"], b"poisoned"),
    ]
    for action in actions:
        with pytest.raises(ConfigError, match="access denied"):
            action()
    with pytest.raises(S3Error, match="AccessDenied"):
        stolen._client.remove_bucket(bucket_name=bucket.name)
    with pytest.raises(S3Error, match="AccessDenied"):
        stolen._client.get_bucket_policy(bucket_name=bucket.name)
    with pytest.raises(S3Error, match="AccessDenied"):
        stolen._client.make_bucket(bucket_name=f"{bucket.name}-2")
    assert bucket.root.get(SOURCE) == b"the video"


def work_through(stages: dict[str, Stage], guards: dict[str, PurgeGuard], source: str) -> list[Event]:
    """Everything that follows from one requested source, each stage by its own service's key."""
    events: list[Event] = [events_pb2.VideoRequested(source=source)]
    for event in events:
        for name, stage in stages.items():
            if stage.topic == topic_of(event):
                guard = guards[name]
                events += [
                    following
                    for _, following in guard.guard(stage.name, event, lambda s=stage, e=event: list(s.handle(e)))
                ]
    return events


def test_every_stage_does_all_of_its_work_with_its_own_key(
    bucket: Bucket, store_of: Callable[[str], MinioStore], tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    small_clip(clip, kind="terrain", duration_seconds=2.4, size=(240, 136), fps=10)
    settings = Settings.load(SHORT_SEGMENTS, environ={})
    stores = {name: store_of(name) for name in ("downloader", "matcher", "propagator")}
    nobody, matcher = NullTelemetry(), quick_rootsift()
    with ExitStack() as stack:
        executor = stack.enter_context(ThreadPoolExecutor(2))
        stack.enter_context(one_thread_each())
        label = LabelStage(stores["matcher"], matcher, settings.pairing, executor=executor, telemetry=nobody)
        stages: dict[str, Stage] = {
            "downloader": ingest_stage(settings, stores["downloader"], nobody, 2, tmp_path / "work"),
            "matcher": label,
            "propagator": propagate_stage(
                settings,
                stores["propagator"],
                nobody,
                executor,
                matcher_ids=lambda: {"rootsift": deployed_labels_id(stores["propagator"], "rootsift")},
                guide_matcher=matcher,
                segmenter=None,
            ),
        }
        guards = {name: PurgeGuard(store) for name, store in stores.items()}
        label.announce("rootsift")

        events = work_through(stages, guards, str(clip))
        again = work_through(stages, guards, str(clip))
        done = events[-1]
        assert isinstance(done, events_pb2.PairsReady)
        assert again[-1] == done
        assert done.num_pairs > 0
        assert next(bucket.root.list(keys.features_prefix(done.video_id)), None) is None

        # A segment given up, and labelled after all.
        segment = next(event for event in events if isinstance(event, events_pb2.SegmentReady))
        rung = next(event for event in events if isinstance(event, events_pb2.LabelsReady))
        list(label.give_up(segment, "RuntimeError", "no device"))
        assert len(list(bucket.root.list("failures/"))) == 1
        list(label.handle(segment))
        assert list(bucket.root.list("failures/")) == []

        # Late messages about a purged video: each service takes back what it wrote, and finds it may.
        for event, name in ((segment, "matcher"), (rung, "propagator")):
            mark_purged(bucket.root, done.video_id, at_ms=1)
            with pytest.raises(VideoPurged):
                guards[name].guard(stages[name].name, event, list)
        assert {key.partition("/")[0] for key in bucket.root.list()} == {"videos", "frames", "matchers", "audit"}
        request = events_pb2.VideoRequested(source=str(clip))
        with pytest.raises(VideoPurged):
            guards["downloader"].guard("ingest", request, lambda: list(stages["downloader"].handle(request)))
        assert {key.partition("/")[0] for key in bucket.root.list()} == {"matchers", "audit"}
        wanted = events_pb2.VideoRequested(source=str(clip), requested_at_ms=2)
        assert guards["downloader"].guard("ingest", wanted, lambda: list(stages["downloader"].handle(wanted)))
        assert list(bucket.root.list("audit/")) == []


def test_the_downloader_may_take_a_refused_video_out_again(
    bucket: Bucket, store_of: Callable[[str], MinioStore], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    small_clip(broken, duration_seconds=2.0)
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])  # its index is at its end
    settings = Settings.load(environ={})
    stage = ingest_stage(settings, store_of("downloader"), NullTelemetry(), 1, tmp_path / "work")

    with pytest.raises(InvalidInput):
        list(stage.handle(events_pb2.VideoRequested(source=str(broken))))
    assert list(bucket.root.list()) == []
