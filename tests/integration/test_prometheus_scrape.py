"""A real Prometheus scrapes a service's metrics: each of them answers a query, and so does every query we publish."""

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import closing, contextmanager

import pytest

from gim.adapters.metric_table import METRICS
from gim.adapters.telemetry_prometheus import PrometheusTelemetry
from gim.runtime.http_status import Status, StatusServer
from infra.state import TOOLS
from tests.architecture.tree import ROOT
from tests.requirements import lacks

PATIENCE_SECONDS = 120
CONFIG = """
global: {{scrape_interval: 250ms, scrape_timeout: 250ms}}
scrape_configs:
  - job_name: matcher
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def prometheus_program():
    """Where `make servers-up` puts it, or the system's own."""
    for path in (TOOLS / "prometheus/usr/bin/prometheus", TOOLS / "deb/usr/bin/prometheus"):
        if path.exists():
            return str(path)
    found = shutil.which("prometheus")
    if found is None:
        lacks("servers", "there is no Prometheus: make servers-up")
    return found


class Prometheus:
    """One that listens on a port of its own."""

    def __init__(self, url, process):
        self.url = url
        self._process = process

    def query(self, text):
        """The series that answer an instant query.

        Raises AssertionError where Prometheus does not understand it.
        """
        address = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': text})}"
        try:
            with urllib.request.urlopen(address, timeout=PATIENCE_SECONDS) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 503:  # it is starting
                    raise
                raise AssertionError(f"{text}: {error.read().decode()}") from None

    def wait_for(self, text):
        """The series of a query, once there are some."""
        return self.wait_until(lambda: self.query(text), text)

    def wait_until(self, question, what):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if answer := question():
                    return answer
            except urllib.error.URLError:
                pass  # it is starting
            assert self._process.poll() is None, "Prometheus has ended"
            assert time.monotonic() < deadline, f"no answer: {what}"
            time.sleep(0.1)


@contextmanager
def prometheus_of(port, folder):
    config, log = folder / "prometheus.yml", folder / "log"
    config.write_text(CONFIG.format(port=port))
    command = [
        prometheus_program(),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
    ]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := re.search(r"Listening on.*address=(127\.0\.0\.1:\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield Prometheus(f"http://{found[1]}", process)
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory):
    """A telemetry, and the Prometheus that reads it over HTTP."""
    known = {"matcher": ["rootsift"], "topic": ["t"], "group": ["g"], "benchmark": ["zeb"]}
    known |= {"dataset": ["kitti"], "method": ["rootsift"], "run_id": ["run-1"]}
    telemetry = PrometheusTelemetry("matcher", known=known)
    telemetry.count("no_such_name", 1, "v")
    with closing(StatusServer(Status(), "127.0.0.1", 0, metrics=telemetry.exposition)) as server:
        with prometheus_of(server.port, tmp_path_factory.mktemp("prometheus")) as prometheus:
            prometheus.wait_for('up{job="matcher"} == 1')
            prometheus.wait_for("gim_build_info")
            yield telemetry, prometheus


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_declared_metric_answers_a_query(scraped, metric):
    _, prometheus = scraped
    names = [f"{metric.name}_{part}" for part in ("bucket", "sum", "count")]
    for name in names if metric.kind == "histogram" else [metric.name]:
        series = prometheus.query(name)
        assert series, f"{name} has no series from the start"
        assert set(metric.labels) <= set(series[0]["metric"])


def test_a_process_says_how_it_fares(scraped):
    _, prometheus = scraped
    assert float(prometheus.wait_for("process_resident_memory_bytes")[0]["value"][1]) > 1e6


def test_every_published_query_is_understood_and_answered(scraped):
    telemetry, prometheus = scraped
    page = (ROOT / "docs/metrics.md").read_text()
    (block,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    for line in block.splitlines():
        query = re.split(r"\s{2,}", line, maxsplit=1)[1]

        def answer(query=query):
            telemetry.count("pairs", 1, "v", matcher="rootsift", outcome="labelled")
            telemetry.observe("correspondences_per_pair", 500, "v", matcher="rootsift")
            telemetry.observe("propagated_interval_seconds", 2, "v")
            telemetry.observe("evaluated_pair_seconds", 2, "v", matcher="rootsift", step="matching")
            for curve in ("data_wait_share", "validation/loss"):
                telemetry.set_level("training_value", 0.5, run_id="run-1", curve=curve)
            return prometheus.query(query)

        assert prometheus.wait_until(answer, query)


def test_a_count_becomes_a_rate(scraped):
    telemetry, prometheus = scraped

    def rate():
        telemetry.count("labelled_pairs", 100, "v", matcher="rootsift")
        found = prometheus.query('rate(gim_labelled_pairs_total{matcher="rootsift"}[1m])')
        return found if found and float(found[0]["value"][1]) > 0 else []

    assert prometheus.wait_until(rate, "labelled pairs per second")


def test_the_first_dead_letter_is_an_increase(scraped):
    telemetry, prometheus = scraped
    telemetry.count("dead_letters", 1, "v", stage="label", error="ZeroDivisionError")
    query = 'increase(gim_dead_letters_total{stage="label",error="bug"}[5m]) > 0'
    assert prometheus.wait_for(query)
