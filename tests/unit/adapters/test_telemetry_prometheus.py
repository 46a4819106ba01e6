"""Metrics: what is told under which name, what is there from the start, and that no word of the work can break them."""

import re
import sys
import threading
from types import SimpleNamespace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from gim.adapters.metric_table import METRICS, UNCOUNTED
from gim.adapters.telemetry_journal import JournalTelemetry
from gim.adapters.telemetry_prometheus import MAX_LABEL_SETS, PrometheusTelemetry
from gim.errors import CorruptObject
from gim.ports.telemetry import NullTelemetry
from gim.runtime.journal import RunWatch
from gim.runtime.outcome import Begun, DeadLetter, Outcome
from gim.runtime.outcome_metrics import tell_outcome
from tests.architecture.tree import ROOT

KNOWN = {"matcher": ["rootsift"], "topic": ["gim.segments.v1"], "group": ["label-rootsift"]}


@pytest.fixture
def telemetry():
    return PrometheusTelemetry("matcher", known=KNOWN)


def samples(telemetry):
    """Name and labels, as Prometheus writes them -> value."""
    text = telemetry.exposition()[0].decode()
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_each_metric_is_exposed_with_its_help(telemetry):
    families = {family.name: family for family in parse(telemetry.exposition()[0].decode())}
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        if all(metric.labels[label] or label in KNOWN for label in metric.labels):
            assert family.samples, f"{metric.name} has label sets only once it is told"
    assert "process_resident_memory_bytes" in families


