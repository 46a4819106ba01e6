"""Stage times out of what real processes write: their metrics and their journals."""

import json
from dataclasses import replace

import pytest

from gim.adapters.telemetry_journal import JournalTelemetry
from gim.adapters.telemetry_prometheus import PrometheusTelemetry
from gim.errors import InvalidInput
from gim.simulation.limits import demand_of
from gim.simulation.measured import changed_times, read_measured, with_measured
from tests.unit.simulation.plans import SMALL, changed


def pod(service: str, stage: str, seconds: list[float], **counts: float) -> str:
    """What a pod answers to /metrics that has handled messages in so many seconds each."""
    telemetry = PrometheusTelemetry(service)
    for each in seconds:
        telemetry.observe("stage_seconds", each, stage=stage, outcome="done")
    telemetry.observe("stage_seconds", 1e6, stage=stage, outcome="dead")
    for name, value in counts.items():
        labels = {"matcher": "net", "outcome": "labelled"} if name == "pairs" else {}
        labels = {"outcome": "kept"} if name == "starts" else labels
        labels = {"matcher": "net", "benchmark": "b"} if name == "evaluated_pairs" else labels
        telemetry.count(name, value, "v", **labels)
    return telemetry.exposition()[0].decode()


def matcher_pod(*seconds: float, pairs: float) -> str:
    return pod("matcher", "label", list(seconds), pairs=pairs)


def test_wall_seconds_of_messages_become_the_times_of_the_stages() -> None:
    dumps = [
        pod("downloader", "ingest", [60.0, 30.0], frames_sampled=900.0),
        matcher_pod(10.0, 14.0, pairs=192.0),
        matcher_pod(12.0, pairs=96.0),
        pod("propagator", "propagate", [0.01, 0.01, 9.0], starts=900.0),
    ]
    plan = with_measured(SMALL, read_measured("\n".join(dumps)))
    assert plan.downloader.decode_seconds == pytest.approx(90.0 / (900 * 0.2))
    assert plan.downloader.video_seconds == 0
    net = plan.matchers["net"]
    assert (net.pair_seconds, net.message_seconds) == (0.0, pytest.approx(36.0 / 3))  # nothing was told of the GPU
    assert plan.propagator.sample_seconds == pytest.approx((9.02 - 3 * 0.01) / 900 * plan.propagator.cores)


def test_a_model_with_measured_times_takes_the_time_that_was_measured() -> None:
    """An hour of video through the measured stages costs what the measured ones took for as much."""
    pairs, seconds = 893.0, 147.0
    cpu = changed(net={"gpus": 0, "cores": 2.0})
    dump = pod("matcher", "label", [seconds / 10] * 10, pairs=pairs)
    demand = demand_of(with_measured(cpu, read_measured(dump)))
    assert demand.work["label-net"] == pytest.approx(seconds / pairs * (3 * 3200 - 7) / (640 / 3600))


def test_busy_seconds_of_a_network_are_the_gpu_s_and_the_rest_is_not() -> None:
    telemetry = PrometheusTelemetry("matcher")
    for _ in range(10):
        telemetry.observe("stage_seconds", 5.0, stage="label", outcome="done")
    telemetry.count("pairs", 800.0, "v", matcher="net", outcome="labelled")
    telemetry.count("pairs", 160.0, "v", matcher="net", outcome="no_fit")
    telemetry.add_seconds("features", "v", 12.0)
    telemetry.add_seconds("matching", "v", 24.0)
    telemetry.add_seconds("fitting", "v", 99.0)
    net = with_measured(SMALL, read_measured(telemetry.exposition()[0].decode())).matchers["net"]
    assert net.pair_seconds == pytest.approx(36.0 / 960)
    assert net.message_seconds == pytest.approx((50.0 - 36.0) / 10)
    assert (net.frame_seconds, net.fit_seconds, net.load_seconds) == (0, 0, 0)


def test_the_share_of_samples_that_is_used_is_what_was_labelled_of_what_was_sampled() -> None:
    telemetry = PrometheusTelemetry("matcher")
    telemetry.count("labelled_video_seconds", 90.0, "v", matcher="net")
    telemetry.count("pairs", 1300.0, "v", matcher="net", outcome="labelled")
    labelled = telemetry.exposition()[0].decode()
    sampled = pod("downloader", "ingest", [60.0], frames_sampled=600.0)
    assert with_measured(SMALL, read_measured(sampled + labelled)).videos.used_share == pytest.approx(0.75)
    assert with_measured(SMALL, read_measured(labelled)).videos.used_share == SMALL.videos.used_share
    early = pod("downloader", "ingest", [6.0], frames_sampled=60.0)
    assert with_measured(SMALL, read_measured(early + labelled)).videos.used_share == 1


