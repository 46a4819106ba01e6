"""The pipeline as services run it, each stage in a thread with a bus of its own, on two kinds of store and bus."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gim import keys
from gim.adapters.bus_sqlite import SqliteBus
from gim.adapters.store_file import FileStore
from gim.ports.bus import Bus
from gim.ports.store import Store
from gim.ports.telemetry import NullTelemetry
from gim.runtime.cluster import groups_of
from gim.runtime.handling import Handler
from gim.runtime.opening import open_bus, open_store
from gim.runtime.outcome import Begun, Outcome
from gim.runtime.publishing import Request, publish_requests
from gim.runtime.queue import read_queue
from gim.runtime.retry import Patience, RetryPolicy
from gim.runtime.threads import one_thread_each
from gim.runtime.wiring import build_stages
from gim.runtime.worker import serve
from gim.settings import Settings
from gim.stages.label import LabelStage
from gim.stages.purged import PurgeGuard
from tests.labelled_clip import SETS
from tests.servers import S3Server

# Many short segments: there is a moment between any two of them.
SHORT = (*SETS, "sampling.segment_samples=4", "pairing.fit.max_iterations=500")
_PATIENT_SECONDS = 120.0


@dataclass
class SmallCluster:
    """A store, a bus, and what the services on them have settled."""

    settings: Settings
    work_dir: Path
    open_bus: Callable[[], Bus]
    store: Store
    outcomes: list[Outcome] = field(default_factory=list)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Every service at work, until the end of the block."""
        stop = threading.Event()
        with one_thread_each(), ThreadPoolExecutor(2) as executor, ThreadPoolExecutor(8) as services:
            stages = build_stages(self._local(), self.store, NullTelemetry(), executor, 1)
            for stage in stages:
                if isinstance(stage, LabelStage):
                    stage.announce("rootsift")
            started = [services.submit(self._serve, stage, stop) for stage in stages]
            try:
                yield
            finally:
                stop.set()
                for service in started:
                    service.result()

    def publish(self, *sources: Path) -> None:
        """Ask for videos, as a person does."""
        with closing(self.open_bus()) as bus:
            publish_requests(bus, [Request(str(source), str(source)) for source in sources])

    def wait_until_done(self) -> None:
        """Return when no group has anything left to do."""
        with closing(self.open_bus()) as bus:
            self.wait_until(lambda: read_queue(bus, groups_of(self.settings)).num_messages == 0)

    def wait_for(self, prefix: str) -> str:
        """The first object below a prefix, as soon as there is one."""
        found: list[str] = []
        self.wait_until(lambda: bool(found.extend(list(self.store.list(prefix))[:1]) or found))
        return found[0]

    def wait_until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + _PATIENT_SECONDS
        while not condition():
            assert time.monotonic() < until, "it never came to be"
            time.sleep(0.01)

    def objects(self, *roots: str) -> dict[str, bytes]:
        """Every object below these, by key."""
        return {key: self.store.get(key) for root in roots for key in self.store.list(root)}

    def video_id(self) -> str:
        """Of the only video."""
        (video_id,) = {key.split("/")[1] for key in self.store.list("videos/")}
        return keys.validate_video_id(video_id)

    def _local(self) -> Settings:
        """The wiring of one machine keeps its downloads in the folder of its store."""
        return Settings.load([f"store={self.work_dir}", *SHORT], environ={})

    def _serve(self, stage: object, stop: threading.Event) -> None:
        policy = RetryPolicy(bug_pause_seconds=0.0)
        with closing(self.open_bus()) as bus:
            handler = Handler(
                bus,
                Patience(policy, stop.is_set),
                NullTelemetry(),
                purges=PurgeGuard(self.store),
                observe=self._observe,
            )
            serve([stage], handler, beat=lambda: None)  # type: ignore[list-item]

    def _observe(self, told: Begun | Outcome) -> None:
        if isinstance(told, Outcome):
            self.outcomes.append(told)


@contextmanager
def folder_cluster(folder: Path) -> Iterator[SmallCluster]:
    """On one machine, with nothing to start."""
    settings = Settings.load([f"store={folder / 'store'}", *SHORT], environ={})
    with closing(FileStore(folder / "store")) as store:
        yield SmallCluster(settings, folder / "work", lambda: SqliteBus(folder / "bus.sqlite"), store)


@contextmanager
def server_cluster(folder: Path, kafka: Sequence[str], s3: S3Server, unique: str) -> Iterator[SmallCluster]:
    """On the real servers, with a bucket and topics of its own that are gone at the end."""
    from gim.runtime.cluster import init_cluster

    settings = Settings.load(server_sets(kafka, s3, unique), environ={})
    init_cluster(settings)
    try:
        with closing(open_store(settings)) as store:
            yield SmallCluster(settings, folder / "work", lambda: open_bus(settings), store)
    finally:
        remove_cluster(settings)


def server_sets(kafka: Sequence[str], s3: S3Server, unique: str, work: Sequence[str] = SHORT) -> list[str]:
    """What to tell a command to work on a cluster of its own; `work` says how videos are worked on."""
    return [
        f"store=s3://{unique}",
        f"kafka.bootstrap_servers={','.join(kafka)}",
        f"kafka.prefix={unique}-",
        "kafka.partitions=2",
        f"s3.endpoint={s3.endpoint}",
        f"s3.access_key={s3.access_key}",
        f"s3.secret_key={s3.secret_key}",
        *work,
    ]


def remove_cluster(settings: Settings) -> None:
    """Take the bucket and the topics away."""
    from gim.adapters.kafka.client import Control
    from gim.adapters.s3.client import Client
    from gim.runtime.cluster import every_topic

    control = Control(settings.kafka, "gim-test")
    control.ask(lambda admin: admin.delete_topics([settings.kafka.prefix + name for name in every_topic()]))
    control.close()
    with closing(open_store(settings)) as store:
        for key in list(store.list()):
            store.delete(key)
    bucket = settings.store.removeprefix("s3://")
    client = Client(settings.s3, bucket)
    client.remove_bucket(bucket_name=bucket)
    client.close()
