"""The panels of the dashboards as they are written, and their queries with everything that Grafana fills in."""

import json
import re
from dataclasses import dataclass

from infra.state import ROOT

DASHBOARDS = ROOT / "k8s/platform/grafana/dashboards"
# As Grafana fills them in for the last hour, scraped every 15 s.
_FILLED = {"$__rate_interval": "1m", "$__range": "1h"}


@dataclass(frozen=True)
class PanelQuery:
    """One query of one panel."""

    board: str
    panel: str
    unit: str
    query: str
    legend: str
    is_instant: bool  # asked for now only, and not for all of the time shown

    @property
    def legend_labels(self):
        return re.findall(r"\{\{(\w+)\}\}", self.legend)

    def filled(self, **variables):
        """What Prometheus is asked. Variables of the board are `.+`, or as they are given."""
        text = self.query
        for name, value in _FILLED.items():
            text = text.replace(name, value)
        return re.sub(r"\$([a-z_]+)", lambda found: variables.get(found[1], ".+"), text)


def boards():
    """Name -> dashboard, as Grafana reads it."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def panels(board):
    """The panels of a dashboard without the headings of its rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def panel_queries():
    """All queries of all panels."""
    return [
        PanelQuery(
            name,
            panel["title"],
            panel["fieldConfig"]["defaults"]["unit"],
            target["expr"],
            target["legendFormat"],
            bool(target.get("instant")),
        )
        for name, board in boards().items()
        for panel in panels(board)
        for target in panel["targets"]
    ]