def test_the_answer_of_prometheus_is_read_like_the_pods_own() -> None:
    series = [
        ({"__name__": "gim_stage_seconds_sum", "stage": "label", "outcome": "done", "pod": "m-1"}, "20"),
        ({"__name__": "gim_stage_seconds_count", "stage": "label", "outcome": "done", "pod": "m-1"}, "2"),
        ({"__name__": "gim_pairs_total", "matcher": "net", "outcome": "labelled", "pod": "m-1"}, "190"),
        ({"__name__": "gim_stage_seconds_sum", "stage": "label", "outcome": "done", "pod": "s-1"}, "7"),
        ({"__name__": "gim_stage_seconds_count", "stage": "label", "outcome": "done", "pod": "s-1"}, "1"),
        ({"__name__": "gim_pairs_total", "matcher": "sift", "outcome": "labelled", "pod": "s-1"}, "96"),
        ({"__name__": "gim_bus_lag", "pod": "s-1"}, "NaN"),
        ({"__name__": "up", "pod": "s-1"}, "1"),
    ]
    result = [{"metric": metric, "value": [1.0, value]} for metric, value in series]
    text = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})
    both = replace(SMALL, matchers={**SMALL.matchers, "sift": replace(SMALL.matchers["net"], gpus=0)})
    plan = with_measured(both, read_measured(text))
    assert plan.matchers["net"].message_seconds == pytest.approx(10.0)
    assert plan.matchers["sift"].pair_seconds == pytest.approx(7 / 96 * plan.matchers["sift"].cores)
    assert with_measured(both, read_measured(json.dumps(result))) == plan


def test_thread_seconds_of_a_journal_become_the_times_of_the_steps(tmp_path) -> None:
    journal = JournalTelemetry(tmp_path / "journal")
    for step, seconds in {"fetch": 1.0, "decode": 4.0, "analysis": 2.0, "encode": 3.0, "features": 20.0,
                          "matching": 10.0, "fitting": 2.5, "linking": 1.0, "guided": 4.0, "refining": 2.0,
                          "quality": 0.5, "shards": 0.5, "store": 50.0}.items():  # fmt: skip
        journal.add_seconds(step, "v", seconds)
    journal.count("frames_sampled", 100.0, "v")
    journal.count("pairs", 250.0, "v", matcher="net", outcome="labelled")
    journal.count("pairs", 43.0, "v", matcher="net", outcome="no_fit")
    journal.count("starts", 99.0, "v", outcome="kept")
    journal.progress("v", "label", 1.0, 2.0)
    journal.close()
    work = read_measured((tmp_path / "journal").read_text())
    plan = with_measured(SMALL, work)
    assert plan.downloader.decode_seconds == pytest.approx(10.0 / 20.0 / SMALL.downloader.cores)
    net = plan.matchers["net"]
    assert net.frame_seconds == pytest.approx(20.0 / 100)
    assert net.pair_seconds == pytest.approx(10.0 / 293)
    assert net.fit_seconds == pytest.approx(2.5 / 293)
    assert plan.propagator.sample_seconds == pytest.approx(8.0 / 99)
    told = changed_times(SMALL, plan)
    assert told["matchers.net.frame_seconds"] == (0.0, pytest.approx(0.2))
    assert "kafka.partitions" not in told


def test_times_that_were_not_measured_stay() -> None:
    plan = with_measured(SMALL, read_measured(pod("downloader", "ingest", [60.0], frames_sampled=300.0)))
    assert plan.matchers == SMALL.matchers
    assert plan.propagator == SMALL.propagator
    evaluated = pod("evaluator", "evaluate-shard", [30.0, 20.0], evaluated_pairs=1000.0)
    assert with_measured(SMALL, read_measured(evaluated)).evaluator.pair_seconds == pytest.approx(0.05)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello\n",
        "{",
        '{"status": "error"}',
        "gim_pairs_total{} x",
        '{"at": 1, "video": "v", "count": "?", "value": 1}',
    ],
)
def test_what_is_no_measurement_is_refused_in_one_line(text) -> None:
    with pytest.raises(InvalidInput, match=r"^(neither Prometheus's|it tells of no work)[^\n]*$"):
        read_measured(text)


def test_a_pod_that_has_done_nothing_tells_nothing() -> None:
    with pytest.raises(InvalidInput, match="it tells of no work"):
        read_measured(PrometheusTelemetry("matcher").exposition()[0].decode())


def test_matchers_that_the_plan_does_not_have_or_a_journal_mixes_are_refused(tmp_path) -> None:
    with pytest.raises(InvalidInput, match="measured with net, and the plan has other"):
        with_measured(
            replace(SMALL, matchers={"other": SMALL.matchers["net"]}), read_measured(matcher_pod(1.0, pairs=9.0))
        )
    journal = JournalTelemetry(tmp_path / "journal")
    for matcher in ("net", "sift"):
        journal.count("pairs", 9.0, "v", matcher=matcher, outcome="labelled")
    journal.close()
    both = replace(SMALL, matchers={**SMALL.matchers, "sift": SMALL.matchers["net"]})
    with pytest.raises(InvalidInput, match="does not tell the times of net, sift apart"):
        with_measured(both, read_measured((tmp_path / "journal").read_text()))
