"""Markdown of what others wrote: titles, licences and names of files change nothing of a card's form."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_MARKS = re.compile(r"([\\`*_\[\]<>|~#])")


def plain(text: str) -> str:
    """A text in one line that reads as it is."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return _MARKS.sub(r"\\\1", line)


def code(text: str) -> str:
    """A text in one line as code, inside a table too."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return f"`{line.replace('`', chr(39)).replace('|', '/')}`"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already; empty where it has no row."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |", *lines])


def facts(named: Mapping[str, str]) -> str:
    """A table of two columns, without those facts that are empty."""
    return table(("", ""), ((name, value) for name, value in named.items() if value))


def value(item: Any) -> str:
    """A setting's value as code."""
    if isinstance(item, bool):
        return code(str(item).lower())
    if isinstance(item, (list, tuple)):
        return code(", ".join(map(str, item)) or "none")
    if isinstance(item, Mapping):
        return code(", ".join(f"{name} = {each}" for name, each in item.items()) or "none")
    return code(str(item) or "none")


def page(*blocks: str) -> str:
    """Blocks one below the other, empty ones left out."""
    return "\n\n".join(block for block in blocks if block) + "\n"
