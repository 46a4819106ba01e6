"""A fixture that counts what RootSIFT is asked for. Not a test; a plugin of `conftest.py`."""

from typing import Any

import pytest

from gim.matchers.rootsift import RootSift
from gim.records import Features


@pytest.fixture
def matched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A one for each pair that the matcher was given."""
    calls: list[int] = []
    real = RootSift.match_features

    def counted(self: RootSift, features0: Features, features1: Features) -> Any:
        calls.append(1)
        return real(self, features0, features1)

    monkeypatch.setattr(RootSift, "match_features", counted)
    return calls
