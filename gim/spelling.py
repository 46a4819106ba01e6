"""What a misspelt name was perhaps meant to be, for the messages that refuse it."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from gim.errors import ConfigError

_MOST_NAMED = 3


class Named(Protocol):
    """Whatever has a name."""

    @property
    def name(self) -> str:
        """By which people ask for it."""


Item = TypeVar("Item", bound=Named)


def did_you_mean(word: str, known: Iterable[str], *, least_similarity: float = 0.6) -> str:
    """` (did you mean a or b?)` with the known names nearest to a word, best first; empty where none is near.

    Args:
        word: what was typed.
        known: the names there are. Of a name with a prefix (`vismatch:`) only the rest is compared: a prefix that all
            have makes nothing alike.
        least_similarity: of a name to the word, for it to be suggested; 0 to 1, see `difflib.get_close_matches`.
    """
    names = {name.rpartition(":")[2]: name for name in known}
    close = difflib.get_close_matches(word.rpartition(":")[2], names, n=_MOST_NAMED, cutoff=least_similarity)
    return f" (did you mean {' or '.join(names[name] for name in close)}?)" if close else ""


def one_named(name: str, items: Sequence[Item], what: str) -> Item:
    """The item of a name.

    Args:
        name: what was asked for.
        items: those there are.
        what: they are, for the message.

    Raises:
        ConfigError: there is none; the message has all.
    """
    for item in items:
        if item.name == name:
            return item
    names = [item.name for item in items]
    raise ConfigError(f"no {what} {name!r}{did_you_mean(name, names)}: {', '.join(names)}")
