"""What a test does that lacks something: it is skipped with a word, or fails where `GIM_REQUIRE` names the thing."""

import os
from typing import NoReturn

import pytest

KNOWN = ("shared", "browser", "models", "servers", "images", "cluster")
# Take long, and need a base image or a whole cluster: asked for by name only.
NOT_IN_ALL = ("images", "cluster")


def required() -> list[str]:
    return [name for name in os.environ.get("GIM_REQUIRE", "").split(",") if name]


def lacks(what: str, message: str) -> NoReturn:
    if what in required() or ("all" in required() and what not in NOT_IN_ALL):
        pytest.fail(f"required by GIM_REQUIRE: {message}", pytrace=False)
    pytest.skip(message)
