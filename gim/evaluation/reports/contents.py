"""What every format of a report shows: one table of the methods read and of printed rows, and notes beneath it.

Renders nothing. Scores are in percent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gim.benchmarks.zeb import DATASETS, in_order
from gim.evaluation.bootstrap import Interval
from gim.evaluation.comparison import Comparison, Difference, MethodResults, MethodScore, compare
from gim.evaluation.published import PublishedScore, PublishedTable, published_table
from gim.evaluation.reports.notes import (
    MEAN,
    NAME,
    RANK,
    Note,
    Notes,
    about_method,
    about_protocols,
    about_ranks,
    why_not_whole,
)
from gim.evaluation.scores import MAIN

_ZEB = [dataset.name for dataset in DATASETS]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: a method that was read, or one as it is printed elsewhere."""

    name: str
    is_printed: bool
    origin: str  # the version that the files state, or the source
    mean: float  # AUC@5 degrees
    is_whole: bool  # whether the mean is over all datasets and all their pairs; if not, it compares with no other
    rank: float | None  # over the methods read, or as printed
    scores: dict[str, float]  # dataset -> AUC@5 degrees, where there is one
    marks: dict[str, str]  # NAME, MEAN, RANK or a dataset -> mark of the note about it


@dataclass(frozen=True, slots=True)
class Summary:
    """What the pairs of a method say in all."""

    name: str
    version: str
    num_seeds: int
    num_datasets: int
    num_pairs: int
    num_failures: int
    auc: dict[str, float]  # threshold in degrees -> mean over datasets
    interval: dict[str, Interval]  # of the mean
    precision_before: float  # mean over datasets
    precision_after: float
    missing: list[str]  # datasets of the table that it has not


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything that a report says."""

    columns: list[str]  # datasets: all of ZEB where one of them was read
    rows: list[Row]  # those read, then those printed; best mean first, whole means before others
    summaries: list[Summary]  # of the methods read, in the order of the rows
    notes: list[Note]
    comparison: Comparison
    results: dict[str, MethodResults]  # of the methods read, in the order of the rows
    published: PublishedTable  # empty where it was not asked for

    @property
    def scores(self) -> dict[str, MethodScore]:
        """Of the methods read, in the order of the rows."""
        found = {score.method: score for score in self.comparison.methods}
        return {name: found[name] for name in self.results}

    @property
    def is_zeb(self) -> bool:
        """Whether a dataset of ZEB was read."""
        return not set(_ZEB).isdisjoint(self.columns)

    @property
    def common(self) -> list[str]:
        """The datasets that all methods read have."""
        return common_datasets(list(self.results.values()))

    def place_of(self, item: Difference) -> str:
        """What a difference is on, in words."""
        if item.dataset:
            return item.dataset
        methods = (item.method, item.other)
        common = common_datasets([self.results[name] for name in methods])
        return f"mean of {len(common)} datasets" if len(common) > 1 else f"mean, which is over {common[0]} alone"

    def differences(self, *, of_means: bool) -> list[Difference]:
        """Those of the means over the datasets that two methods both have, or those on each dataset."""
        return [item for item in self.comparison.differences if (not item.dataset) == of_means]


def make_contents(results: Sequence[MethodResults], *, with_published: bool = True) -> Contents:
    """Compare methods, and put the printed rows beside them where a dataset of ZEB was read.

    Raises:
        InvalidInput: two methods have other pairs of one dataset.
    """
    comparison = compare(results)
    of_method = {item.method: item for item in results}
    read = {dataset for item in results for dataset in item.runs}
    is_zeb = bool(read & set(_ZEB))
    expected = _ZEB if is_zeb else in_order(read)
    columns = in_order(read | set(expected))
    published = published_table() if with_published and is_zeb else PublishedTable([], [])
    notes = Notes()
    rows = [_read_row(score, expected, notes) for score in comparison.methods]
    rows.sort(key=lambda row: not row.is_whole)
    rows += [_printed_row(row, published, notes) for row in sorted(published.scores, key=lambda row: -row.mean)]
    order = [row.name for row in rows if not row.is_printed]
    scores = {score.method: score for score in comparison.methods}
    versions = {name: scores[name].version for name in order}
    general = [
        *about_ranks(len(order), len(common_datasets(results)), has_printed=bool(published.scores)),
        *about_protocols(versions, has_printed=bool(published.scores)),
    ]
    return Contents(
        columns=columns,
        rows=rows,
        summaries=[_summary(scores[name], of_method[name], columns) for name in order],
        notes=[*notes.all, *(Note("", text) for text in general)],
        comparison=comparison,
        results={name: of_method[name] for name in order},
        published=published,
    )


def common_datasets(results: Sequence[MethodResults]) -> list[str]:
    """The datasets that all methods have."""
    return in_order(set.intersection(*(set(item.runs) for item in results)))


def _read_row(score: MethodScore, expected: Sequence[str], notes: Notes) -> Row:
    marks = {NAME: notes.mark(about_method(score.version))}
    reasons = why_not_whole({name: found.num_pairs for name, found in score.datasets.items()}, expected)
    if reasons:
        marks[MEAN] = notes.mark(reasons)
    return Row(
        name=score.method,
        is_printed=False,
        origin=score.version,
        mean=score.mean[MAIN],
        is_whole=not reasons,
        rank=score.rank,
        scores={dataset: found.auc[MAIN] for dataset, found in score.datasets.items()},
        marks=marks,
    )


def _printed_row(row: PublishedScore, table: PublishedTable, notes: Notes) -> Row:
    marks = {NAME: notes.mark(f"As printed: {row.source}.")}
    for item in table.errata:
        if item.method == row.method:
            text = f"Printed as {item.printed:g}, right is {item.used:g}: {item.why}."
            marks[RANK if item.what == "rank" else item.what] = notes.mark(text)
    return Row(row.method, True, row.source, row.mean, True, row.rank, row.datasets, marks)


def _summary(score: MethodScore, results: MethodResults, columns: Sequence[str]) -> Summary:
    found = list(score.datasets.values())
    return Summary(
        name=score.method,
        version=score.version,
        num_seeds=max(len(runs) for runs in results.runs.values()),
        num_datasets=len(found),
        num_pairs=sum(item.num_pairs for item in found),
        num_failures=sum(item.num_failures for item in found),
        auc=score.mean,
        interval=score.interval,
        precision_before=float(np.mean([item.precision_before for item in found])),
        precision_after=float(np.mean([item.precision_after for item in found])),
        missing=[dataset for dataset in columns if dataset not in score.datasets],
    )
