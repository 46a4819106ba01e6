"""The Telemetry port as Prometheus metrics: those of `metric_table`, of the process, and of the GPU.

What is told of a video is not kept by video: labels are few, and the number of label sets of a metric has a limit.
"""

import platform
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from itertools import product
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from gim.adapters.metric_table import METRICS, UNCOUNTED, Metric
from gim.errors import GimError

MAX_LABEL_SETS = 200  # of a metric; what comes later is counted under `other`
_NONE = "none"  # in place of an empty value, which to Prometheus is no label
_UNDECLARED = "undeclared"
_DEVICE_MEMORY = "gim_device_memory_bytes"
_KINDS = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}


class PrometheusTelemetry:
    """The metrics of one process, in a registry of its own. Safe to call from any thread; never raises at work."""

    def __init__(
        self,
        service: str,
        *,
        in_hand_seconds: Callable[[], float] = lambda: 0.0,
        known: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        """Declare every metric; label sets whose values are all known are there from now on, at 0.

        Args:
            service: what runs here: `downloader`, `matcher`, ...
            in_hand_seconds: the age of the message in hand, asked whenever metrics are read.
            known: label -> the values that this process will tell, in place of those in the table: for instance
                `{"matcher": ["rootsift"], "stage": ["label"]}`.
        """
        self.registry = CollectorRegistry()
        self._series: dict[str, tuple[_Series, Mapping[str, str]]] = {}  # name in the port -> where, and fixed labels
        for metric in METRICS:
            if metric.name == _DEVICE_MEMORY:
                continue
            series = _Series(metric, self.registry, known or {})
            for name, fixed in {metric.port_name: {}, **metric.told}.items():
                self._series[name] = (series, fixed)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.registry.register(_DeviceMemory())
        about = {"service": service, "version": version("gim-pipeline"), "python": platform.python_version()}
        self._series["in_hand_seconds"][0].child({}).set_function(in_hand_seconds)
        self.set_level("build_info", 1, **about)

    @contextmanager
    def step(self, name: str, video_id: str) -> Iterator[None]:
        """Time a step, also when it fails."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add_seconds(name, video_id, time.perf_counter() - started)

    def add_seconds(self, name: str, video_id: str, seconds: float) -> None:  # noqa: ARG002 - not by video
        self._add("step_seconds", seconds, {"step": name})

    def count(self, name: str, value: float, video_id: str, **labels: str) -> None:  # noqa: ARG002 - not by video
        self._add(name, value, labels)

    def observe(self, name: str, value: float, video_id: str = "", **labels: str) -> None:  # noqa: ARG002 - not by video
        self._add(name, value, labels)

    def set_level(self, name: str, value: float, **labels: str) -> None:
        self._add(name, value, labels)

    def set_levels(self, name: str, levels: Sequence[tuple[Mapping[str, str], float]]) -> None:
        found = self._series.get(name)
        if found is None:
            self._add(name, len(levels), {})
        else:
            found[0].replace(levels)

    def progress(self, video_id: str, phase: str, done: float, total: float) -> None:
        """Progress is of a video: not kept."""

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics now, and their content type: the newest format that an Accept header names."""
        encode, content_type = choose_encoder(accept)
        return encode(_Exposed(self.registry)), content_type

    def _add(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        if name in UNCOUNTED:
            return
        found = self._series.get(name)
        if found is None:  # a misspelt name must not stop the work, and must not go unseen
            found, labels = self._series[_UNDECLARED], {"name": name}
        series, fixed = found
        series.add(value, {**labels, **fixed})


class _Series:
    """One metric with its label sets."""

    def __init__(self, metric: Metric, registry: CollectorRegistry, known: Mapping[str, Iterable[str]]) -> None:
        self._kind = metric.kind
        self._names = tuple(metric.labels)
        options = {"buckets": metric.buckets} if metric.buckets else {}
        self._metric = _KINDS[metric.kind](metric.name, metric.help, self._names, registry=registry, **options)
        self._guard = threading.Lock()
        self._seen: set[tuple[str, ...]] = set()
        for values in product(*(tuple(known.get(name, metric.labels[name])) for name in self._names)):
            self.child(dict(zip(self._names, values, strict=True)))

    def add(self, value: float, labels: Mapping[str, str]) -> None:
        child = self.child(labels)
        if self._kind == "histogram":
            child.observe(value)
        elif self._kind == "gauge":
            child.set(value)
        elif value > 0:  # a counter refuses to fall
            child.inc(value)

    def replace(self, levels: Sequence[tuple[Mapping[str, str], float]]) -> None:
        """Set a gauge for these label sets, however many, and take out all others."""
        wanted = {tuple(_value(name, labels.get(name) or _NONE) for name in self._names): at for labels, at in levels}
        with self._guard:
            for values in self._seen - wanted.keys():
                self._metric.remove(*values)
            self._seen = set(wanted)
            for values, level in wanted.items():
                self._metric.labels(*values).set(level)

    def child(self, labels: Mapping[str, str]) -> Any:
        """The label set; labels that the metric does not have are dropped."""
        if not self._names:
            return self._metric
        values = tuple(_value(name, labels.get(name) or _NONE) for name in self._names)
        with self._guard:
            if values not in self._seen:
                if len(self._seen) >= MAX_LABEL_SETS:
                    values = ("other",) * len(values)
                self._seen.add(values)
        return self._metric.labels(*values)


class _DeviceMemory(Collector):
    """Asks torch where it is loaded and has a GPU in use; loads and starts nothing itself."""

    def collect(self) -> Iterator[Family]:
        (metric,) = (metric for metric in METRICS if metric.name == _DEVICE_MEMORY)
        family = GaugeMetricFamily(metric.name, metric.help, labels=list(metric.labels))
        for kind, num_bytes in _device_memory().items():
            family.add_metric([kind], num_bytes)
        yield family


class _Exposed:
    """A registry's metrics without the times at which their label sets were made, half of all lines."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Family]:
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


def _device_memory() -> dict[str, float]:
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return dict.fromkeys(("allocated", "reserved", "peak", "total"), 0.0)
    devices = range(cuda.device_count())
    return {
        "allocated": sum(cuda.memory_allocated(device) for device in devices),
        "reserved": sum(cuda.memory_reserved(device) for device in devices),
        "peak": sum(cuda.max_memory_allocated(device) for device in devices),
        "total": sum(cuda.get_device_properties(device).total_memory for device in devices),
    }


def _value(name: str, value: str) -> str:
    """A label's value; errors that are not of the project are bugs, so that their first one is a step up from 0."""
    return value if name != "error" or value in _error_names() else "bug"


def _error_names() -> set[str]:
    kinds: list[type[GimError]] = [GimError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return {kind.__name__ for kind in kinds}
