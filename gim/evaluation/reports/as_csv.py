"""The report as one table of CSV, a line for each number of the terminal's tables.

`kind` is `read`, `printed` or `difference`; an empty `dataset` is the mean over datasets.
"""

import csv
import io
from collections.abc import Mapping
from typing import Any

from gim.evaluation.bootstrap import Interval
from gim.evaluation.comparison import Difference
from gim.evaluation.reports.cells import printable
from gim.evaluation.reports.contents import Contents, Row, Summary
from gim.evaluation.reports.notes import MEAN, RANK, protocol_of
from gim.evaluation.scores import MAIN, THRESHOLDS_DEG, Score

_BOUNDS = [f"{bound:g}" for bound in THRESHOLDS_DEG]
COLUMNS = [
    "kind",
    "method",
    "other",
    "origin",
    "protocol",
    "dataset",
    *(f"auc_{bound}{part}" for bound in _BOUNDS for part in ("", "_low", "_high")),
    *(f"spread_{bound}" for bound in _BOUNDS),
    "rank",
    "datasets",
    "pairs",
    "failures",
    "precision_before",
    "precision_after",
    "note",
]
_Line = dict[str, Any]


def as_csv(contents: Contents) -> str:
    """The text, UTF-8, lines ended by a line feed, percent with four decimals."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in line.items()} for line in _lines(contents))
    return out.getvalue()


def _lines(contents: Contents) -> list[_Line]:
    notes = {note.mark: note.text for note in contents.notes if note.mark}
    summaries = {item.name: item for item in contents.summaries}
    lines = []
    for row in contents.rows:
        scores = {} if row.is_printed else contents.scores[row.name].datasets
        facts: _Line = {"kind": "printed" if row.is_printed else "read", "method": row.name, "origin": row.origin}
        protocol = None if row.is_printed else protocol_of(row.origin)
        facts["protocol"] = protocol.id if protocol else ""
        mean: _Line = {f"auc_{MAIN}": row.mean} if row.is_printed else _summary(summaries[row.name])
        about_all = " ".join(notes[row.marks[place]] for place in (MEAN, RANK) if place in row.marks)
        lines.append({**facts, **mean, "rank": row.rank, "note": about_all})
        lines += [
            {**facts, "dataset": dataset, **_score(row, dataset, scores.get(dataset), notes)}
            for dataset in contents.columns
        ]
    return lines + [_difference(item) for item in contents.comparison.differences]


def _summary(item: Summary) -> _Line:
    return {
        **_auc(item.auc, item.interval),
        "datasets": item.num_datasets,
        "pairs": item.num_pairs,
        "failures": item.num_failures,
        "precision_before": item.precision_before,
        "precision_after": item.precision_after,
    }


def _score(row: Row, dataset: str, score: Score | None, notes: Mapping[str, str]) -> _Line:
    if score is None:
        value = row.scores.get(dataset)
        note = notes.get(row.marks.get(dataset, ""), "") if value is not None else "missing"
        return {f"auc_{MAIN}": value, "note": note}
    return {
        **_auc(score.auc, score.interval),
        **{f"spread_{bound}": value for bound, value in score.spread.items()},
        "pairs": score.num_pairs,
        "failures": score.num_failures,
        "precision_before": score.precision_before,
        "precision_after": score.precision_after,
    }


def _difference(item: Difference) -> _Line:
    names = {"kind": "difference", "method": item.method, "other": item.other, "dataset": item.dataset}
    return {**names, **_auc(item.auc, item.interval)}


def _auc(auc: Mapping[str, float], interval: Mapping[str, Interval]) -> _Line:
    line: _Line = {}
    for bound, value in auc.items():
        ends = interval[bound]
        line |= {f"auc_{bound}": value, f"auc_{bound}_low": ends.low, f"auc_{bound}_high": ends.high}
    return line


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else printable(str(value))
