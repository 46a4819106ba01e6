"""The published table of ZEB as recording rules, so that a panel can set runs against it.

The numbers are those of `gim.evaluation.published`. A dataset goes by the name of its folder, as benchmarks of a store
should.
"""

import json

from gim.benchmarks.zeb import dataset_named
from gim.evaluation.published import published_table

AUC = "gim:published_auc5:percent"
MEAN = "gim:published_auc5_mean:percent"

_HEAD = """\
# The published table of ZEB, AUC at 5 degrees in percent. Made of gim/evaluation/published.toml by
# `python -m infra.dashboards`.
groups:
  - name: gim-published
    interval: 1m
    rules:
"""


def published_rules() -> str:
    """A file of recording rules, one for each number of the table."""
    lines = []
    for score in published_table().scores:
        method = json.dumps(score.method)
        lines.append(f"      - {{record: {MEAN}, expr: vector({score.mean:g}), labels: {{method: {method}}}}}")
        for name, auc in score.datasets.items():
            labels = f"{{method: {method}, dataset: {dataset_named(name).folder}}}"
            lines.append(f"      - {{record: {AUC}, expr: vector({auc:g}), labels: {labels}}}")
    return _HEAD + "\n".join(lines) + "\n"