def test_names_follow_the_style():
    for metric in METRICS:
        assert re.fullmatch(r"gim_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.help.endswith(".")
        assert "video" not in " ".join(metric.labels), "a label by video never ends"
        assert bool(metric.buckets) == (metric.kind == "histogram")


def test_what_stages_tell_reaches_its_metric(telemetry):
    telemetry.count("events", 1, "v", stage="label", outcome="done")
    telemetry.count("labelled_pairs", 7, "v", matcher="rootsift")
    telemetry.count("pairs_kept", 3, "v")
    telemetry.count("sources_skipped", 2, "@channel", reason="private")
    telemetry.add_seconds("decode", "v", 1.5)
    telemetry.observe("correspondences_per_pair", 300, "v", matcher="rootsift")
    telemetry.set_level("bus_lag", 12, topic="gim.segments.v1", group="label-rootsift")
    with telemetry.step("matching", "v"):
        pass
    found = samples(telemetry)
    assert found['gim_messages_total{outcome="done",stage="label"}'] == 1
    assert found['gim_messages_total{outcome="dead",stage="label"}'] == 0
    assert found['gim_labelled_pairs_total{matcher="rootsift"}'] == 7
    assert found["gim_training_pairs_total"] == 3
    assert found['gim_videos_total{outcome="skipped",reason="private"}'] == 2
    assert found['gim_step_seconds_total{step="decode"}'] == 1.5
    assert found['gim_step_seconds_total{step="matching"}'] > 0
    assert found['gim_correspondences_per_pair_bucket{le="256.0",matcher="rootsift"}'] == 0
    assert found['gim_correspondences_per_pair_bucket{le="512.0",matcher="rootsift"}'] == 1
    assert found['gim_bus_lag{group="label-rootsift",topic="gim.segments.v1"}'] == 12
    assert not any(name.startswith("gim_undeclared") for name in found)


@pytest.mark.parametrize("name", sorted(UNCOUNTED))
def test_what_a_redelivery_tells_again_is_no_metric(telemetry, name):
    before = telemetry.exposition()[0].count(b"\n")
    telemetry.count(name, 5, "v", matcher="rootsift")
    assert telemetry.exposition()[0].count(b"\n") == before


def test_an_undeclared_name_is_counted_and_stops_nothing(telemetry):
    telemetry.count("pears_labelled", 2, "v", matcher="rootsift")
    telemetry.observe("rpc_secs", 0.5)
    found = samples(telemetry)
    assert found['gim_undeclared_total{name="pears_labelled"}'] == 2
    assert found['gim_undeclared_total{name="rpc_secs"}'] == 0.5


def test_every_name_that_the_code_tells_is_declared():
    declared = {name for metric in METRICS for name in (metric.port_name, *metric.told)} | UNCOUNTED
    told = {}
    for path in (ROOT / "gim").rglob("*.py"):
        calls = re.findall(r"""tel(?:l|emetry)\.(?:count|observe|set_levels?)\(\s*["'](\w+)["']""", path.read_text())
        told |= dict.fromkeys(calls, path.name)
    assert len(told) > 15
    assert {name: path for name, path in told.items() if name not in declared} == {}


def test_labels_too_many_too_few_or_strange_stop_nothing(telemetry):
    telemetry.count("events", 1, "v", stage="label", colour="red")
    telemetry.count("labelled_pairs", -1, "v", matcher="rootsift")  # a counter never falls
    telemetry.count("labelled_pairs", 1, "v", matcher='a"b\\c\nd')
    found = samples(telemetry)
    assert found['gim_messages_total{outcome="none",stage="label"}'] == 1
    assert found['gim_labelled_pairs_total{matcher="rootsift"}'] == 0
    assert found['gim_labelled_pairs_total{matcher="a\\"b\\\\c\\nd"}'] == 1


def test_label_sets_are_bounded_and_nothing_is_lost(telemetry):
    for number in range(3 * MAX_LABEL_SETS):
        telemetry.count("videos", 1, "v", outcome="failed", reason=f"reason-{number}")
    found = {name: value for name, value in samples(telemetry).items() if name.startswith("gim_videos_total{")}
    assert len(found) <= MAX_LABEL_SETS + 1
    assert sum(found.values()) == 3 * MAX_LABEL_SETS
    assert found['gim_videos_total{outcome="other",reason="other"}'] > 0


def test_levels_that_are_said_all_at_once_leave_no_old_series(telemetry):
    telemetry.set_levels("zeb_rank", [({"method": "xfeat", "run_id": run}, 1.5) for run in ("a", "b")])
    telemetry.set_levels("zeb_rank", [({"method": "xfeat", "run_id": run}, 2) for run in ("b", "c")])
    assert {name: value for name, value in samples(telemetry).items() if name.startswith("gim_zeb_rank")} == {
        'gim_zeb_rank{method="xfeat",run_id="b"}': 2,
        'gim_zeb_rank{method="xfeat",run_id="c"}': 2,
    }
    telemetry.set_levels("zeb_rank", [])
    assert not [name for name in samples(telemetry) if name.startswith("gim_zeb_rank")]


def test_levels_said_all_at_once_are_as_many_as_their_teller_wants(telemetry):
    levels = [({"method": "xfeat", "run_id": str(number)}, number) for number in range(2 * MAX_LABEL_SETS)]
    for _ in range(2):
        telemetry.set_levels("zeb_rank", levels)
    found = {name: value for name, value in samples(telemetry).items() if name.startswith("gim_zeb_rank")}
    assert sorted(found.values()) == list(range(2 * MAX_LABEL_SETS))
    telemetry.set_levels("no_such_levels", levels)
    assert samples(telemetry)['gim_undeclared_total{name="no_such_levels"}'] == len(levels)


def test_the_first_bug_is_a_step_up_from_zero(telemetry):
    name = 'gim_dead_letters_total{error="bug",stage="label"}'
    assert samples(telemetry)[name] == 0
    telemetry.count("dead_letters", 1, "v", stage="label", error="ZeroDivisionError")
    telemetry.count("dead_letters", 1, "v", stage="label", error=CorruptObject.__name__)
    found = samples(telemetry)
    assert found[name] == 1
    assert found['gim_dead_letters_total{error="CorruptObject",stage="label"}'] == 1


def test_outcomes_of_messages_are_told_whole(telemetry):
    begun = Begun("propagate", "propagate", "gim.labels.v1", "v", 3, "v")
    tell_outcome(telemetry, Outcome(begun, "done", 2.0, "v", {"gim.pairs.v1": 1}))
    dead = DeadLetter("v", "propagate", "InvalidInput", "no", "gim.labels.v1", "v", 4, 1, reason="licence")
    tell_outcome(telemetry, Outcome(begun, "dead", 0.1, "v", dead=dead))
    found = samples(telemetry)
    assert found['gim_stage_seconds_sum{outcome="done",stage="propagate"}'] == 2
    assert found['gim_bus_messages_total{direction="in",topic="gim.labels.v1"}'] == 2
    assert found['gim_bus_messages_total{direction="out",topic="gim.pairs.v1"}'] == 1
    assert found['gim_videos_total{outcome="failed",reason="licence"}'] == 1


def test_age_of_the_message_in_hand_is_asked_at_each_reading():
    ages = iter([1.5, 2.5])
    telemetry = PrometheusTelemetry("matcher", in_hand_seconds=lambda: next(ages))
    assert [samples(telemetry)["gim_in_hand_seconds"] for _ in range(2)] == [1.5, 2.5]


def test_two_in_one_process_share_nothing(telemetry):
    other = PrometheusTelemetry("matcher")
    other.count("pairs_kept", 5, "v")
    assert samples(telemetry)["gim_training_pairs_total"] == 0


def test_counts_of_many_threads_add_up(telemetry):
    def work():
        for number in range(500):
            telemetry.count("labelled_pairs", 1, "v", matcher=f"m{number % 7}")
            telemetry.observe("store_seconds", 0.01, operation="get")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = samples(telemetry)
    assert sum(value for name, value in found.items() if name.startswith("gim_labelled_pairs_total{")) == 4000
    assert found['gim_store_seconds_count{operation="get"}'] == 4000


def test_the_format_is_what_the_reader_accepts(telemetry):
    text, plain = telemetry.exposition()
    body, openmetrics = telemetry.exposition("application/openmetrics-text; version=1.0.0,text/plain;q=0.5")
    assert plain.startswith("text/plain; version=0.0.4")
    assert openmetrics.startswith("application/openmetrics-text")
    assert b"_created" not in text
    assert {family.name for family in parse_openmetrics(body.decode())} >= {"gim_messages", "gim_device_memory_bytes"}


class _Cuda:
    """As torch.cuda, with two devices."""

    def __init__(self, initialized):
        self.is_initialized = lambda: initialized
        self.device_count = lambda: 2
        self.memory_allocated = lambda device: 100 + device
        self.memory_reserved = lambda device: 200 + device
        self.max_memory_allocated = lambda device: 300 + device
        self.get_device_properties = lambda device: SimpleNamespace(total_memory=1000)


@pytest.mark.parametrize(
    ("initialized", "expected"),
    [
        (True, {"allocated": 201, "reserved": 401, "peak": 601, "total": 2000}),
        (False, dict.fromkeys(("allocated", "reserved", "peak", "total"), 0)),
    ],
)
def test_device_memory_is_summed_over_devices_once_one_is_in_use(telemetry, monkeypatch, initialized, expected):
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=_Cuda(initialized)))
    found = samples(telemetry)
    assert {kind: found[f'gim_device_memory_bytes{{kind="{kind}"}}'] for kind in expected} == expected


