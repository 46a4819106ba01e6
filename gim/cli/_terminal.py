"""What is shown to people: tables on stdout, errors on stderr, never a character that could move a cursor.

A table is as wide as the terminal; on anything else a row is one line, whatever its length.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_UNBOUNDED = 10_000  # characters


def cell(text: str) -> "Text":
    """Text as it is: no markup, no line breaks or other control characters."""
    from rich.text import Text

    return Text(printable(text))


def printable(text: str) -> str:
    """The text with `?` for whatever would move a terminal's cursor or is no character at all."""
    return "".join(character if character.isprintable() else "?" for character in text)


def say_error(message: str) -> None:
    """One line on stderr."""
    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr)


def say_note(message: str) -> None:
    """One line on stderr about what is not wrong but should be known."""
    print(f"note: {printable(' '.join(message.split()))}", file=sys.stderr)


def print_table(table: "Table") -> None:
    """Print a table."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else _UNBOUNDED).print(table)


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print records of the same fields as a table headed by the fields' names; the first, a name, is never cut."""
    from rich.table import Table

    if not rows:
        print("none")
        return
    table = Table(*rows[0], box=None, pad_edge=False, header_style="bold")
    cells = [[cell(_text(value)) for value in row.values()] for row in rows]
    table.columns[0].no_wrap = True
    table.columns[0].min_width = max(line[0].cell_len for line in cells)
    for column in table.columns[1:]:
        column.overflow = "fold"  # what has no room is read on the next line
    for line in cells:
        table.add_row(*line)
    print_table(table)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(str(item) for item in value)
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
