"""Traces as a collector receives them over OTLP: whose children spans are, and what they say."""

import threading
import time
from contextlib import closing

import grpc
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from gim.adapters import tracing_otel
from gim.adapters.bus_sqlite import SqliteBus
from gim.adapters.store_file import FileStore
from gim.adapters.telemetry_config import TelemetryConfig
from gim.adapters.tracing_otel import OtelTracing
from gim.errors import InvalidInput
from gim.ports.telemetry import NullTelemetry
from gim.runtime.handling import Handler
from gim.runtime.retry import PATIENT, Patience
from gim.wire import topics
from tests.integration.pipeline import Join, Mark, Split, requests, video_id_of
from tests.otlp_receiver import OtlpReceiver, attributes_of


@pytest.fixture
def receiver():
    with closing(OtlpReceiver()) as found:
        yield found


def open_here(receiver, service, **options):
    return OtelTracing(TelemetryConfig(receiver.endpoint, **options), service, flush_seconds=0.02)


def by_name(spans):
    return {span.name: span for span in spans}


def test_three_handlings_are_one_trace_with_the_right_parents(receiver):
    headers = {}
    for name, topic in (("ingest", topics.INGEST), ("label", topics.SEGMENTS), ("propagate", topics.LABELS)):
        with closing(open_here(receiver, name)) as tracing:
            with tracing.span(name, headers, topic=topic, key="k", group=name, partition=3, offset=7) as span:
                span.attributes["video_id"] = "yt-aqz-KE-bpKQ"
                headers = {"gim-producer": name, **span.headers}
    spans = by_name(receiver.wait_for(3))
    ingest, label, propagate = (
        spans[f"{name} {topic}"]
        for name, topic in (("ingest", topics.INGEST), ("label", topics.SEGMENTS), ("propagate", topics.LABELS))
    )
    assert len({span.trace_id for span in spans.values()}) == 1
    assert ingest.parent_span_id == b""
    assert label.parent_span_id == ingest.span_id
    assert propagate.parent_span_id == label.span_id
    assert label.kind == OtlpSpan.SPAN_KIND_CONSUMER
    assert attributes_of(label) == {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": topics.SEGMENTS,
        "messaging.destination.partition.id": "3",
        "messaging.kafka.message.key": "k",
        "messaging.kafka.offset": 7,
        "messaging.consumer.group.name": "label",
        "gim.video_id": "yt-aqz-KE-bpKQ",
    }
    services = {about["service.name"] for about, _ in receiver.spans}
    assert services == {"gim-ingest", "gim-label", "gim-propagate"}


def test_the_runtime_carries_one_trace_through_the_headers_of_a_real_bus(receiver, tmp_path):
    store, telemetry = FileStore(tmp_path / "store", create=True), NullTelemetry()
    stages = [Split(store, telemetry), Mark(store, telemetry), Join(store, telemetry)]
    source = "v1:2"
    with closing(SqliteBus(tmp_path / "bus.db")) as bus, closing(open_here(receiver, "all")) as tracing:
        for key, event in requests(source):
            bus.publish(topics.INGEST, key, event.SerializeToString())
        bus.flush()
        handler = Handler(bus, Patience(PATIENT, lambda: False), telemetry, tracing)
        for stage in stages:
            with closing(bus.subscribe([stage.topic], stage.group)) as subscription:
                while (message := subscription.poll(0.2)) is not None:
                    handler.handle(stage, subscription, message)
    spans = receiver.wait_for(5)
    assert len({span.trace_id for span in spans}) == 1
    assert [span.name.split()[0] for span in sorted(spans, key=lambda span: span.start_time_unix_nano)] == [
        "split", "mark", "mark", "join", "join",
    ]  # fmt: skip
    parents = {span.span_id: span for span in spans}
    for span in spans:
        before = {"split": "", "mark": "split", "join": "mark"}[span.name.split()[0]]
        assert (parents[span.parent_span_id].name.split()[0] if span.parent_span_id else "") == before
    marks = [attributes_of(span) for span in spans if span.name.startswith("mark")]
    assert sorted(mark["gim.segment"] for mark in marks) == [0, 1]
    assert {mark["gim.video_id"] for mark in marks} == {video_id_of(source)}
    store.close()


