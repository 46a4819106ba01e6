"""What a misspelt name was perhaps meant to be, for the messages that refuse it."""

import difflib
from collections.abc import Iterable

_MOST_NAMED = 3


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
