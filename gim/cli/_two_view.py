"""What the commands of the paper's other two-view benchmarks share: options, and how their scores are told."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gim.cli._evaluation import error_facts, judge, say_shard
from gim.cli._terminal import print_rows

if TYPE_CHECKING:
    from gim.evaluation.error_scores import ErrorScore
    from gim.evaluation.passes import Scorer
    from gim.evaluation.published_two_view import PublishedBenchmark
    from gim.evaluation.two_view_sizes import NamedSize
    from gim.evaluation.views import Views
    from gim.records import Float64Array
    from gim.settings import Settings

SizeOption = Annotated[
    str,
    typer.Option("--size", help="At which images are matched: see docs/evaluation.md.", metavar="NAME"),
]


@dataclass(frozen=True, slots=True)
class Run:
    """What a command line says of how its benchmark is run."""

    settings: "Settings"
    matcher: str
    workers: int
    shard: str | None
    is_kept: bool
    as_json: bool
    _started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return round(time.monotonic() - self._started, 3)

    def rows(self, name: str, views: "Views", scorer: "Scorer") -> "Float64Array | None":
        """What the scorer says of all pairs; None, which is said, while shards of other machines are missing."""
        with judge(
            self.settings,
            self.matcher,
            workers=self.workers,
            shard=self.shard,
            is_kept=self.is_kept,
            quiet=self.as_json,
        ) as judged:
            rows = judged.rows(name, views, scorer)
        if rows is None:
            say_shard(self.shard, as_json=self.as_json)
        return rows


def group_facts(groups: "Mapping[str, ErrorScore]") -> dict[str, Any]:
    """Scores of groups of pairs as `--json` has them."""
    return {name: error_facts(score) for name, score in groups.items()}


def published_facts(found: "PublishedBenchmark | None", protocol: str) -> dict[str, Any]:
    """Published scores as `--json` has them, beside those of a protocol."""
    if found is None:
        return {}
    rows = [{"method": row.method, "auc": row.auc, "source": found.source} for row in found.methods]
    is_comparable = protocol == found.protocol
    return {"published": rows, "published_is_comparable": is_comparable, "published_note": found.note}


def size_facts(size: "NamedSize") -> dict[str, Any]:
    """A size as `--json` has it."""
    return {"name": size.name, "source": size.source}


def print_scores(
    method: str,
    score: "ErrorScore",
    groups: "Mapping[str, ErrorScore]",
    published: "PublishedBenchmark | None",
    protocol: str,
    footnotes: Sequence[str],
) -> None:
    """A table of a method with its groups below it and what is published below those, and what its numbers mean."""
    named = [(method, score), *((f"  {name}", found) for name, found in groups.items())]
    own = [
        {
            "method": name,
            "pairs": str(found.num_pairs),
            "failures": str(found.num_failures),
            **{f"@{bound}": _with_interval(found, bound) for bound in found.auc},
        }
        for name, found in named
    ]
    others = published.methods if published else []
    printed = [
        {
            "method": row.method,
            "pairs": "",
            "failures": "",
            **{f"@{bound}": f"{auc:.1f}" for bound, auc in row.auc.items()},
        }
        for row in others
    ]
    print_rows([*own, *printed])
    for line in footnotes:
        print(line)
    if published:
        print(f"without intervals: {published.source}. {published.note}")
    if published and protocol != published.protocol:
        print(f"those are to be compared with scores of protocol {published.protocol}, not of {protocol}")


def _with_interval(score: "ErrorScore", bound: str) -> str:
    interval = score.interval[bound]
    return f"{score.auc[bound]:.1f} [{interval.low:.1f}, {interval.high:.1f}]"
