"""Every metric that a query may name, with its labels: ours, what our rules record, MinIO's, and everybody's."""

from dataclasses import dataclass, field

import yaml

from gim.adapters.metric_table import METRICS
from infra.monitoring import RULES
from tests.unit.dashboards import promql

TARGET = frozenset({"job", "instance", "service"})  # what a scrape adds
# Labels whose values the table has all of.
_CLOSED = ("stage", "outcome", "operation", "direction", "step", "kind", "state", "threshold_deg")
# Of /minio/v2/metrics/cluster, as docs/metrics/prometheus/list.md of MinIO has them.
_MINIO = {
    "minio_cluster_capacity_usable_free_bytes": (),
    "minio_cluster_capacity_usable_total_bytes": (),
    "minio_cluster_drive_offline_total": (),
    "minio_s3_requests_total": ("api",),
    "minio_s3_requests_4xx_errors_total": ("api",),
    "minio_s3_requests_5xx_errors_total": ("api",),
    "minio_s3_requests_inflight_total": ("api",),
    "minio_s3_requests_waiting_total": (),
    "minio_s3_traffic_received_bytes": (),
    "minio_s3_traffic_sent_bytes": (),
}
_OTHERS = {
    "up": (),
    "process_start_time_seconds": (),
    "process_cpu_seconds_total": (),
    "process_resident_memory_bytes": (),
    "ALERTS": ("alertname", "alertstate", "severity"),
}


@dataclass(frozen=True)
class Known:
    """What is known of a metric."""

    labels: frozenset[str]
    values: dict[str, frozenset[str]] = field(default_factory=dict)  # of labels that have no others


def rule_files():
    return sorted(RULES.glob("*.yml"))


def rules():
    """All rules, as Prometheus reads them."""
    return [
        rule for path in rule_files() for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]
    ]


def known_metrics():
    """Metric -> what is known of it."""
    known = {}
    for metric in METRICS:
        values = {name: frozenset(metric.labels[name]) for name in _CLOSED if metric.labels.get(name)}
        labels = TARGET | set(metric.labels)
        if metric.kind == "histogram":
            known[f"{metric.name}_bucket"] = Known(labels | {"le"}, values)
            known[f"{metric.name}_sum"] = known[f"{metric.name}_count"] = Known(labels, values)
        else:
            known[metric.name] = Known(labels, values)
    for name, labels in {**_MINIO, **_OTHERS}.items():
        known[name] = Known(TARGET | set(labels))
    recorded = {}
    for rule in rules():
        if "record" in rule:
            labels = (promql.read(rule["expr"]).kept or set()) | set(rule.get("labels", {}))
            recorded[rule["record"]] = Known(frozenset(labels))
    return known | recorded


KNOWN = known_metrics()


def mistakes(query, *, legend=()):
    """What a query, and the labels of its legend, name that is not there; in words."""
    named = promql.read(query)
    found = [f"there is no metric {metric}" for metric in sorted(named.metrics - set(KNOWN))]
    if found:
        return found
    there = named.made.union(*(KNOWN[metric].labels for metric in named.metrics))
    found += [f"grouped by {label}, which none of its metrics has" for label in sorted(named.grouped - there)]
    left = there if named.kept is None else named.kept | named.made
    found += [f"the legend names {label}, which is not left" for label in legend if label not in left]
    for metric, labels in named.selectors:
        for label, (sign, value) in labels.items():
            if label not in KNOWN[metric].labels:
                found.append(f"{metric} has no label {label}")
            elif sign in ("=", "!=") or value.replace("|", "").replace("_", "").isalnum():
                wanted = set(value.split("|")) if "~" in sign else {value}
                wrong = wanted - KNOWN[metric].values.get(label, wanted)
                found += [f"{label} of {metric} is never {each}" for each in sorted(wrong)]
    return found
