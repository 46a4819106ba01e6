"""The development Prometheus: its files are right, its rules fire when they must, and it asks who is there."""

import json
import subprocess
import time
import urllib.request
from urllib.parse import quote

import pytest

from infra.monitoring import CONFIG, Alertmanager, Prometheus, program
from infra.state import TOOLS
from tests.servers import needs_tool


@pytest.fixture(autouse=True)
def tool():
    needs_tool("prometheus")


def check(*command):
    return subprocess.run(
        [str(program(TOOLS, command[0])), *map(str, command[1:])],
        cwd=CONFIG,
        capture_output=True,
        text=True,
        check=False,
    )


def test_configuration_is_accepted():
    done = check("promtool", "check", "config", "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    done = check("amtool", "check-config", "alertmanager.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_fires_and_is_silent_as_its_test_says():
    rules = [line.split()[-1] for line in (CONFIG / "rules.yml").read_text().splitlines() if "- alert:" in line]
    tested = (CONFIG / "rules_test.yml").read_text()
    assert {"LabelLagGrows", "DeadLetters", "ServiceDown", "StoreUnavailable", "LabellingStalled"} <= set(rules)
    assert [rule for rule in rules if f"alertname: {rule}\n        exp_alerts" not in tested] == []
    done = check("promtool", "test", "rules", "rules_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('up{job="gim"} == 0', 'up{job="gym"} == 0'),
        ("> 200", "> 200000"),
        ("[15m])) > 0\n          and max by", "[15m])) < 0\n          and max by"),
        ("or vector(0)", "or vector(1)"),
        ('outcome="error"', 'outcome="failed"'),
        ("increase(gim_dead_letters_total", "increase(gim_dead_letter_total"),
    ],
)
def test_a_mistaken_rule_is_caught(right, wrong, tmp_path):
    rules = (CONFIG / "rules.yml").read_text()
    assert right in rules
    (tmp_path / "rules.yml").write_text(rules.replace(right, wrong))
    (tmp_path / "rules_test.yml").write_text((CONFIG / "rules_test.yml").read_text())
    assert check("promtool", "test", "rules", tmp_path / "rules_test.yml").returncode != 0


def test_metrics_that_rules_name_are_metrics_that_there_are():
    import re

    from gim.adapters.metric_table import METRICS

    named = set(re.findall(r"\bgim_\w+", (CONFIG / "rules.yml").read_text()))
    assert named <= {metric.name for metric in METRICS}


def test_an_alert_reaches_alertmanager_when_a_service_is_away(tmp_path, own_minio):
    run = own_minio.folder.parent
    (run / "minio" / "state.json").write_text(json.dumps(own_minio.state()))
    with Alertmanager(run / "alertmanager", ports={"http": 0}).bring_up() as alertmanager:
        (run / "alertmanager" / "state.json").write_text(json.dumps(alertmanager.state()))
        services = {"downloader": own_minio.ports["s3"]}  # there, but it has no /metrics
        with Prometheus(run / "prometheus", ports={"http": 0}, services=services).bring_up() as prometheus:
            up = wait_for(lambda: query(prometheus, "up"), lambda series: len(series) == 3)
            assert {labels["job"]: value for labels, value in up} == {"gim": "0", "minio": "1", "prometheus": "1"}
            assert query(prometheus, "minio_cluster_drive_total")
            # Pending only: that it waits for a minute is tested with promtool's own clock.
            pending = 'ALERTS{alertname="ServiceDown", service="downloader"}'
            wait_for(lambda: query(prometheus, pending), bool)
            found = get(f"{prometheus.url}/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
            assert [manager["url"] for manager in found] == [f"{alertmanager.url}/api/v2/alerts"]


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def query(prometheus, expression):
    result = get(f"{prometheus.url}/api/v1/query?query={quote(expression)}")["data"]["result"]
    return [(series["metric"], series["value"][1]) for series in result]


def wait_for(ask, is_enough):
    until = time.monotonic() + 120
    while not is_enough(answer := ask()):
        assert time.monotonic() < until, answer
        time.sleep(0.1)
    return answer
