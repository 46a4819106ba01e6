"""Scores that the paper prints on HPatches, MegaDepth-1500 and ScanNet-1500. The table: `published_two_view.toml`."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_TABLE = "published_two_view.toml"


@dataclass(frozen=True, slots=True)
class PublishedAuc:
    """A row of a published table."""

    method: str
    auc: dict[str, float]  # threshold -> percent, as printed


@dataclass(frozen=True, slots=True)
class PublishedBenchmark:
    """What is published of a benchmark."""

    source: str
    protocol: str  # name of ours that the rows are comparable to
    note: str  # how far
    methods: list[PublishedAuc]


@cache
def published_two_view() -> dict[str, PublishedBenchmark]:
    """What is shipped, by benchmark."""
    table = tomllib.loads((files(__package__) / _TABLE).read_text(encoding="utf-8"))
    source = table.pop("source")
    return {name: _benchmark(source, found) for name, found in table.items()}


def _benchmark(source: str, found: dict[str, object]) -> PublishedBenchmark:
    thresholds, rows = found["thresholds"], found["method"]
    assert isinstance(thresholds, list)
    assert isinstance(rows, list)
    methods = [PublishedAuc(row["name"], dict(zip(thresholds, row["auc"], strict=True))) for row in rows]
    return PublishedBenchmark(source, str(found["protocol"]), str(found["note"]), methods)
