"""Python's parser, for one thread at a time.

It counts its recursion for all threads together: where two of them make syntax trees at once, Python 3.11 may take the
other's depth for its own and raise a SystemError (python/cpython, issue 106905). Whoever needs trees takes the lock.
"""

import ast
import threading
from pathlib import Path

PARSER_LOCK = threading.Lock()


def parse_source(path: Path) -> ast.Module:
    """The syntax tree of a file. Safe to call from many threads.

    Raises:
        SyntaxError: it is not Python.
    """
    source = path.read_bytes()
    with PARSER_LOCK:
        return ast.parse(source)
