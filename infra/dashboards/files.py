"""What of the monitoring is made from code, and where it is written: dashboards, and rules in two further forms."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import indent

from infra.dashboards import matcher, overview, storage, training, zeb
from infra.dashboards.published import published_rules
from infra.dashboards.rendering import as_json
from infra.state import ROOT

BOARDS = (overview.BOARD, matcher.BOARD, storage.BOARD, training.BOARD, zeb.BOARD)
DASHBOARDS = Path("k8s/platform/grafana/dashboards")
RULES = Path("k8s/platform/prometheus/server/rules")
RESOURCES = Path("k8s/components/prometheus-operator/rules.yaml")

_HEAD = "# The rules of platform/prometheus/server/rules as resources. Made by `python -m infra.dashboards`.\n"


def made_files(root: Path = ROOT) -> Mapping[Path, str]:
    """Path below the project's folder -> text, of everything that is made.

    Args:
        root: the project's folder, whose rules are read.
    """
    published = published_rules()
    rules = {path.stem: path.read_text(encoding="utf-8") for path in (root / RULES).glob("*.yml")}
    rules["published"] = published
    return {
        **{DASHBOARDS / f"{board.name}.json": as_json(board) for board in BOARDS},
        RULES / "published.yml": published,
        RESOURCES: _HEAD + "".join(_resource(name, rules[name]) for name in sorted(rules)),
    }


def stale_files(root: Path = ROOT) -> Iterator[Path]:
    """Those whose text is not what it would be made now, and dashboards that no board makes any more."""
    made = made_files(root)
    for path, text in made.items():
        there = root / path
        if not there.exists() or there.read_text(encoding="utf-8") != text:
            yield path
    for there in sorted((root / DASHBOARDS).glob("*.json")):
        if there.relative_to(root) not in made:
            yield there.relative_to(root)


def write_files(root: Path = ROOT) -> list[Path]:
    """Make everything; returns what has changed."""
    stale, made = list(stale_files(root)), made_files(root)
    for path in stale:
        there = root / path
        if path in made:
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_text(made[path], encoding="utf-8")
        else:
            there.unlink()
    return stale


def _resource(name: str, rules: str) -> str:
    """A file of rules as a PrometheusRule: `groups:` and what follows, moved to the right."""
    groups = rules[rules.index("groups:") :]
    head = (
        "---\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n"
        f"  name: gim-{name}\n  labels: {{app.kubernetes.io/name: prometheus}}\nspec:\n"
    )
    return head + indent(groups, "  ")
