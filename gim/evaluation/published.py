"""Scores that others have published on ZEB, with their sources and errata. The table is `published.toml`."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_TABLE = "published.toml"


@dataclass(frozen=True, slots=True)
class PublishedScore:
    """A row of a published table: AUC@5 degrees in percent, as printed but for the errata."""

    method: str
    source: str
    mean: float
    rank: float | None  # mean rank over the ten methods of the paper, for those
    datasets: dict[str, float]


@dataclass(frozen=True, slots=True)
class Erratum:
    """A printed number that cannot be right."""

    method: str
    what: str  # a dataset, or `rank`
    printed: float
    used: float
    why: str


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """All rows and errata."""

    scores: list[PublishedScore]
    errata: list[Erratum]


@cache
def published_table() -> PublishedTable:
    """The table that is shipped."""
    table = tomllib.loads((files(__package__) / _TABLE).read_text(encoding="utf-8"))
    scores = [
        PublishedScore(
            row["name"],
            table["sources"][row["source"]],
            row["mean"],
            row.get("rank"),
            dict(zip(table["datasets"], row["auc"], strict=True)),
        )
        for row in table["method"]
    ]
    errata = [
        Erratum(row["method"], row.get("dataset", row.get("quantity", "")), row["printed"], row["used"], row["why"])
        for row in table["erratum"]
    ]
    return PublishedTable(scores, errata)
