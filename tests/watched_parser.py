"""A fixture that counts how many threads are inside Python's parser at once. Not a test; a plugin of `conftest.py`."""

import ast
import time
from typing import Any

import pytest


@pytest.fixture
def parsing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For each call of `ast.parse`, in their order, how many threads were in it, the caller's with them."""
    inside: list[int] = []
    at_once: list[int] = []
    real = ast.parse

    def watched(*arguments: Any, **more: Any) -> ast.AST:
        inside.append(1)
        at_once.append(len(inside))
        time.sleep(0.0005)
        inside.pop()
        return real(*arguments, **more)

    monkeypatch.setattr(ast, "parse", watched)
    return at_once
