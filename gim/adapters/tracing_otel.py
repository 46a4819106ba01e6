"""The Tracing port over OpenTelemetry: spans go to a collector by OTLP over gRPC, in batches, when it is there.

Nothing global is set but the level of one of the SDK's own loggers, and no environment is read. A collector that is
away costs neither time nor a line of the log: spans wait in a queue of fixed length, and what does not fit is lost.
"""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from urllib.parse import urlsplit

import grpc
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import INVALID_SPAN, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gim.adapters.telemetry_config import TelemetryConfig
from gim.errors import ConfigError
from gim.ports.tracing import NullTracing, Span, Tracing

# What is called by a word in this project has a name in OpenTelemetry's semantic conventions.
_CONVENTIONS = {
    "topic": "messaging.destination.name",
    "key": "messaging.kafka.message.key",
    "group": "messaging.consumer.group.name",
    "partition": "messaging.destination.partition.id",
    "offset": "messaging.kafka.offset",
    "rpc_service": "rpc.service",
    "rpc_method": "rpc.method",
}
_MESSAGING = {"messaging.system": "kafka", "messaging.operation.type": "process", "messaging.operation.name": "process"}
_MAX_SPANS = 2048  # that wait for the collector
_BATCH_SPANS = 256
_SEND_SECONDS = 5.0  # of one request
_PAUSES_SECONDS = (1.0, 2.0, 4.0)  # before another attempt; then the batch is given up

# Where the SDK warns of a full queue, every 20 s for as long as the collector is away.
logging.getLogger("opentelemetry.sdk._shared_internal").setLevel(logging.ERROR)


def open_tracing(config: TelemetryConfig, service: str) -> Tracing:
    """Tracing to the configured collector; where there is none, of nothing.

    Args:
        config: where to, and what share.
        service: the name of this process among its kind: `downloader`, `matcher`, ...

    Raises:
        ConfigError: the endpoint is not an address.
    """
    return OtelTracing(config, service) if config.otlp_endpoint else NullTracing()


class OtelTracing:
    """Spans in the W3C format of contexts, sampled by the root of a trace."""

    def __init__(self, config: TelemetryConfig, service: str, *, flush_seconds: float = 2.0) -> None:
        """Begin; the collector need not be there.

        Args:
            config: where to, and what share.
            service: as of `open_tracing`.
            flush_seconds: that a finished span waits for others, to go in one batch.

        Raises:
            ConfigError: the endpoint is not an address.
        """
        self._exporter = _CollectorExporter(config.otlp_endpoint)
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(config.trace_share)),
            resource=Resource(
                {
                    "service.namespace": "gim",
                    "service.name": f"gim-{service}",
                    "service.version": version("gim-pipeline"),
                }
            ),
            shutdown_on_exit=False,
            span_limits=SpanLimits(),
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter,
                max_queue_size=_MAX_SPANS,
                schedule_delay_millis=flush_seconds * 1000,
                max_export_batch_size=_BATCH_SPANS,
                export_timeout_millis=_SEND_SECONDS * 1000,
            )
        )
        self._tracer = self._provider.get_tracer("gim")
        self._format = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, name: str, headers: Mapping[str, str], **attributes: str | int) -> Iterator[Span]:
        """Trace a block of work.

        `topic`, `key`, `group`, `partition` and `offset` name the message it consumes, `rpc_service` and `rpc_method`
        the call it answers, by the semantic conventions; any other attribute is `gim.<its name>`. Empty texts are left
        out.
        """
        # Never what happens to be current in this thread: a parent is named by headers, or there is none.
        parent = self._format.extract(dict(headers), context=set_span_in_context(INVALID_SPAN))
        about = _named(attributes)
        traced = self._tracer.start_span(_title(name, attributes), parent, _kind(attributes), about)
        carrier: dict[str, str] = {}
        self._format.inject(carrier, context=set_span_in_context(traced))
        context = traced.get_span_context()
        span = Span(f"{context.trace_id:032x}" if context.is_valid else "", carrier)
        try:
            yield span
        except BaseException as error:
            # The innermost cause tells more than the wrapper that leaves the block.
            span.error = span.error or type(error.__cause__ or error).__name__
            raise
        finally:
            traced.set_attributes(_named(span.attributes))
            if span.error:
                traced.set_attribute("error.type", span.error)
                traced.set_status(Status(StatusCode.ERROR, span.error))
            traced.end()

    def close(self) -> None:
        """Send what is left; a collector that is away delays this by a few seconds at most."""
        self._exporter.hurry()
        self._provider.shutdown()


class _CollectorExporter(SpanExporter):
    """Sends batches to a collector; unlike the SDK's own, without a line of the log for every failure."""

    def __init__(self, endpoint: str) -> None:
        address = urlsplit(endpoint)
        if address.scheme not in {"http", "https"} or not address.hostname:
            raise ConfigError("telemetry.otlp_endpoint: expected http(s)://host:port of a collector's gRPC receiver")
        target = f"{address.hostname}:{address.port or 4317}"
        options = [("grpc.max_reconnect_backoff_ms", 5000)]
        self._channel = (
            grpc.secure_channel(target, grpc.ssl_channel_credentials(), options)
            if address.scheme == "https"
            else grpc.insecure_channel(target, options)
        )
        self._stub = TraceServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._hurry = threading.Event()
        self._has_failed = False  # the last attempt

    def hurry(self) -> None:
        """From now on the first failure is the end: what is left is lost."""
        self._hurry.set()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._hurry.is_set() and self._has_failed:
            return SpanExportResult.FAILURE
        request = encode_spans(spans)
        for pause_seconds in (*_PAUSES_SECONDS, 0.0):
            try:
                self._stub.Export(request, timeout=_SEND_SECONDS)
            except grpc.RpcError:
                self._has_failed = True
            else:
                self._has_failed = False
                return SpanExportResult.SUCCESS
            if self._hurry.wait(pause_seconds):
                break
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self._channel.close()

    def force_flush(self, timeout_millis: int = 0) -> bool:  # noqa: ARG002 - of the SDK
        return True


def _title(name: str, attributes: Mapping[str, str | int]) -> str:
    """The convention's `{operation} {destination}`; the stage stays an attribute."""
    return f"{name} {attributes['topic']}" if attributes.get("topic") else name


def _kind(attributes: Mapping[str, str | int]) -> SpanKind:
    if attributes.get("topic"):
        return SpanKind.CONSUMER
    return SpanKind.SERVER if attributes.get("rpc_method") else SpanKind.INTERNAL


def _named(attributes: Mapping[str, str | int]) -> dict[str, str | int]:
    named: dict[str, str | int] = {}
    for name, value in attributes.items():
        if value == "":
            continue
        if name == "partition":
            value = str(value)  # noqa: PLW2901 - the convention's type
        named[_CONVENTIONS.get(name, f"gim.{name}")] = value
    if "topic" in attributes:
        named |= _MESSAGING
    if "rpc_method" in attributes:
        named["rpc.system"] = "grpc"
    return named
