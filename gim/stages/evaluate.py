"""Evaluate: how right the relative poses are that a checkpoint's correspondences lead to, on the store's benchmarks.

`EvaluateStage` does all of it for one message; the stages of `evaluate_shards` share it out. `Judge` is what both use.
Both passes are kept as they go on (`gim.evaluation.passes`), so that a killed evaluation goes on where it was and
other protocols score the same correspondences. A report holds no time of day: the same checkpoint, benchmark and
protocol make the same bytes where the matcher is exact.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gim import codecs, keys
from gim.benchmarks.posed import PosedPair
from gim.benchmarks.stored import StoredBenchmark, choose_benchmarks
from gim.errors import CorruptObject, InvalidInput, KeyMissing
from gim.evaluation.checkpoint import Checkpoint, checkpoint_matcher
from gim.evaluation.passes import Evaluation, Shard
from gim.evaluation.pose_scorer import Column, PairScore, pair_scores, pose_scorer, posed_results
from gim.evaluation.protocols import PoseProtocol, protocol_named
from gim.evaluation.scores import Score, score_results
from gim.evaluation.views import stored_views
from gim.matchers.base import Matcher
from gim.matchers.network import ModelResources
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry
from gim.records import Teacher
from gim.wire import topics
from gim.wire.topics import Event
from gim.wire.v1 import events_pb2

REVISION = 2  # bumped when the same checkpoint and settings give another report


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """What one benchmark says of one checkpoint."""

    run_id: str
    step: int
    dataset_id: str  # that it was trained on; empty: none is known
    checkpoint: str  # store key of the weights; empty: those of the matcher's settings, or none
    teacher: Teacher  # the matcher, its licence, and its weights with hash and licence
    settings_id: str  # hash of all settings that change the correspondences
    benchmark: str  # id
    protocol: PoseProtocol
    score: Score
    median_matches: float
    pairs: list[PairScore]  # in the benchmark's order


@dataclass(frozen=True, slots=True)
class Judged:
    """One benchmark that a checkpoint is judged on."""

    benchmark: StoredBenchmark
    pairs: Sequence[PosedPair]
    evaluation: Evaluation

    @property
    def id(self) -> str:
        """The benchmark's id."""
        return self.benchmark.manifest.benchmark_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Judges checkpoints on the benchmarks of a store."""

    store: Store  # benchmarks and checkpoints are read from it, predictions and reports written to it
    matcher_settings: Mapping[str, Mapping[str, Any]]  # by the matcher's name, those that differ from its defaults
    resources: ModelResources  # weights that are not of a checkpoint, and the device
    executor: Executor  # reads, matches (where the matcher is no network) and scores
    telemetry: Telemetry  # told of steps, pairs and progress, under the run's id
    protocol: PoseProtocol  # how poses are estimated and judged
    work_dir: Path | None = None  # for what a checkpoint needs on this disk
    on_report: Callable[[EvaluationReport], None] = lambda _: None  # told of each report that is there or written

    def loaded(self, checkpoint: Checkpoint) -> AbstractContextManager[Matcher]:
        """The matcher of a checkpoint, as `checkpoint_matcher` gives it."""
        settings = self.matcher_settings.get(checkpoint.matcher, {})
        return checkpoint_matcher(self.store, checkpoint, settings, self.resources, work_dir=self.work_dir)

    def settings_id(self, matcher: str) -> str:
        """The hash of all settings that change the correspondences of a matcher."""
        return keys.config_hash(REVISION, self.matcher_settings.get(matcher, {}), self.resources.inference.precision)

    def judged(self, benchmark: StoredBenchmark, matcher: Matcher) -> Judged:
        """A matcher on a benchmark; nothing is matched by this."""
        pairs = benchmark.pairs()
        views = stored_views(benchmark, [(pair.image0, pair.image1) for pair in pairs], self.protocol.size_rule)
        return Judged(
            benchmark, pairs, Evaluation(self.store, views, pose_scorer(pairs, self.protocol, views), matcher)
        )

    def is_reported(self, checkpoint: Checkpoint, benchmark: StoredBenchmark) -> bool:
        """Whether the store has the report that would be made now; one by another protocol is made anew."""
        key = keys.evaluation_report(checkpoint.run_id, checkpoint.step, benchmark.manifest.benchmark_id)
        with suppress(KeyMissing, CorruptObject):
            report = codecs.from_json(EvaluationReport, self.store.get(key))
            made_of = (report.teacher.matcher, report.checkpoint, report.settings_id, report.protocol)
            if made_of == (checkpoint.matcher, checkpoint.key, self.settings_id(checkpoint.matcher), self.protocol):
                self.on_report(report)
                return True
        return False

    def run(self, checkpoint: Checkpoint, judged: Judged, shard: Shard | None = None) -> None:
        """Match and score a share of the pairs, all by default."""
        run_id, evaluation = checkpoint.run_id, judged.evaluation
        num_done = evaluation.num_scored(outside=shard) if shard else 0

        def tell() -> None:
            self._tell_pairs({"done": num_done, "all": len(judged.pairs)}, run_id, judged.id)

        def advance(num_pairs: int) -> None:
            nonlocal num_done
            num_done += num_pairs
            self.telemetry.progress(run_id, "evaluate", num_done, len(judged.pairs))
            tell()

        tell()
        try:
            num_matched = evaluation.run(
                self.executor, shard=shard, telemetry=self.telemetry, run_id=run_id, on_pairs=advance
            )
        finally:
            self._tell_pairs({}, run_id, judged.id)
        labels = {"matcher": evaluation.matcher.name, "benchmark": judged.id}
        self.telemetry.count("evaluated_pairs", num_matched, run_id, **labels)

    def write_report(self, checkpoint: Checkpoint, judged: Judged) -> None:
        """Put the report of a benchmark, all of whose pairs are done, into the store.

        Raises:
            CorruptObject: they are not.
        """
        rows = judged.evaluation.rows()
        if rows is None:
            raise CorruptObject(
                f"{judged.evaluation.views.id}: what was scored has gone from the store while it was evaluated"
            )
        report = EvaluationReport(
            run_id=checkpoint.run_id,
            step=checkpoint.step,
            dataset_id=checkpoint.dataset_id,
            checkpoint=checkpoint.key,
            teacher=judged.evaluation.matcher.teacher,
            settings_id=self.settings_id(checkpoint.matcher),
            benchmark=judged.id,
            protocol=self.protocol,
            score=score_results(judged.benchmark.manifest.name, posed_results(judged.pairs, rows)),
            median_matches=float(np.median(rows[:, 0, Column.NUM_MATCHES])),
            pairs=pair_scores(judged.pairs, rows),
        )
        key = keys.evaluation_report(report.run_id, report.step, report.benchmark)
        self.store.put(key, codecs.to_json(report))
        self.on_report(report)

    def _tell_pairs(self, numbers: Mapping[str, int], run_id: str, benchmark: str) -> None:
        about = {"run_id": run_id, "benchmark": benchmark}
        self.telemetry.set_levels("evaluation_pairs", [({**about, "state": state}, n) for state, n in numbers.items()])


def checked_checkpoint(event: events_pb2.CheckpointReady | events_pb2.EvaluationShardPlanned) -> Checkpoint:
    """The checkpoint that an event names.

    Raises:
        InvalidInput: a run id that no key can hold.
    """
    if not event.run_id or "/" in keys.validate_key(event.run_id):
        raise InvalidInput(f"run id {event.run_id[:80]!r}: a name without a slash")
    return Checkpoint(event.run_id, event.step, event.matcher, event.checkpoint, event.dataset_id)


def announcement(checkpoint: Checkpoint, benchmark: str) -> tuple[str, Event]:
    """That a report is there, with its key on the bus."""
    run_id, step = checkpoint.run_id, checkpoint.step
    key = keys.evaluation_report(run_id, step, benchmark)
    return run_id, events_pb2.EvaluationReady(run_id=run_id, step=step, benchmark=benchmark, report=key)


class EvaluateStage:
    """CheckpointReady -> EvaluationReady for every benchmark."""

    name = "evaluate"
    topic = topics.CHECKPOINTS
    group = "evaluate"
    max_seconds = 7 * 24 * 3600.0

    def __init__(
        self,
        store: Store,
        *,
        matcher_settings: Mapping[str, Mapping[str, Any]],
        resources: ModelResources,
        benchmarks: Sequence[str] = (),
        executor: Executor,
        telemetry: Telemetry,
        protocol: PoseProtocol | None = None,
        work_dir: Path | None = None,
    ) -> None:
        """Make the stage.

        Args:
            store: see `Judge`, as for all that is not said here.
            matcher_settings: see `Judge`.
            resources: see `Judge`.
            benchmarks: names or ids; all of the store by default.
            executor: see `Judge`.
            telemetry: see `Judge`.
            protocol: `strict` by default.
            work_dir: see `Judge`.
        """
        self._benchmarks = tuple(benchmarks)
        self._judge = Judge(
            store=store,
            matcher_settings=matcher_settings,
            resources=resources,
            executor=executor,
            telemetry=telemetry,
            protocol=protocol or protocol_named("strict"),
            work_dir=work_dir,
        )

    def handle(self, event: Event) -> Iterable[tuple[str, Event]]:
        checkpoint = checked_checkpoint(topics.expect(event, events_pb2.CheckpointReady))
        benchmarks = choose_benchmarks(self._judge.store, self._benchmarks)
        waiting = [item for item in benchmarks if not self._judge.is_reported(checkpoint, item)]
        if waiting:
            with self._judge.loaded(checkpoint) as matcher:
                for benchmark in waiting:
                    judged = self._judge.judged(benchmark, matcher)
                    self._judge.run(checkpoint, judged)
                    self._judge.write_report(checkpoint, judged)
        for benchmark in benchmarks:
            yield announcement(checkpoint, benchmark.manifest.benchmark_id)
