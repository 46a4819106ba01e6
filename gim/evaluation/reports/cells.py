"""The words of a report's table, as terminal, Markdown and page have them: numbers with their marks."""

from gim.evaluation.bootstrap import Interval
from gim.evaluation.reports.contents import Row
from gim.evaluation.reports.notes import MEAN, RANK

ABSENT = "–"
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def printable(text: str) -> str:
    """The text with `?` for what would move a cursor, break a row or is no character at all: names come from files."""
    return "".join(character if character.isprintable() else "?" for character in text)


def raised(mark: str) -> str:
    """A mark in small raised digits."""
    return mark.translate(_RAISED)


def number(value: float | None, row: Row) -> str:
    """A score: two decimals where it was computed, one where it is printed."""
    return ABSENT if value is None else f"{value:.1f}" if row.is_printed else f"{value:.2f}"


def mean(row: Row) -> str:
    """The mean; in brackets where it compares with no other."""
    return number(row.mean, row) if row.is_whole else f"({number(row.mean, row)})"


def rank(row: Row) -> str:
    """The rank."""
    return ABSENT if row.rank is None else f"{row.rank:.1f}"


def marked(text: str, row: Row, place: str) -> str:
    """A text of the row with the mark of the note about this place of it."""
    return text + raised(row.marks.get(place, ""))


def row_cells(row: Row, columns: list[str]) -> list[str]:
    """Mean, rank and the score on each dataset, with their marks."""
    datasets = [marked(number(row.scores.get(dataset), row), row, dataset) for dataset in columns]
    return [marked(mean(row), row, MEAN), marked(rank(row), row, RANK), *datasets]


def with_interval(value: float, interval: Interval, *, is_signed: bool = False) -> str:
    """`51.21 [50.85, 51.59]`."""
    sign = "+" if is_signed else ""
    return f"{value:{sign}.2f} [{interval.low:{sign}.2f}, {interval.high:{sign}.2f}]".replace("-", "−")


def verdict(interval: Interval) -> str:
    """Whether a difference is one, in a word."""
    if not interval.excludes_zero:
        return "undecided"
    return "better" if interval.low > 0 else "worse"
