"""The whole system as it is deployed: service processes on a real Kafka and a real S3 server, with topics, groups and a
bucket of their own, watched through their logs, their metrics and what they leave in the store.
"""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from gim.adapters.kafka.config import KafkaConfig
from gim.adapters.s3.config import S3Config
from gim.ports.bus import Bus
from gim.ports.store import Store
from gim.runtime.cluster import groups_of
from gim.runtime.opening import open_bus, open_store
from gim.settings import Settings
from gim.wire import topics
from gim.wire.v1 import events_pb2
from tests.e2e.commands import ROOT, environment
from tests.servers import S3Server

T = TypeVar("T")
PATIENT_SECONDS = 180.0  # for what must come, on a machine that does other things


@dataclass
class ServiceProcess:
    """One started service."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    is_ended: bool = False  # by us

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged so far."""
        whole = self.log.read_text(encoding="utf-8").rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["event"] == event]

    def url(self, path: str) -> str:
        (started,) = wait_for(lambda: self.events("service_started"), f"{self.name} to start")
        return f"http://127.0.0.1:{started['http_port']}{path}"

    def ask(self, path: str) -> tuple[int, str]:
        """Status and body of one GET."""
        try:
            with urllib.request.urlopen(self.url(path), timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def wait_ready(self) -> None:
        wait_for(lambda: self.ask("/readyz")[0] == 200, f"{self.name} to be ready")

    def peak_bytes(self) -> int:
        """The most memory it has held so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        self.is_ended = True
        self.process.send_signal(number)
        return self.process.wait(PATIENT_SECONDS)


@dataclass
class Cluster:
    """Settings of one system, and the processes started on them."""

    folder: Path
    settings: Settings
    sets: dict[str, str]  # of the environment
    processes: list[ServiceProcess] = field(default_factory=list)

    def start(self, name: str, *, program: Path | None = None, **more: str) -> ServiceProcess:
        """Start `services/<name>/main.py`, or another program; `more` are further settings of its environment."""
        log = self.folder / f"{name}-{len(self.processes)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, str(program or ROOT / "services" / name / "main.py")],
                stdout=file, stderr=subprocess.STDOUT, env=environment(**{**self.sets, **more}), start_new_session=True,
            )  # fmt: skip
        self.processes.append(ServiceProcess(name, process, log))
        return self.processes[-1]

    def start_all(self, *names: str) -> list[ServiceProcess]:
        return [self.start(name) for name in names or ("downloader", "matcher", "propagator")]

    def publish(self, *sources: object, times: int = 1) -> None:
        """Ask for videos, as a person does."""
        with closing(self.bus()) as bus:
            for source in [str(source) for source in sources for _ in range(times)]:
                bus.publish(topics.INGEST, source, events_pb2.VideoRequested(source=source).SerializeToString())
            bus.flush()

    def bus(self) -> Bus:
        return open_bus(self.settings)

    def store(self) -> Store:
        return open_store(self.settings)

    def finished(self) -> list[str]:
        """Keys of the manifests of all results."""
        with closing(self.store()) as store:
            return [key for key in store.list("pairs/") if key.endswith("/manifest.json")]

    def wait_finished(self, num_videos: int, seconds: float = PATIENT_SECONDS) -> list[str]:
        """Wait until so many videos have a result."""

        def look() -> list[str]:
            self.check_alive()
            found = self.finished()
            return found if len({key.split("/")[1] for key in found}) >= num_videos else []

        return wait_for(look, f"{num_videos} videos", seconds)

    def wait_idle_of(self, group: str, topic: str, seconds: float = PATIENT_SECONDS) -> None:
        """Wait until a group has acknowledged what there is."""
        with closing(self.bus()) as bus:
            wait_for(lambda: bus.lag(topic, group) == 0, f"an idle {group}", seconds)

    def wait_idle(self, seconds: float = PATIENT_SECONDS) -> None:
        """Wait until nobody has anything left to do."""
        groups = groups_of(self.settings)
        with closing(self.bus()) as bus:
            wait_for(lambda: not any(bus.lag(topic, group) for topic, group in groups), "an idle system", seconds)

    def check_alive(self) -> None:
        """Fail at once, with its last words, when a process has ended by itself."""
        for each in self.processes:
            code = each.process.poll()
            assert each.is_ended or code is None, f"{each.name} ended with {code}: {_tail(each.log)}"

    def stop(self) -> None:
        """Ask all processes to end."""
        for each in self.processes:
            if each.process.poll() is None:
                each.process.terminate()
        for each in self.processes:
            try:
                each.process.wait(60)
            except subprocess.TimeoutExpired:
                each.process.kill()
                each.process.wait()


def results_of(store: Store) -> dict[str, bytes]:
    """Every object that must be the same however it came about: all but when and whence a video was fetched."""
    prefixes = ("frames/", "labels/", "pairs/", "masks/")
    found = {key: store.get(key) for prefix in prefixes for key in store.list(prefix)}
    return found | {key: store.get(key) for key in store.list("videos/") if not key.endswith("/meta.json")}


@contextmanager
def cluster(
    folder: Path, kafka_servers: Sequence[str], server: S3Server, unique: str, *, partitions: int = 6, **sets: str
) -> Iterator[Cluster]:
    """A system of its own: topics, groups and a bucket that nobody else uses, gone afterwards."""
    from gim.adapters.kafka.topics import ensure_topics

    kafka = KafkaConfig(tuple(kafka_servers), f"{unique}.", partitions=partitions)
    s3 = S3Config(server.endpoint, server.region, server.access_key, server.secret_key)
    values = {
        "GIM_STORE": f"s3://{unique}",
        "GIM_S3__ENDPOINT": s3.endpoint,
        "GIM_S3__ACCESS_KEY": s3.access_key,
        "GIM_S3__SECRET_KEY": s3.secret_key,
        "GIM_KAFKA__BOOTSTRAP_SERVERS": json.dumps(list(kafka_servers)),
        "GIM_KAFKA__PREFIX": kafka.prefix,
        "GIM_KAFKA__SESSION_TIMEOUT_SECONDS": "10",
        "GIM_SERVICE__HTTP_HOST": "127.0.0.1",
        "GIM_SERVICE__HTTP_PORT": "0",
        "GIM_RPC__HOST": "127.0.0.1",
        "GIM_RPC__PORT": "0",
        "GIM_RUN__THREADS": "1",
        "OMP_NUM_THREADS": "1",
        **sets,
    }
    settings = Settings.load(environ={name: value for name, value in values.items() if name.startswith("GIM_")})
    settings = replace(settings, kafka=replace(settings.kafka, partitions=partitions))
    ensure_topics(settings.kafka, topics.ALL)
    open_store(settings, create=True).close()
    system = Cluster(folder, settings, values)
    try:
        yield system
    finally:
        system.stop()
        remove_topics(settings.kafka)
        remove_bucket(server, unique)


def remove_topics(kafka: KafkaConfig) -> None:
    """Remove every topic with the prefix of these settings."""
    from kafka import KafkaAdminClient

    admin = KafkaAdminClient(bootstrap_servers=list(kafka.bootstrap_servers))
    try:
        admin.delete_topics([name for name in admin.list_topics() if name.startswith(kafka.prefix)])
    finally:
        admin.close()


def remove_bucket(server: S3Server, bucket: str) -> None:
    """Remove a bucket with all versions of all it holds."""
    client = _client(server)
    for item in client.list_objects(bucket_name=bucket, recursive=True, include_version=server.name == "minio"):
        client.remove_object(bucket_name=bucket, object_name=str(item.object_name), version_id=item.version_id)
    client.remove_bucket(bucket_name=bucket)


def keep_versions(server: S3Server, bucket: str) -> None:
    """Have the server remember every write from now on, so that `count_writes` can tell."""
    from minio.commonconfig import ENABLED
    from minio.versioningconfig import VersioningConfig

    _client(server).set_bucket_versioning(bucket_name=bucket, config=VersioningConfig(ENABLED))


def count_writes(server: S3Server, bucket: str, prefix: str) -> Counter[str]:
    """How often each object below a prefix was written since `keep_versions`."""
    found = _client(server).list_objects(bucket_name=bucket, prefix=prefix, recursive=True, include_version=True)
    return Counter(str(item.object_name) for item in found if not item.is_delete_marker)


def _client(server: S3Server) -> Any:
    from minio import Minio

    host = server.endpoint.partition("://")[2]
    return Minio(
        endpoint=host, access_key=server.access_key, secret_key=server.secret_key, secure=False, region=server.region
    )


def wait_for(look: Callable[[], T], what: str, seconds: float = PATIENT_SECONDS) -> T:
    """What `look` gives once it gives something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.1)
    return found


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
