"""The report as a workbook: a sheet of each kind, numbers as numbers, the same bytes for the same results."""

import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from openpyxl import Workbook
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter

from gim.evaluation.bootstrap import Interval
from gim.evaluation.reports.cells import printable
from gim.evaluation.reports.contents import Contents
from gim.evaluation.scores import MAIN, THRESHOLDS_DEG, Score

_BOUNDS = [f"{bound:g}" for bound in THRESHOLDS_DEG]
_LONG_AGO = datetime(1980, 1, 1)  # what the dates of a zip begin with
_WIDEST = 60  # characters of a column
_Line = Sequence[str | float | None]


def as_xlsx(contents: Contents) -> bytes:
    """The file."""
    book = Workbook()
    book.remove(book.active)
    for title, heads, lines in (
        ("Table", *_table(contents)),
        ("Scores", *_scores(contents)),
        ("Overlap", *_overlap(contents)),
        ("Differences", *_differences(contents)),
        ("Published", *_published(contents)),
        ("Notes", ["mark", "note"], [[note.mark, note.text] for note in contents.notes]),
    ):
        _fill(book.create_sheet(title), heads, lines)
    book.properties.creator = "gim"
    book.properties.created = _LONG_AGO
    written = io.BytesIO()
    book.save(written)
    return _timeless(written.getvalue())


def _table(contents: Contents) -> tuple[list[str], list[_Line]]:
    heads = [
        "method",
        "kind",
        "version or source",
        "AUC@5 mean",
        "over all datasets",
        "rank",
        *contents.columns,
        "notes",
    ]
    lines: list[_Line] = [
        [
            row.name,
            "printed" if row.is_printed else "read",
            row.origin,
            row.mean,
            "yes" if row.is_whole else "no",
            row.rank,
            *(row.scores.get(dataset) for dataset in contents.columns),
            ", ".join(sorted(set(row.marks.values()), key=int)),
        ]
        for row in contents.rows
    ]
    return heads, lines


def _scores(contents: Contents) -> tuple[list[str], list[_Line]]:
    heads = ["method", "dataset", "pairs", "failures"]
    heads += [f"AUC@{bound}{part}" for bound in _BOUNDS for part in ("", " low", " high", " spread")]
    heads += ["precision before", "precision after"]
    lines: list[_Line] = []
    for method, score in contents.scores.items():
        for dataset in contents.columns:
            found = score.datasets.get(dataset)
            lines.append([method, dataset, *(_score(found) if found else ["missing"])])
    return heads, lines


def _score(score: Score) -> list[float]:
    auc = [
        value for bound in _BOUNDS for value in (score.auc[bound], *_ends(score.interval[bound]), score.spread[bound])
    ]
    return [score.num_pairs, score.num_failures, *auc, score.precision_before, score.precision_after]


def _overlap(contents: Contents) -> tuple[list[str], list[_Line]]:
    heads = ["method", "dataset", "overlap from", "overlap to", "pairs", *(f"AUC@{bound}" for bound in _BOUNDS)]
    lines: list[_Line] = [
        [method, dataset, found.low, found.high, found.num_pairs, *(found.auc[bound] for bound in _BOUNDS)]
        for method, score in contents.scores.items()
        for dataset, of_dataset in score.datasets.items()
        for found in of_dataset.bins
    ]
    return heads, lines


def _differences(contents: Contents) -> tuple[list[str], list[_Line]]:
    heads = ["method", "less", "dataset"]
    heads += [f"AUC@{bound}{part}" for bound in _BOUNDS for part in ("", " low", " high")]
    lines: list[_Line] = [
        [
            item.method,
            item.other,
            item.dataset or "(mean)",
            *(value for bound in _BOUNDS for value in (item.auc[bound], *_ends(item.interval[bound]))),
            "yes" if item.interval[MAIN].excludes_zero else "no",
        ]
        for item in contents.comparison.differences
    ]
    return [*heads, "AUC@5 excludes zero"], lines


def _published(contents: Contents) -> tuple[list[str], list[_Line]]:
    table = contents.published
    datasets = list(table.scores[0].datasets) if table.scores else []
    lines: list[_Line] = [[row.method, row.source, row.mean, row.rank, *row.datasets.values()] for row in table.scores]
    lines += [
        [item.method, f"erratum: {item.what} printed as {item.printed:g}, right is {item.used:g}; {item.why}"]
        for item in table.errata
    ]
    return ["method", "source", "AUC@5 mean", "rank", *datasets], lines


def _ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def _fill(sheet: Any, heads: Sequence[str], lines: Iterable[_Line]) -> None:
    widths = [len(head) for head in heads]
    for row, line in enumerate((list(heads), *lines), start=1):
        for column, value in enumerate(line, start=1):
            if value is None:
                continue
            cell = sheet.cell(row, column)
            if isinstance(value, str):
                cell.value = printable(value)
                cell.data_type = "s"  # a name that begins with = is no formula
                widths[column - 1] = min(_WIDEST, max(widths[column - 1], len(value)))
            else:
                cell.value = value
                cell.number_format = "#,##0" if isinstance(value, int) else "0.00"
    for column, width in enumerate(widths, start=1):
        sheet.column_dimensions[get_column_letter(column)].width = width + 2
        sheet.cell(1, column).font = Font(bold=True)
        sheet.cell(1, column).alignment = Alignment(vertical="top", wrap_text=True)
    sheet.freeze_panes = "A2" if sheet.title == "Notes" else "B2"
    sheet.auto_filter.ref = sheet.dimensions


def _timeless(book: bytes) -> bytes:
    """The same workbook without the time at which it was made."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as given, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as written:
        for name in given.namelist():
            content = given.read(name)
            if name == "docProps/core.xml":
                moment = _LONG_AGO.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
                content = re.sub(rb"(<dcterms:modified[^>]*>)[^<]*", rb"\g<1>" + moment, content)
            written.writestr(zipfile.ZipInfo(name, _LONG_AGO.timetuple()[:6]), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()
