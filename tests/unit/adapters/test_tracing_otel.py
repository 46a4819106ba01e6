"""Traces without a collector: contexts, their share, and that one that is away costs nothing."""

import logging
import re
import time
from contextlib import closing

import pytest

from gim.adapters.telemetry_config import TelemetryConfig
from gim.adapters.tracing_otel import OtelTracing, open_tracing
from gim.errors import ConfigError
from gim.ports.tracing import NullTracing

NOBODY = "http://127.0.0.1:9"  # the discard port: connections are refused


def tracing(**options):
    return closing(OtelTracing(TelemetryConfig(NOBODY, **options), "downloader"))


def is_sampled(span):
    return int(span.headers["traceparent"][-2:], 16) & 1


def test_without_an_endpoint_nothing_is_traced():
    found = open_tracing(TelemetryConfig(), "matcher")
    assert isinstance(found, NullTracing)
    with found.span("label", {}, topic="t") as span:
        span.attributes["video_id"] = "v"
        assert (span.trace_id, dict(span.headers)) == ("", {})


def test_with_an_endpoint_a_context_goes_on_in_w3c_form():
    with tracing() as first, tracing() as second:
        with first.span("ingest", {}) as root:
            assert re.fullmatch(rf"00-{root.trace_id}-[0-9a-f]{{16}}-[0-9a-f]{{2}}", root.headers["traceparent"])
        with second.span("label", {"gim-type": "x", **root.headers}) as child:
            assert child.trace_id == root.trace_id
            assert child.headers["traceparent"] != root.headers["traceparent"]


def test_blocks_without_headers_are_traces_of_their_own_even_inside_each_other():
    with tracing() as here, here.span("ingest", {}) as outer, here.span("ingest", {}) as inner:
        assert outer.trace_id != inner.trace_id


@pytest.mark.parametrize(
    "header", ["", "garbage", "00-0-0-00", f"00-{'0' * 32}-{'0' * 16}-01", f"ff-{'a' * 32}-{'b' * 16}-01", "\x00" * 100]
)
def test_a_broken_context_begins_a_new_trace(header):
    with tracing() as here, here.span("label", {"traceparent": header}) as span:
        assert re.fullmatch(r"[0-9a-f]{32}", span.trace_id)
        assert span.trace_id not in header


def test_a_foreign_tracestate_travels_along():
    headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "vendor=1"}
    with tracing() as here, here.span("label", headers) as span:
        assert span.headers["tracestate"] == "vendor=1"


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.3, 40, 160), (1.0, 300, 300)])
def test_the_share_is_that_of_the_roots(share, least, most):
    with tracing(trace_share=share) as here:
        traced = 0
        for _ in range(300):
            with here.span("ingest", {}) as root:
                traced += is_sampled(root)
        assert least <= traced <= most


@pytest.mark.parametrize("flag", ["00", "01"])
def test_what_the_root_decided_is_kept_by_those_who_follow(flag):
    headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-{flag}"}
    with tracing(trace_share=0.5) as here:
        for _ in range(20):
            with here.span("label", headers) as span:
                assert is_sampled(span) == (flag == "01")


@pytest.mark.parametrize("endpoint", ["collector:4317", "ftp://collector", "http://", "grpc://x:1"])
def test_an_endpoint_that_is_no_address_is_refused(endpoint):
    with pytest.raises(ConfigError, match=r"telemetry\.otlp_endpoint: expected") as raised:
        open_tracing(TelemetryConfig(endpoint), "matcher")
    assert "\n" not in str(raised.value)


def test_an_error_goes_through_unchanged():
    with tracing() as here:
        with pytest.raises(ZeroDivisionError):
            with here.span("label", {}):
                raise ZeroDivisionError("oh")


def test_a_collector_that_is_away_costs_no_time_no_memory_and_no_line_of_the_log(caplog):
    caplog.set_level(logging.DEBUG)
    here = OtelTracing(TelemetryConfig(NOBODY), "matcher", flush_seconds=0.01)
    started = time.process_time()
    for offset in range(10_000):
        with here.span("label", {}, topic="gim.segments.v1", offset=offset):
            pass
    cost_seconds = (time.process_time() - started) / 10_000
    here.close()
    here.close()
    assert cost_seconds < 0.001
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], caplog.text
