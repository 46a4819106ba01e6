"""What the real services say while they label a video: one trace, their metrics, lines of JSON, and never a secret."""

import re
import uuid
from contextlib import closing

import pytest

from gim.wire import topics
from tests.e2e.cluster import cluster, wait_for
from tests.otlp_receiver import OtlpReceiver
from tests.synthetic import small_clip

pytestmark = pytest.mark.slow
SETS = {"GIM_PAIRING__MIN_INLIERS": "30", "GIM_PROPAGATION__MIN_KEPT": "30"}
SIGNED = "http://127.0.0.1:9/clip.mp4?X-Amz-Credential=AKID&X-Amz-Signature=feedfacefeedface"
WITH_PASSWORD = "http://walker:hunter2-of-the-url@127.0.0.1:9/clip.mp4"


@pytest.fixture(scope="module")
def told(tmp_path_factory, kafka_servers, minio_server):
    """What was told: the cluster's processes, their metrics by name, and the spans that a collector received."""
    folder = tmp_path_factory.mktemp("telemetry")
    small_clip(folder / "clip.mp4")
    with closing(OtlpReceiver()) as receiver:
        sets = {**SETS, "GIM_TELEMETRY__OTLP_ENDPOINT": receiver.endpoint}
        with cluster(folder, kafka_servers, minio_server, f"t{uuid.uuid4().hex[:10]}", **sets) as system:
            services = {each.name: each for each in system.start_all()}
            system.publish(SIGNED, WITH_PASSWORD, folder / "clip.mp4")
            system.wait_finished(1)
            system.wait_idle()
            metrics = {name: metrics_of(service) for name, service in services.items()}
            health = {
                name: [service.ask(path)[0] for path in ("/healthz", "/readyz")] for name, service in services.items()
            }
        ends = {name: service.process.returncode for name, service in services.items()}
        yield services, metrics, health, ends, receiver.spans, minio_server.secret_key


def metrics_of(service):
    """Name and labels -> value, once the loop has told its lag."""
    wait_for(lambda: "gim_bus_lag{" in service.ask("/metrics")[1], f"the lag of {service.name}")
    lines = (line.rpartition(" ") for line in service.ask("/metrics")[1].splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_each_service_lives_works_and_ends_well(told):
    _, _, health, ends, _, _ = told
    assert set(map(tuple, health.values())) == {(200, 200)}
    assert set(ends.values()) == {0}


def test_metrics_tell_of_the_work(told):
    _, metrics, *_ = told
    downloader, matcher, propagator = (metrics[name] for name in ("downloader", "matcher", "propagator"))
    assert downloader['gim_messages_total{outcome="done",stage="ingest"}'] == 1
    assert downloader['gim_messages_total{outcome="dead",stage="ingest"}'] == 2
    assert sum(value for name, value in downloader.items() if 'gim_videos_total{outcome="failed"' in name) == 2
    assert downloader["gim_frames_sampled_total"] > 5
    labelled = matcher['gim_labelled_pairs_total{matcher="rootsift"}']
    assert labelled == matcher['gim_pairs_total{matcher="rootsift",outcome="labelled"}'] > 0
    assert labelled == matcher['gim_correspondences_per_pair_count{matcher="rootsift"}']
    assert matcher['gim_labelled_video_seconds_total{matcher="rootsift"}'] > 0
    assert 'gim_bus_lag{group="label-rootsift",topic="gim.segments.v1"}' in downloader  # also while no matcher is there
    assert propagator["gim_training_pairs_total"] == propagator["gim_propagated_interval_seconds_count"] > 0
    assert propagator['gim_starts_total{outcome="kept"}'] == propagator["gim_training_pairs_total"]
    assert propagator['gim_videos_total{outcome="kept",reason="none"}'] == 1
    for name, found in metrics.items():
        assert found['gim_store_bytes_total{direction="in"}'] > 0 or name == "downloader"
        assert found['gim_store_bytes_total{direction="out"}'] > 0
        assert sum(value for key, value in found.items() if key.startswith("gim_stage_seconds_count")) > 0
        assert any(key.startswith("gim_bus_lag{") for key in found)
        assert not [key for key in found if key.startswith("gim_undeclared_total{")], name


def test_a_video_is_one_trace_through_all_services(told):
    *_, spans, _ = told
    by_id = {span.span_id: span for _, span in spans}
    propagated = [span for _, span in spans if span.name.startswith("propagate ")][-1]
    chain, span = [], propagated
    while span is not None:
        chain.append(span.name.split()[0])
        span = by_id.get(span.parent_span_id)
    assert chain == ["propagate", "label", "ingest"]
    services = {about["service.name"] for about, span in spans if span.trace_id == propagated.trace_id}
    assert services == {"gim-downloader", "gim-matcher", "gim-propagator"}


def test_lines_are_json_and_say_what_they_are_about(told):
    services, *_, spans, _ = told
    traces = {span.trace_id.hex() for _, span in spans}
    for name, service in services.items():
        lines = service.lines()  # each is parsed
        assert lines
        assert {line["service"] for line in lines} == {name}
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line["timestamp"]) for line in lines)
        done = [line for line in lines if line["event"] == "message_done"]
        assert done
        assert all(line["trace_id"] in traces for line in done)
        assert all(line["video_id"].startswith("file-") for line in done)
        assert all("segment" in line for line in done if line["topic"].endswith(topics.SEGMENTS))


def test_no_log_holds_a_secret(told):
    services, *_, secret_key = told
    for service in services.values():
        text = service.log.read_text(encoding="utf-8")
        for secret in (secret_key, "hunter2", "feedface", "AKID"):
            assert secret not in text, f"{service.name} wrote {secret}"
