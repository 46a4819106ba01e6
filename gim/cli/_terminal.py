"""What is shown to people: tables on stdout, errors on stderr, never a character that could move a cursor.

A table is as wide as the terminal; on anything else a row is one line, whatever its length.
"""

import sys
from typing import TYPE_CHECKING

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


def print_table(table: "Table") -> None:
    """Print a table."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else _UNBOUNDED).print(table)
