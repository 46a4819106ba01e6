"""Prometheus, of development and of the cluster: its files are right, its rules fire when they must, it asks."""

import json
import shutil
import subprocess
import time
import urllib.request
from urllib.parse import quote

import pytest
import yaml

from infra.monitoring import ALERTMANAGER_CONFIG, CONFIG, RULES, Alertmanager, Prometheus, program
from infra.state import TOOLS
from tests.servers import needs_tool


@pytest.fixture(autouse=True)
def tool():
    needs_tool("prometheus")


TESTS = RULES.parent / "rules_test"
CLUSTER = RULES.parent / "prometheus.yml"


def check(*command, folder=CONFIG):
    return subprocess.run(
        [str(program(TOOLS, command[0])), *map(str, command[1:])],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("config", [CONFIG / "prometheus.yml", CLUSTER], ids=["development", "cluster"])
def test_configuration_is_accepted_with_its_rules(config, tmp_path):
    shutil.copyfile(config, tmp_path / "prometheus.yml")
    shutil.copytree(RULES, tmp_path / "rules")
    done = check("promtool", "check", "config", "prometheus.yml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for path in RULES.glob("*.yml"):
        assert path.name in done.stdout


def test_alertmanagers_configuration_is_accepted():
    done = check("amtool", "check-config", ALERTMANAGER_CONFIG)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("tests", sorted(TESTS.glob("*.yml")), ids=lambda path: path.stem)
def test_every_rule_fires_and_is_silent_as_its_test_says(tests):
    done = check("promtool", "test", "rules", tests)
    assert done.returncode == 0, done.stdout + done.stderr


# Of every alert something that, done wrong, would let it sleep, or wake people for nothing.
@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("services", 'up{job="gim"} == 0', 'up{job="gym"} == 0'),
        ("services", ', service!="trainer"}[1h]) > 3', "}[1h]) > 3"),
        ("services", 'outcome="error"', 'outcome="failed"'),
        ("services", 'up{job="minio"} == 0', 'up{job="gim"} == 0'),
        ("services", "< 0.15", "< 0.25"),
        ("services", "drive_offline_total) > 0", "drive_offline_total) > 1"),
        ("presence", 'or absent(up{job="gim", service="matcher"})', ""),
        ("pipeline", "> 200", "> 200000"),
        ("pipeline", "[15m])) > 0\n          and max by", "[15m])) < 0\n          and max by"),
        ("pipeline", "or vector(0)", "or vector(1)"),
        ("pipeline", 'gim_in_hand_seconds{service="matcher"} > 1800', 'gim_in_hand_seconds{service="matcher"} > 3600'),
        ("pipeline", "unless on() max(", "unless max("),
        ("pipeline", "> 0.5\n", "> 0.8\n"),
        ("pipeline", 'failed"}[6h])) > 3', 'failed"}[6h])) > 0'),
        ("pipeline", "increase(gim_dead_letters_total", "increase(gim_dead_letter_total"),
        ("training", "or abs(gim_training_value", "or (gim_training_value"),
        ("training", "[30m])) > 5", "[30m])) > 0"),
        ("training", "gim_training_step offset 2h", "gim_training_step offset 4h"),
        ("training", 'curve="data_wait_share"}) > 0.5', 'curve="loss"}) > 0.5'),
        ("training", "(gim_zeb_step offset 1d)", "(gim_zeb_step offset 2d)"),
        ("recording", "24 * sum", "sum"),
        ("recording", "max by (topic, group)", "sum by (topic, group)"),
    ],
)
def test_a_mistaken_rule_is_caught(file, right, wrong, tmp_path):
    shutil.copytree(RULES, tmp_path / "rules")
    shutil.copytree(TESTS, tmp_path / "rules_test")
    rules = tmp_path / "rules" / f"{file}.yml"
    text = rules.read_text()
    assert right in text
    rules.write_text(text.replace(right, wrong))
    tests = "services" if file == "presence" else file
    assert check("promtool", "test", "rules", tmp_path / "rules_test" / f"{tests}.yml").returncode != 0


def test_mistakes_are_tried_of_every_file_of_rules():
    (mark,) = test_a_mistaken_rule_is_caught.pytestmark
    tried = {file for file, _, _ in mark.args[1]}
    by_hand = {path.stem for path in RULES.glob("*.yml")} - {"published"}
    assert tried == by_hand
    assert all(yaml.safe_load((RULES / f"{name}.yml").read_text())["groups"] for name in by_hand)


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
