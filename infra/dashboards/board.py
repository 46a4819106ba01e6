"""What a dashboard says: rows of panels, each with its queries. Knows no Grafana; `rendering.py` does."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["lines", "stack", "number", "bars", "matrix"]


@dataclass(frozen=True, slots=True)
class Query:
    """A question to Prometheus."""

    expr: str  # PromQL, with Grafana's $__rate_interval and $__range, and the board's own variables
    legend: str  # of a series; {{label}} stands for the label's value


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture of some queries."""

    title: str
    unit: str  # one that Grafana knows: grafana_foundation_sdk.models.units
    description: str  # one sentence
    queries: tuple[Query, ...]
    kind: Kind  # over time as lines or stacked; or now, as numbers, bars, or a table of two labels
    width: int  # the grid has 24 columns
    height: int
    colours: tuple[tuple[float, str], ...] = ()  # from a value on; none: by series
    top: float | None = None  # of the axis; none: as the values are
    labels: tuple[str, str] | None = None  # of a matrix: those of its rows and of its columns


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """What a person chooses at the top of a board."""

    name: str
    label: str
    metric: str  # whose values of the label of the same name can be chosen
    is_single: bool = False  # one of them, and not any number


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard."""

    name: str  # of its file; the uid is `gim-<name>`
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()
    period: str = "6h"  # that is shown at first


def lines(title: str, unit: str, description: str, *queries: Query, width: int = 8, top: float | None = None) -> Panel:
    """Series over time, side by side."""
    return Panel(title, unit, description, queries, "lines", width, 8, top=top)


def stack(title: str, unit: str, description: str, *queries: Query, width: int = 8) -> Panel:
    """Series over time that add up to a whole."""
    return Panel(title, unit, description, queries, "stack", width, 8)


def number(
    title: str,
    unit: str,
    description: str,
    query: Query,
    *,
    colours: tuple[tuple[float, str], ...] = (),
    width: int = 4,
) -> Panel:
    """What is so now, one number for each series."""
    return Panel(title, unit, description, (query,), "number", width, 4, colours=colours)


def bars(title: str, unit: str, description: str, *queries: Query, width: int = 8, height: int = 9) -> Panel:
    """What is so now, or came over the time shown, as bars beside their names."""
    return Panel(title, unit, description, queries, "bars", width, height)


def matrix(title: str, unit: str, description: str, query: Query, *, labels: tuple[str, str], width: int = 24) -> Panel:
    """What is so now, as a table: a row for each value of one label, a column for each of another."""
    return Panel(title, unit, description, (query,), "matrix", width, 14, labels=labels)
