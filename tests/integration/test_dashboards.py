"""A real Prometheus with the real rules answers every query of every dashboard, with the labels that legends name."""

import json
import threading
import time
import urllib.request
from contextlib import closing, contextmanager
from itertools import product
from urllib.parse import quote

import pytest

import infra.minio
from gim.adapters.metric_table import METRICS
from gim.adapters.s3.config import S3Config
from gim.adapters.s3.store import MinioStore
from gim.adapters.telemetry_prometheus import PrometheusTelemetry
from gim.runtime.http_status import Status, StatusServer
from infra.monitoring import LOCAL_SERVICES, Prometheus
from tests.servers import needs_tool
from tests.unit.dashboards.panels import panel_queries

PATIENCE_SECONDS = 120
# Of labels without known values; a dataset of ZEB, so that there is something to compare with.
_VALUES = {
    "matcher": ["rootsift"], "topic": ["gim.segments.v1"], "group": ["label-rootsift"], "benchmark": ["kitti"],
    "dataset": ["kitti"], "method": ["rootsift"], "run_id": ["run-1"], "reason": ["damaged"],
    "curve": ["loss", "validation/loss", "video/matches", "auc/kitti/5", "lr", "gradient_norm", "data_wait_share",
              "bad_steps"],
}  # fmt: skip
_BY_ITSELF = {"gim_device_memory_bytes", "gim_in_hand_seconds", "gim_build_info", "gim_undeclared_total"}


def tell(telemetry):
    """A little of everything."""
    for metric in METRICS:
        if metric.name in _BY_ITSELF:
            continue
        values = [_VALUES.get(label) or known for label, known in metric.labels.items()]
        for chosen in product(*values):
            labels = dict(zip(metric.labels, chosen, strict=True))
            if metric.kind == "counter":
                telemetry.count(metric.port_name, 1, "v", **labels)
            elif metric.kind == "gauge":
                telemetry.set_level(metric.port_name, 1, **labels)
            else:
                telemetry.observe(metric.port_name, 1, "v", **labels)


@contextmanager
def telling(telemetry):
    """Something happens every half second."""
    is_over = threading.Event()

    def run():
        while not is_over.wait(0.5):
            tell(telemetry)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """One that has asked all services, which are one process here, and a MinIO of its own."""
    needs_tool("prometheus")
    needs_tool("minio")
    run = tmp_path_factory.mktemp("run")
    telemetry = PrometheusTelemetry("matcher", known={"matcher": _VALUES["matcher"]})
    with infra.minio.start(run / "minio") as minio, telling(telemetry):
        state = minio.state()
        (run / "minio" / "state.json").write_text(json.dumps(state))
        config = S3Config(**{name: state[name] for name in ("endpoint", "region", "access_key", "secret_key")})
        with closing(MinioStore(config, "films", create=True)) as store:
            store.put("videos/a", b"a")
        with closing(StatusServer(Status(), "127.0.0.1", 0, metrics=telemetry.exposition)) as server:
            services = dict.fromkeys(LOCAL_SERVICES, server.port)
            with Prometheus(run / "prometheus", ports={"http": 0}, services=services).bring_up() as running:
                yield running


def ask(prometheus, query):
    """The series of an instant query; a query that is not understood is an HTTP error."""
    with urllib.request.urlopen(f"{prometheus.url}/api/v1/query?query={quote(query)}", timeout=30) as answer:
        return json.load(answer)["data"]["result"]


@pytest.mark.parametrize("panel", panel_queries(), ids=lambda query: f"{query.board}: {query.panel}")
def test_every_query_is_answered_with_what_its_legend_names(prometheus, panel):
    query = panel.filled(method="RootSIFT")
    until = time.monotonic() + PATIENCE_SECONDS
    while not (series := ask(prometheus, query)):
        assert time.monotonic() < until, f"no data: {query}"
        time.sleep(0.2)
    assert [each["metric"] for each in series if not set(panel.legend_labels) <= set(each["metric"])] == []


def test_the_choices_of_every_dashboard_have_values(prometheus):
    for metric, label in (
        ("gim_labelled_pairs_total", "matcher"),
        ("gim_training_step", "run_id"),
        ("gim_zeb_auc", "dataset"),
        ("gim:published_auc5:percent", "method"),
    ):
        assert {each["metric"][label] for each in ask(prometheus, f"group by ({label}) ({metric})")} != set()