def test_device_memory_does_not_load_torch(telemetry, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert samples(telemetry)['gim_device_memory_bytes{kind="allocated"}'] == 0
    assert "torch" not in sys.modules


def test_the_page_shows_the_table():
    page = (ROOT / "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `(gim_\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
    assert [tuple(row) for row in rows] == [
        (metric.name, metric.kind, ", ".join(f"`{label}`" for label in metric.labels) or "-", metric.help)
        for metric in METRICS
    ]


def test_the_other_telemetries_take_distributions_and_levels(tmp_path):
    NullTelemetry().observe("rpc_seconds", 0.1, method="Match")
    NullTelemetry().set_level("bus_lag", 1, topic="t", group="g")
    journal = JournalTelemetry(tmp_path / "j.jsonl", flush_seconds=60)
    journal.observe("correspondences_per_pair", 100, "v", matcher="m")
    journal.observe("correspondences_per_pair", 50, "v", matcher="m")
    journal.set_level("bus_lag", 1, topic="t", group="g")
    for other in (NullTelemetry(), journal):
        other.set_levels("zeb_rank", [({"method": "m", "run_id": "r"}, 1)])
    journal.close()
    counters = RunWatch(tmp_path).snapshot().videos["v"].counters
    assert counters["correspondences_per_pair_sum{matcher=m}"] == 150
    assert counters["correspondences_per_pair_count{matcher=m}"] == 2