def test_work_that_failed_says_so_without_its_message(receiver):
    with closing(open_here(receiver, "matcher")) as tracing:
        with pytest.raises(RuntimeError):
            with tracing.span("label", {}):
                raise RuntimeError("wrapper") from InvalidInput("https://u:hunter2@h/")
        with tracing.span("propagate", {}) as span:
            span.error = "Unavailable"
        with tracing.span("ingest", {}):
            pass
    spans = by_name(receiver.wait_for(3))
    assert (spans["label"].status.code, attributes_of(spans["label"])["error.type"]) == (2, "InvalidInput")
    assert (spans["propagate"].status.code, attributes_of(spans["propagate"])["error.type"]) == (2, "Unavailable")
    assert spans["ingest"].status.code == 0
    assert all(b"hunter2" not in span.SerializeToString() for span in spans.values())


def test_a_call_joins_the_trace_in_its_metadata(receiver):
    with closing(open_here(receiver, "matcher")) as tracing:
        with tracing.span("client", {}) as caller:
            metadata = [*caller.headers.items(), ("user-agent", "x")]
            with tracing.span(
                "Match", dict(metadata), rpc_service="gim.v1.MatcherService", rpc_method="Match"
            ) as answering:
                assert answering.trace_id == caller.trace_id
    spans = by_name(receiver.wait_for(2))
    assert spans["Match"].parent_span_id == spans["client"].span_id
    assert spans["Match"].kind == OtlpSpan.SPAN_KIND_SERVER
    assert attributes_of(spans["Match"]) == {
        "rpc.system": "grpc", "rpc.service": "gim.v1.MatcherService", "rpc.method": "Match",
    }  # fmt: skip


def test_videos_outside_the_share_are_not_sent(receiver):
    with closing(open_here(receiver, "downloader", trace_share=0.0)) as root:
        with root.span("ingest", {}) as span:
            pass
    with closing(open_here(receiver, "matcher")) as follower:
        with follower.span("label", span.headers):
            pass
        with follower.span("label", {}):
            pass
    (only,) = receiver.wait_for(1)
    assert only.trace_id.hex() != span.trace_id


def test_a_collector_that_comes_late_still_gets_what_waits():
    with closing(OtlpReceiver()) as early:
        port = early.port
    tracing = OtelTracing(TelemetryConfig(f"http://127.0.0.1:{port}"), "matcher", flush_seconds=0.02)
    with tracing.span("label", {}):
        pass
    time.sleep(0.3)  # the first attempt is refused meanwhile
    with closing(OtlpReceiver(port)) as late:
        late.wait_for(1)
        tracing.close()


def test_a_collector_that_hangs_delays_the_end_by_seconds_at_most(monkeypatch):
    monkeypatch.setattr(tracing_otel, "_SEND_SECONDS", 1.0)
    go_on = threading.Event()

    class Hanging(OtlpReceiver):
        def Export(self, request, context):  # noqa: N802 - of the protocol
            go_on.wait(120)
            return super().Export(request, context)

    receiver = Hanging()
    tracing = OtelTracing(TelemetryConfig(receiver.endpoint), "matcher", flush_seconds=0.02)
    for _ in range(5000):  # more than fit into its queue
        with tracing.span("label", {}):
            pass
    started = time.monotonic()
    tracing.close()
    assert time.monotonic() - started < 15
    go_on.set()
    receiver.close()


def test_the_collectors_refusal_is_no_error_of_ours(receiver):
    class Refusing(OtlpReceiver):
        def Export(self, request, context):  # noqa: N802 - of the protocol
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")

    with closing(Refusing()) as refusing, closing(open_here(refusing, "matcher")) as tracing:
        with tracing.span("label", {}):
            pass
