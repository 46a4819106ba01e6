"""The cluster's Prometheus, asked as Grafana asks it."""

import json
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from tests.unit.dashboards.panels import PanelQuery

_STEP_SECONDS = 15
_LOOK_BACK_SECONDS = 3600


@dataclass(frozen=True)
class Prometheus:
    """Behind a port of this machine."""

    port: int
    variables: dict[str, str] = field(default_factory=lambda: {"method": "RootSIFT"})  # what somebody has chosen

    def series(self, panel: PanelQuery) -> list[dict[str, Any]]:
        """What a panel would show of the last hour."""
        query, now = panel.filled(**self.variables), time.time()
        if panel.is_instant:
            return self._asked("query", query=query, time=now)
        return self._asked("query_range", query=query, start=now - _LOOK_BACK_SECONDS, end=now, step=_STEP_SECONDS)

    def instant(self, query: str) -> list[dict[str, Any]]:
        return self._asked("query", query=query)

    def _asked(self, what: str, **about: object) -> list[dict[str, Any]]:
        url = f"http://127.0.0.1:{self.port}/api/v1/{what}?{urllib.parse.urlencode(about)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found
