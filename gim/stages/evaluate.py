"""Evaluate: how right the relative poses are that a checkpoint's correspondences lead to, on the store's benchmarks.

Both passes are kept as they go on (`gim.evaluation.passes`), so that a killed evaluation goes on where it was and
other protocols score the same correspondences. A report holds no time of day: the same checkpoint, benchmark and
protocol make the same bytes where the matcher is exact.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gim import codecs, keys
from gim.benchmarks.stored import StoredBenchmark, choose_benchmarks
from gim.errors import CorruptObject, InvalidInput, KeyMissing
from gim.evaluation.checkpoint import Checkpoint, checkpoint_matcher
from gim.evaluation.image_size import SizeRule
from gim.evaluation.passes import Evaluation
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
            store: benchmarks and checkpoints are read from it, predictions and reports written to it.
            matcher_settings: by the matcher's name, those that differ from its defaults.
            resources: weights that are not of a checkpoint, and the device.
            benchmarks: names or ids; all of the store by default.
            executor: reads, matches (where the matcher is no network) and scores.
            telemetry: told of steps, pairs and progress, under the run's id.
            protocol: how poses are estimated and judged; `strict` by default.
            work_dir: for what a checkpoint needs on this disk.
        """
        self._store = store
        self._matcher_settings = matcher_settings
        self._resources = resources
        self._benchmarks = tuple(benchmarks)
        self._executor = executor
        self._telemetry = telemetry
        self._protocol = protocol or protocol_named("strict")
        self._work_dir = work_dir

    def handle(self, event: Event) -> Iterable[tuple[str, Event]]:
        ready = topics.expect(event, events_pb2.CheckpointReady)
        if not ready.run_id or "/" in keys.validate_key(ready.run_id):
            raise InvalidInput(f"run id {ready.run_id[:80]!r}: a name without a slash")
        checkpoint = Checkpoint(ready.run_id, ready.step, ready.matcher, ready.checkpoint, ready.dataset_id)
        settings = self._matcher_settings.get(ready.matcher, {})
        settings_id = keys.config_hash(REVISION, settings, self._resources.inference.precision)
        benchmarks = choose_benchmarks(self._store, self._benchmarks)
        waiting = [item for item in benchmarks if not self._is_reported(checkpoint, item, settings_id)]
        if waiting:
            loaded = checkpoint_matcher(self._store, checkpoint, settings, self._resources, work_dir=self._work_dir)
            with loaded as matcher:
                for benchmark in waiting:
                    report = self._evaluate(checkpoint, matcher, benchmark, settings_id)
                    key = keys.evaluation_report(report.run_id, report.step, report.benchmark)
                    self._store.put(key, codecs.to_json(report))
        for benchmark in benchmarks:
            benchmark_id = benchmark.manifest.benchmark_id
            report_key = keys.evaluation_report(ready.run_id, ready.step, benchmark_id)
            yield (
                ready.run_id,
                events_pb2.EvaluationReady(
                    run_id=ready.run_id, step=ready.step, benchmark=benchmark_id, report=report_key
                ),
            )

    def _is_reported(self, checkpoint: Checkpoint, benchmark: StoredBenchmark, settings_id: str) -> bool:
        """Whether the store has the report that would be made now; one by another protocol is made anew."""
        key = keys.evaluation_report(checkpoint.run_id, checkpoint.step, benchmark.manifest.benchmark_id)
        with suppress(KeyMissing, CorruptObject):
            report = codecs.from_json(EvaluationReport, self._store.get(key))
            made_of = (report.teacher.matcher, report.checkpoint, report.settings_id, report.protocol)
            return made_of == (checkpoint.matcher, checkpoint.key, settings_id, self._protocol)
        return False

    def _evaluate(
        self, checkpoint: Checkpoint, matcher: Matcher, benchmark: StoredBenchmark, settings_id: str
    ) -> EvaluationReport:
        run_id, manifest = checkpoint.run_id, benchmark.manifest
        pairs = benchmark.pairs()
        rule = SizeRule(self._protocol.longest_side)
        views = stored_views(benchmark, [(pair.image0, pair.image1) for pair in pairs], rule)
        evaluation = Evaluation(self._store, views, pose_scorer(pairs, self._protocol), matcher)
        num_done = 0

        def advance(num_pairs: int) -> None:
            nonlocal num_done
            num_done += num_pairs
            self._telemetry.progress(run_id, "evaluate", num_done, len(pairs))

        num_matched = evaluation.run(self._executor, telemetry=self._telemetry, run_id=run_id, on_pairs=advance)
        labels = {"matcher": matcher.name, "benchmark": manifest.benchmark_id}
        self._telemetry.count("evaluated_pairs", num_matched, run_id, **labels)
        rows = evaluation.rows()
        if rows is None:
            raise CorruptObject(f"{views.id}: what was scored has gone from the store while it was evaluated")
        return EvaluationReport(
            run_id=run_id,
            step=checkpoint.step,
            dataset_id=checkpoint.dataset_id,
            checkpoint=checkpoint.key,
            teacher=matcher.teacher,
            settings_id=settings_id,
            benchmark=manifest.benchmark_id,
            protocol=self._protocol,
            score=score_results(manifest.name, posed_results(pairs, rows)),
            median_matches=float(np.median(rows[:, 0, Column.NUM_MATCHES])),
            pairs=pair_scores(pairs, rows),
        )
