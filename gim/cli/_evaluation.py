"""What the commands of `gim evaluate` share: options, the evaluator with its progress, and how scores are printed."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gim.cli._terminal import print_rows

if TYPE_CHECKING:
    from gim.evaluation.bootstrap import Interval
    from gim.evaluation.error_scores import ErrorScore
    from gim.evaluation.passes import Scorer
    from gim.evaluation.protocols import PoseProtocol
    from gim.evaluation.scores import Score
    from gim.evaluation.views import Views
    from gim.records import Float64Array
    from gim.runtime.evaluating import LocalEvaluator
    from gim.settings import Settings

ProtocolOption = Annotated[
    str, typer.Option("--protocol", help="gim, glue-factory or strict: see docs/evaluation.md.", metavar="NAME")
]
WorkersOption = Annotated[
    int, typer.Option("--workers", help="Processes; with several GPUs each has the next.", metavar="N", min=1)
]
ShardOption = Annotated[
    str | None,
    typer.Option("--shard", help="Do only share I of N, on any machine that sees the store.", metavar="I/N"),
]
KeptStoreOption = Annotated[
    str | None,
    typer.Option("--store", help="Keep matches there, to go on or to score them again.", metavar="STORE"),
]

_LINE_SECONDS = 30.0  # between lines where nothing can be drawn


@dataclass(slots=True)
class Judge:
    """A matcher that is judged on one benchmark after another."""

    evaluator: "LocalEvaluator"
    _begin: Callable[[str, int], None]

    def rows(self, title: str, views: "Views", scorer: "Scorer") -> "Float64Array | None":
        """What a scorer says of all pairs, [num_pairs, ...]; None while shards of other machines are missing.

        Args:
            title: what progress calls the benchmark.
            views: its images.
            scorer: its truth and its protocol.
        """
        self._begin(title, len(views.pairs))
        return self.evaluator.evaluate(views, scorer)


@contextmanager
def judge(
    settings: "Settings",
    matcher: str,
    *,
    workers: int = 1,
    shard: str | None = None,
    is_kept: bool = True,
    quiet: bool = False,
) -> Iterator[Judge]:
    """A judge of a matcher, its weights fetched, with progress on stderr.

    Args:
        settings: of the command line.
        matcher: its name.
        workers: processes.
        shard: `I/N`, or None for all.
        is_kept: whether matches stay in the settings' store, and not in a folder that goes with the block.
        quiet: whether lines are left out where nothing can be drawn.

    Raises:
        InvalidInput: a shard of an evaluation that is not kept, or `shard` is malformed.
        ConfigError, UnknownMatcher, LicenceRefused, Unavailable: as for weights, matchers and stores.
    """
    from gim.cli._fetching import fetch_weights
    from gim.errors import InvalidInput
    from gim.evaluation.passes import Shard
    from gim.matchers.registry import weight_names
    from gim.runtime.evaluating import LocalEvaluator
    from gim.runtime.trained import with_run

    if shard and not is_kept:
        raise InvalidInput("--shard: the shards meet in a store; name one with --store")
    part = Shard.parse(shard) if shard else None
    settings, matcher = with_run(settings, matcher)
    fetch_weights(weight_names(matcher, settings.matcher.get(matcher)), settings.weights, plain_lines=not quiet)
    with ExitStack() as held:
        if not is_kept:
            folder = held.enter_context(TemporaryDirectory(prefix="gim-evaluate-"))
            settings = replace(settings, store=folder)
        progress = held.enter_context(_PairsProgress(quiet=quiet))
        evaluator = held.enter_context(
            LocalEvaluator(settings, matcher, workers=workers, shard=part, on_pairs=progress.advance)
        )
        yield Judge(evaluator, progress.begin)


def error_facts(score: "ErrorScore") -> dict[str, Any]:
    """What all scores have, as `--json` has it: percents, and counts."""
    return {
        "auc": score.auc,
        "interval": intervals(score.interval),
        "spread": score.spread,
        "pairs": score.num_pairs,
        "failures": score.num_failures,
    }


def score_facts(score: "Score", median_matches: float | None = None) -> dict[str, Any]:
    """A score as `--json` has it: percents, and counts."""
    return {
        **error_facts(score),
        "precision_before": score.precision_before,
        "precision_after": score.precision_after,
        **({} if median_matches is None else {"matches": median_matches}),
    }


def intervals(found: "Mapping[str, Interval]") -> dict[str, list[float]]:
    """Intervals as `--json` has them: `{"5": [low, high], ...}`."""
    return {bound: [interval.low, interval.high] for bound, interval in found.items()}


def protocol_facts(protocol: "PoseProtocol") -> dict[str, Any]:
    """A protocol as `--json` has it."""
    return {"id": protocol.id, **asdict(protocol)}


def print_pose_scores(rows: "Sequence[tuple[str, Score, float | None]]", footnotes: Sequence[str] = ()) -> None:
    """A table of benchmarks, and what its numbers mean."""
    print_rows(
        [
            {
                "benchmark": name,
                "pairs": score.num_pairs,
                "failures": score.num_failures,
                **({} if matches is None else {"matches": f"{matches:g}"}),
                **{f"@{bound}": _with_interval(score, bound) for bound in score.auc},
                "precision": f"{score.precision_before:.1f}",
                "of inliers": f"{score.precision_after:.1f}",
            }
            for name, score, matches in rows
        ]
    )
    print("AUC of the pose error at 5, 10 and 20 degrees, percent, with 95 % intervals over resampled pairs")
    for line in footnotes:
        print(line)


def say_shard(shard: str | None, *, as_json: bool) -> None:
    """What is said when a share is done and others are missing."""
    if as_json:
        print_json({"shard": shard, "whole": False})
    else:
        print(f"shard {shard} is done; the same command without --shard puts all together")


def print_json(document: Mapping[str, Any]) -> None:
    """One object on stdout."""
    print(json.dumps(document, allow_nan=False))


def _with_interval(score: "Score", bound: str) -> str:
    interval = score.interval[bound]
    return f"{score.auc[bound]:.1f} [{interval.low:.1f}, {interval.high:.1f}]"


class _PairsProgress:
    """Pairs done of one benchmark after another: a bar on a terminal, else a line now and then."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        is_drawn = sys.stderr.isatty() and not console.is_dumb_terminal
        self._bar = Progress(*columns, console=console, transient=True) if is_drawn else None
        self._quiet = quiet
        self._title, self._done, self._total = "", 0, 0
        self._task: Any = None
        self._last_line = time.monotonic()

    def __enter__(self) -> "_PairsProgress":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def begin(self, title: str, total: int) -> None:
        self._title, self._done, self._total = title, 0, total
        if self._bar:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(title, total=total)

    def advance(self, num_pairs: int) -> None:
        self._done += num_pairs
        if self._bar:
            self._bar.advance(self._task, num_pairs)
        elif not self._quiet and time.monotonic() - self._last_line >= _LINE_SECONDS:
            self._last_line = time.monotonic()
            print(f"{self._title}: {self._done} of {self._total} pairs", file=sys.stderr)
