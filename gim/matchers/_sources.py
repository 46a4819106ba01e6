"""Reads our own source files without running them, to know what they would import."""

import ast
import threading
from pathlib import Path

# Before Python 3.11.5 the parser counts its recursion for all threads together: two at once are a SystemError
# (python/cpython, issue 106905).
_one_at_a_time = threading.Lock()


def parse_source(path: Path) -> ast.Module:
    """The syntax tree of a file. Safe to call from many threads.

    Raises:
        SyntaxError: it is not Python.
    """
    source = path.read_bytes()
    with _one_at_a_time:
        return ast.parse(source)
