"""Evaluation shared out over consumers: a checkpoint becomes shares of benchmarks, and the last share done the report.

The consumers meet in the store alone: each keeps what it made, and whoever finds all of it there writes the report. Two
may do so at once, and then write the same bytes.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack

from gim import codecs, keys
from gim.benchmarks.stored import BenchmarkManifest, StoredBenchmark, choose_benchmarks
from gim.errors import InvalidInput, KeyMissing
from gim.evaluation.checkpoint import Checkpoint
from gim.evaluation.passes import Shard, predictor_id
from gim.matchers.base import Matcher
from gim.stages.evaluate import Judge, Judged, announcement, checked_checkpoint
from gim.wire import topics
from gim.wire.topics import Event
from gim.wire.v1 import events_pb2


class HeldMatcher:
    """The matcher that was asked for last, held so that consecutive messages about it load it once. Of one thread."""

    def __init__(self, load: Callable[[Checkpoint], AbstractContextManager[Matcher]]) -> None:
        self._load = load
        self._held = ExitStack()
        self._matcher: Matcher | None = None
        self._checkpoint: Checkpoint | None = None

    def of(self, checkpoint: Checkpoint, *, expected_id: str = "") -> Matcher:
        """The matcher of a checkpoint; loaded anew where the one held finds other correspondences.

        Args:
            checkpoint: which.
            expected_id: `predictor_id` of what it should be; empty: whatever the checkpoint is now.

        Raises:
            GimError: as `checkpoint_matcher`; then none is held.
        """
        if self._matcher is None or self._checkpoint != checkpoint or expected_id != predictor_id(self._matcher):
            self.close()  # before the next is loaded: a device may have room for one only
            self._matcher = self._held.enter_context(self._load(checkpoint))
            self._checkpoint = checkpoint
        return self._matcher

    def close(self) -> None:
        """Let go of what is held; a second call does nothing."""
        self._matcher = self._checkpoint = None
        self._held.close()


class PlanEvaluationStage:
    """CheckpointReady -> EvaluationShardPlanned for each share of each benchmark; EvaluationReady of what is reported.

    Weights that are absent, damaged or refused are found here, before anything is shared out: one dead letter.
    """

    name = "evaluate"
    topic = topics.CHECKPOINTS
    group = "evaluate"
    max_seconds = 3600.0

    def __init__(
        self, judge: Judge, held: HeldMatcher, *, benchmarks: Sequence[str] = (), shard_pairs: int = 512
    ) -> None:
        """Make the stage.

        Args:
            judge: of the checkpoints.
            held: shared with the stage that takes the shares.
            benchmarks: names or ids; all of the store by default.
            shard_pairs: the most of a share, which has at least one of the chunks that are kept.
        """
        self._judge, self._held = judge, held
        self._benchmarks = tuple(benchmarks)
        self._shard_pairs = shard_pairs

    def handle(self, event: Event) -> Iterable[tuple[str, Event]]:
        checkpoint = checked_checkpoint(topics.expect(event, events_pb2.CheckpointReady))
        benchmarks = choose_benchmarks(self._judge.store, self._benchmarks)
        done = [item for item in benchmarks if self._judge.is_reported(checkpoint, item)]
        for benchmark in done:
            yield announcement(checkpoint, benchmark.manifest.benchmark_id)
        if len(done) < len(benchmarks):
            matcher = self._held.of(checkpoint)
            for benchmark in benchmarks:
                if benchmark not in done:
                    yield from self._shares(checkpoint, self._judge.judged(benchmark, matcher))

    def _shares(self, checkpoint: Checkpoint, judged: Judged) -> Iterable[tuple[str, Event]]:
        for shard in Shard.covering(len(judged.pairs), self._shard_pairs):
            planned = events_pb2.EvaluationShardPlanned(
                run_id=checkpoint.run_id,
                step=checkpoint.step,
                matcher=checkpoint.matcher,
                checkpoint=checkpoint.key,
                dataset_id=checkpoint.dataset_id,
                benchmark=judged.id,
                shard=shard.index,
                num_shards=shard.number,
                settings_id=self._judge.settings_id(checkpoint.matcher),
                predictor_id=judged.evaluation.predictor_id,
                scorer_id=judged.evaluation.scorer.id,
            )
            # A key that ends in a number takes turns over the partitions: see TurnPartitioner.
            yield f"{checkpoint.run_id}/{checkpoint.step}/{judged.id}/{shard.index}", planned


class EvaluateShardStage:
    """EvaluationShardPlanned -> EvaluationReady, once all shares of the benchmark are done."""

    name = "evaluate-shard"
    topic = topics.EVALUATION_SHARDS
    group = "evaluate-shards"
    max_seconds = 24 * 3600.0

    def __init__(self, judge: Judge, held: HeldMatcher) -> None:
        self._judge, self._held = judge, held

    def handle(self, event: Event) -> Iterable[tuple[str, Event]]:
        planned = topics.expect(event, events_pb2.EvaluationShardPlanned)
        checkpoint = checked_checkpoint(planned)
        if planned.shard >= planned.num_shards:
            raise InvalidInput(f"{planned.benchmark}: no shard {planned.shard} of {planned.num_shards}")
        _check("matcher's settings", planned.settings_id, self._judge.settings_id(planned.matcher))
        benchmark = self._benchmark(planned.benchmark)
        if not self._judge.is_reported(checkpoint, benchmark):
            judged = self._judge.judged(benchmark, self._held.of(checkpoint, expected_id=planned.predictor_id))
            _check("matcher or its weights", planned.predictor_id, judged.evaluation.predictor_id)
            _check("protocol", planned.scorer_id, judged.evaluation.scorer.id)
            self._judge.run(checkpoint, judged, Shard(planned.shard, planned.num_shards))
            if judged.evaluation.num_scored() < len(judged.pairs):
                return
            self._finish(checkpoint, judged)
        yield announcement(checkpoint, planned.benchmark)

    def _finish(self, checkpoint: Checkpoint, judged: Judged) -> None:
        if judged.evaluation.rows() is None:  # something of another shard is damaged
            self._judge.run(checkpoint, judged)
        self._judge.write_report(checkpoint, judged)

    def _benchmark(self, benchmark_id: str) -> StoredBenchmark:
        try:
            manifest = self._judge.store.get(keys.benchmark_manifest(benchmark_id))
        except KeyMissing as error:
            raise InvalidInput(f"benchmark {benchmark_id}: has gone from the store since it was planned") from error
        return StoredBenchmark(self._judge.store, codecs.from_json(BenchmarkManifest, manifest))


def _check(what: str, planned: str, here: str) -> None:
    if planned != here:
        raise InvalidInput(
            f"planned for {planned[:80]!r}, and here it is {here!r}: the {what} changed since, or evaluators have "
            "different settings; publish the checkpoint again"
        )
