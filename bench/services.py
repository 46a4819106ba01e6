"""What a cluster costs and brings: the same stages on servers beside SQLite and files, one matcher beside two."""

import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from statistics import median

from bench import rpc
from bench.findings import Findings, say
from bench.workspace import Workspace
from gim.adapters.bus_sqlite import SqliteBus
from gim.adapters.store_file import FileStore
from gim.ports.bus import Bus
from gim.ports.store import Store
from gim.ports.telemetry import NullTelemetry
from gim.runtime.outcome import Begun, Outcome
from gim.runtime.threads import one_thread_each
from gim.runtime.wiring import build_stages
from gim.runtime.worker import drain
from gim.settings import Settings
from gim.wire import topics
from gim.wire.v1 import events_pb2
from infra.state import read_state
from tests.e2e.cluster import Cluster, cluster, remove_topics, wait_for
from tests.servers import S3Server

PARTS = ("overhead", "scale_out", *rpc.PARTS)
_VIDEO = "city_dashcam_60s"
_SHORT_VIDEO = "gopro_walk_10s"
_PATIENT_SECONDS = 1800.0


def measure(workspace: Workspace, parts: list[str]) -> Findings:
    """Measure on the servers that `make servers-up` has started."""
    findings = Findings("services")
    kafka, minio = read_state("kafka"), read_state("minio")
    if kafka is None or minio is None:
        findings.notes.append("Kafka and MinIO were not running (make servers-up): what needs them was not measured")
    else:
        server = S3Server("minio", minio["endpoint"], minio["region"], minio["access_key"], minio["secret_key"])
        servers = (tuple(kafka["bootstrap_servers"]), server)
        if "overhead" in parts:
            name = _SHORT_VIDEO if workspace.effort == "quick" else _VIDEO
            for video in workspace.videos((name,)):
                _measure_overhead(findings, workspace, video, servers)
        if "scale_out" in parts:
            for video in workspace.videos((_VIDEO,)):  # the short one is a single segment
                _measure_scale_out(findings, workspace, video, servers)
    wanted = [part for part in parts if part in rpc.PARTS]
    if wanted:
        rpc.measure_into(findings, workspace, wanted)
    return findings


@contextmanager
def _system(workspace: Workspace, servers: tuple[tuple[str, ...], S3Server]) -> Iterator[Cluster]:
    kafka, server = servers
    folder = workspace.folder / uuid.uuid4().hex
    folder.mkdir()
    with cluster(folder, kafka, server, f"bench{uuid.uuid4().hex[:8]}") as system:
        yield system


def _measure_overhead(
    findings: Findings, workspace: Workspace, video: Path, servers: tuple[tuple[str, ...], S3Server]
) -> None:
    """The whole pipeline in one process, on either pair of adapters by turns."""
    embedded, remote = [], []
    for number in range(workspace.chosen(quick=2, normal=3)):
        say(f"the pipeline on files, then on servers: {number + 1}")
        folder = workspace.folder / f"overhead{number}"
        with closing(SqliteBus(folder / "bus")) as bus, closing(FileStore(folder / "store")) as store:
            embedded.append(_drain_seconds(Settings.load(environ={}), bus, store, video, folder))
        with _system(workspace, servers) as system, closing(system.bus()) as bus, closing(system.store()) as store:
            remote.append(_drain_seconds(system.settings, bus, store, video, folder))
    rows = [("SQLite and files", *sorted(embedded)), ("Kafka and MinIO", *sorted(remote))]
    findings.add("The same work, seconds", ("", *(f"run {n + 1}" for n in range(len(embedded)))), rows)
    percent = 100 * (median(remote) / median(embedded) - 1)
    findings.at_most("Kafka and MinIO over SQLite and files, wall time of one process", percent, 10, " %")


def _drain_seconds(settings: Settings, bus: Bus, store: Store, video: Path, folder: Path) -> float:
    """From the first message taken to the last one done with: joining the groups is not counted."""
    moments: list[float] = []

    def observe(_told: Begun | Outcome) -> None:
        moments.append(time.perf_counter())

    request = events_pb2.VideoRequested(source=str(video))
    bus.publish(topics.INGEST, str(video), request.SerializeToString())
    bus.flush()
    settings = replace(settings, store=str(folder)) if not settings.store.startswith("s3://") else settings
    with ThreadPoolExecutor(2) as executor, one_thread_each():
        stages = build_stages(settings, store, NullTelemetry(), executor, 2)
        report = drain(stages, bus, telemetry=NullTelemetry(), observe=observe)
    assert not report.dead_letters, report.dead_letters
    return moments[-1] - moments[0]


def _measure_scale_out(
    findings: Findings, workspace: Workspace, video: Path, servers: tuple[tuple[str, ...], S3Server]
) -> None:
    """The same segments, labelled by one matcher process and by two."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with _system(workspace, servers) as system:
        downloader = system.start("downloader")
        system.publish(video)
        system.wait_idle_of("ingest", topics.INGEST, _PATIENT_SECONDS)
        downloader.process.terminate()
        with closing(system.bus()) as bus:
            segments = list(bus.read(topics.SEGMENTS))
        for _ in range(workspace.chosen(quick=1, normal=1, full=3)):
            for number, found in seconds.items():
                say(f"{len(segments)} segments by {number} matcher processes")
                found.append(_label_seconds(system, [(each.key, each.value) for each in segments], number))
    findings.add("Labelling, seconds", ("processes", "median"), [(n, median(found)) for n, found in seconds.items()])
    gain = median(seconds[1]) / median(seconds[2])
    findings.at_least("two matcher processes over one, on the same queue", gain, 1.7, "x")


def _label_seconds(system: Cluster, segments: Sequence[tuple[str, bytes]], num_matchers: int) -> float:
    """From the first segment taken to the last one labelled, as the processes' logs say."""
    from gim.adapters.kafka.topics import ensure_topics

    with closing(system.store()) as store:
        for prefix in ("labels/", "features/"):
            for key in list(store.list(prefix)):
                store.delete(key)
    prefix = f"{system.settings.kafka.prefix}{uuid.uuid4().hex[:6]}."
    kafka = replace(system.settings.kafka, prefix=prefix)
    again = replace(system, settings=replace(system.settings, kafka=kafka), processes=[])
    again.sets = {**system.sets, "GIM_KAFKA__PREFIX": prefix}
    ensure_topics(kafka, topics.ALL)
    try:
        matchers = [again.start("matcher") for _ in range(num_matchers)]
        for matcher in matchers:
            matcher.wait_ready()
        wait_for(lambda: all("gim_bus_lag{" in each.ask("/metrics")[1] for each in matchers), "the groups to settle")
        with closing(again.bus()) as bus:
            for key, value in segments:
                bus.publish(topics.SEGMENTS, key, value)
            bus.flush()
        again.wait_idle_of("label-rootsift", topics.SEGMENTS, _PATIENT_SECONDS)
        done = [line for each in matchers for line in each.events("message_done")]
    finally:
        again.stop()
        remove_topics(kafka)
    ends = [datetime.fromisoformat(line["timestamp"]).timestamp() for line in done]
    begins = [end - line["seconds"] for end, line in zip(ends, done, strict=True)]
    return max(ends) - min(begins)
