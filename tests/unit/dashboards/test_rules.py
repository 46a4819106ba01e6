"""The rules ask for what there is; every alert says what to do, and has its page and its test."""

import re

import pytest
import yaml

from gim.benchmarks.zeb import DATASETS
from gim.evaluation.published import published_table
from infra.dashboards.published import AUC, MEAN
from infra.monitoring import ALERTMANAGER_CONFIG, CONFIG, RULES
from infra.state import ROOT
from tests.unit.dashboards import promql
from tests.unit.dashboards.known import KNOWN, TARGET, mistakes, rule_files, rules

_RULES = rules()
_ALERTS = [rule for rule in _RULES if "alert" in rule]
_RECORDED = [rule for rule in _RULES if "record" in rule]
_PAGE = ROOT / "docs/alerts.md"
_TESTS = [yaml.safe_load(path.read_text()) for path in sorted((RULES.parent / "rules_test").glob("*.yml"))]
# What a person has asked to be told of.
_WANTED = {
    "ServiceDown", "TargetMissing", "LabelLagGrows", "LabellingStalled", "MessageStuck", "DownloaderPaused",
    "DeadLetters", "StoreUnavailable", "ObjectStoreNearlyFull", "TrainingLossNotFinite", "TrainingBadSteps",
    "CheckpointOverdue", "EvaluationFailures",
}  # fmt: skip


def alert_id(rule):
    return rule["alert"]


def section(alert):
    """What the page says of an alert."""
    found = re.search(rf"^## {alert}\n(.*?)(?=^## |\Z)", _PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"docs/alerts.md has no section {alert}"
    return found[1]


def test_alerts_are_there_and_told_apart():
    names = [rule["alert"] for rule in _ALERTS]
    assert set(names) >= _WANTED
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("rule", _ALERTS, ids=alert_id)
def test_alerts_name_metrics_and_labels_that_there_are(rule):
    assert mistakes(rule["expr"]) == []


def test_what_is_recorded_names_metrics_and_labels_that_there_are():
    assert [found for rule in _RECORDED for found in mistakes(rule["expr"])] == []


@pytest.mark.parametrize("rule", _ALERTS, ids=alert_id)
def test_alerts_say_what_is_so_and_what_to_do(rule):
    assert rule["labels"]["severity"] in ("page", "ticket")
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "action", "runbook_url"}
    assert annotations["runbook_url"] == f"docs/alerts.md#{rule['alert'].lower()}"
    named = promql.read(rule["expr"])
    there = TARGET.union(*(KNOWN[metric].labels for metric in named.metrics))
    there = there if named.kept is None else named.kept
    assert set(re.findall(r"\$labels\.(\w+)", annotations["summary"])) <= there


@pytest.mark.parametrize("rule", _ALERTS, ids=alert_id)
def test_alerts_have_a_section_that_says_what_why_and_what_to_do(rule):
    text = section(rule["alert"])
    for word in ("**Means.**", "**Look at.**", "**Do.**", "**Numbers.**"):
        assert word in text, f"{rule['alert']}: {word}"


def test_the_page_has_no_section_of_an_alert_that_is_gone():
    headings = set(re.findall(r"^## (\w+)$", _PAGE.read_text(), re.MULTILINE))
    assert headings == {rule["alert"] for rule in _ALERTS}


@pytest.mark.parametrize("rule", _ALERTS, ids=alert_id)
def test_alerts_are_made_to_fire_and_to_be_silent(rule):
    expected = [
        case.get("exp_alerts", [])
        for file in _TESTS
        for test in file["tests"]
        for case in test.get("alert_rule_test", [])
        if case["alertname"] == rule["alert"]
    ]
    assert any(expected), "never fires in a test"
    assert not all(expected), "is never silent in a test"


@pytest.mark.parametrize("rule", [rule for rule in _RECORDED if rule["record"] not in (AUC, MEAN)], ids=str)
def test_recording_rules_have_a_test(rule):
    asked = {
        case["expr"].partition("{")[0]
        for file in _TESTS
        for test in file["tests"]
        for case in test.get("promql_expr_test", [])
    }
    assert rule["record"] in asked


def test_what_is_recorded_is_used():
    used = "".join(path.read_text() for path in (ROOT / "k8s/platform/grafana/dashboards").glob("*.json"))
    assert [rule["record"] for rule in _RECORDED if rule["record"] not in used] == []


def test_published_scores_are_those_of_the_table():
    recorded = {
        (rule["record"], rule["labels"]["method"], rule["labels"].get("dataset")): rule["expr"]
        for rule in _RECORDED
        if rule["record"] in (AUC, MEAN)
    }
    folder = {dataset.name: dataset.folder for dataset in DATASETS}
    for score in published_table().scores:
        assert recorded.pop((MEAN, score.method, None)) == f"vector({score.mean:g})"
        for name, auc in score.datasets.items():
            assert recorded.pop((AUC, score.method, folder[name])) == f"vector({auc:g})"
    assert recorded == {}


def test_every_file_of_rules_is_used_by_the_cluster_and_by_compose():
    files = {path.name for path in rule_files()}
    generators = yaml.safe_load((RULES.parent / "kustomization.yaml").read_text())["configMapGenerator"]
    (listed,) = (generator["files"] for generator in generators if generator["name"] == "prometheus-rules")
    assert sorted(listed) == sorted(f"rules/{name}" for name in files)
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    of_source = {name: entry.get("file", "") for name, entry in compose["configs"].items()}
    mounted = {entry["target"]: of_source[entry["source"]] for entry in compose["services"]["prometheus"]["configs"]}
    for name in files:
        assert mounted[f"/etc/prometheus/rules/{name}"] == str((RULES / name).relative_to(ROOT))


def test_alertmanager_speaks_of_alerts_that_there_are():
    names = {rule["alert"] for rule in _ALERTS}
    assert set(re.findall(r'alertname!?="(\w+)"', ALERTMANAGER_CONFIG.read_text())) <= names


def test_jobs_that_rules_name_are_asked():
    named = {
        value
        for rule in _RULES
        for _, labels in promql.read(rule["expr"]).selectors
        for label, (_, value) in labels.items()
        if label == "job"
    }
    for config in (CONFIG / "prometheus.yml", RULES.parent / "prometheus.yml"):
        jobs = {job["job_name"] for job in yaml.safe_load(config.read_text())["scrape_configs"]}
        assert named <= jobs
