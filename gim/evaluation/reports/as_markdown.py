"""The report as Markdown, with the tables that GitHub shows."""

import re
from collections.abc import Iterable, Sequence

from gim.evaluation.bootstrap import CONFIDENCE_PERCENT
from gim.evaluation.reports import cells
from gim.evaluation.reports.contents import Contents, Row, Summary
from gim.evaluation.reports.notes import NAME
from gim.evaluation.scores import MAIN


def as_markdown(contents: Contents) -> str:
    """The text."""
    rows = [[_name(row), *cells.row_cells(row, contents.columns)] for row in contents.rows]
    parts = [
        "## AUC@5° in percent",
        _table(["method", "mean", "rank", *map(_text, contents.columns)], rows),
        "\n".join(f"- {cells.raised(note.mark)} {_text(note.text)}".replace("-  ", "- ") for note in contents.notes),
        "## All pairs read: means over datasets",
        _summaries(contents.summaries),
    ]
    if contents.comparison.differences:
        parts += ["## Differences on the same pairs", _differences(contents)]
    parts.append(f"In brackets: {CONFIDENCE_PERCENT:g} % intervals over resampled sets of pairs.")
    return "\n\n".join(parts) + "\n"


def _name(row: Row) -> str:
    name = _text(row.name)
    return cells.marked(f"*{name}* (printed)" if row.is_printed else f"**{name}**", row, NAME)


def _summaries(summaries: Iterable[Summary]) -> str:
    heads = ["method", "version", "datasets", "pairs", "failures", "AUC@5°", "AUC@10°", "AUC@20°"]
    rows = [
        [
            f"**{_text(item.name)}**",
            _text(item.version),
            str(item.num_datasets),
            f"{item.num_pairs:,}",
            f"{item.num_failures:,}",
            *(cells.with_interval(item.auc[bound], item.interval[bound]) for bound in item.auc),
            f"{item.precision_before:.1f} %",
            f"{item.precision_after:.1f} %",
        ]
        for item in summaries
    ]
    return _table([*heads, "right before", "right after"], rows)


def _differences(contents: Contents) -> str:
    rows = [
        [
            f"{_text(item.method)} less {_text(item.other)}",
            _text(contents.place_of(item)),
            *(cells.with_interval(item.auc[bound], item.interval[bound], is_signed=True) for bound in item.auc),
            cells.verdict(item.interval[MAIN]),
        ]
        for item in contents.comparison.differences
    ]
    return _table(["methods", "on", "AUC@5°", "AUC@10°", "AUC@20°", "at 5°"], rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    ruler = [":---" if head in ("method", "methods", "version", "on", "at 5°") else "---:" for head in heads]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, ruler, *rows))


def _text(text: str) -> str:
    """A name as it is: nothing of it is markup."""
    return re.sub(r"([\\`*<>|\[\]])", r"\\\1", cells.printable(text))
