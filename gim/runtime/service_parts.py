"""Which stages each service runs, and what it runs beside them."""

from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from gim.evaluation.protocols import protocol_named
from gim.matchers import registry
from gim.matchers.base import Matcher, SparseMatcher
from gim.matchers.network import ModelResources
from gim.ports.bus import Bus
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry
from gim.ports.tracing import Tracing
from gim.runtime.logs import no_log
from gim.runtime.pressure import Pressure
from gim.runtime.scoreboard import Scoreboard
from gim.runtime.threads import beating
from gim.runtime.trained import check_pinned, with_runs
from gim.runtime.wiring import guide_name, ingest_stage, load_matchers, load_segmenter, propagate_stage
from gim.settings import Settings
from gim.stages.base import Stage
from gim.stages.deployed import deployed_labels_id
from gim.stages.evaluate import Judge
from gim.stages.evaluate_shards import EvaluateShardStage, HeldMatcher, PlanEvaluationStage
from gim.stages.label import LabelStage, group_of
from gim.wire import topics

_REPORTS_SECONDS = 60.0  # between two looks for reports of other evaluators


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service is built from."""

    settings: Settings
    store: Store
    bus: Bus
    telemetry: Telemetry
    tracing: Tracing
    executor: Executor
    threads: int  # of the executor, and of decoding
    work_dir: Path
    log: FilteringBoundLogger = field(default_factory=no_log)


@dataclass(frozen=True, slots=True)
class Work:
    """What a service does."""

    stages: Sequence[Stage]
    beside: Sequence[AbstractContextManager[object]] = ()  # entered before the first message, left after the last
    pressure: Pressure | None = None  # what it waits for before it takes another message
    feeds: Sequence[tuple[str, str]] = ()  # topics and groups whose lag is told too, also when none of them is there


def downloader(parts: Parts) -> Work:
    """Requested videos become frames and segments; held back while labelling lags or space runs short."""
    check_pinned(parts.settings)
    pressure = Pressure(parts.settings, parts.store, parts.bus, parts.work_dir)
    stage = ingest_stage(parts.settings, parts.store, parts.telemetry, parts.threads, parts.work_dir)
    feeds = [(topics.SEGMENTS, group_of(name)) for name in parts.settings.matchers]
    return Work([stage], pressure=pressure, feeds=feeds)


def matcher(parts: Parts) -> Work:
    """Segments become base labels, and whoever asks over gRPC gets matches, both by the same loaded models."""
    from gim.rpc.server import serving  # noqa: PLC0415 - on use

    settings = parts.settings
    check_pinned(settings)
    matchers = load_matchers(settings)
    segmenter = load_segmenter(settings)
    stages = [
        LabelStage(
            parts.store,
            each,
            settings.pairing,
            executor=parts.executor,
            telemetry=parts.telemetry,
            segmenter=segmenter,
        )
        for each in matchers
    ]
    for name, stage in zip(settings.matchers, stages, strict=True):
        stage.announce(name)
    grace_seconds = settings.service.grace_seconds
    server = serving(matchers, parts.store, settings.rpc, parts.telemetry, parts.tracing, grace_seconds=grace_seconds)
    return Work(stages, [server])


def propagator(parts: Parts) -> Work:
    """Base labels become long-baseline training pairs. Loads no network: the matchers say what they are called."""
    settings, store = parts.settings, parts.store
    check_pinned(settings)
    stage = propagate_stage(
        settings,
        store,
        parts.telemetry,
        parts.executor,
        matcher_ids=lambda: {name: deployed_labels_id(store, name) for name in settings.matchers},
        guide_matcher=_guide(settings),
        segmenter=load_segmenter(settings),
    )
    return Work([stage])


def evaluator(parts: Parts) -> Work:
    """Checkpoints become shares of the store's benchmarks, and the shares reports, whose scores are metrics."""
    settings, config = parts.settings, parts.settings.evaluation
    board = Scoreboard(parts.store, parts.telemetry, parts.log, max_runs=config.shown_runs)
    board.refresh()
    judge = Judge(
        store=parts.store,
        matcher_settings=settings.matcher,
        resources=ModelResources(settings.inference, settings.weights),
        protocol=protocol_named(config.protocol),
        executor=parts.executor,
        telemetry=parts.telemetry,
        work_dir=parts.work_dir,
        on_report=board.add,
    )
    held = HeldMatcher(judge.loaded)
    plan = PlanEvaluationStage(judge, held, benchmarks=config.benchmarks, shard_pairs=config.shard_pairs)
    looking = beating(board.refresh_quietly, _REPORTS_SECONDS, "reports")
    return Work([EvaluateShardStage(judge, held), plan], [closing(held), looking])


def _guide(settings: Settings) -> SparseMatcher | None:
    """The matcher whose features guide re-matching, as `choose_guide` chooses it among loaded ones.

    Where one that is no network guides, runs are not looked up: their weights are large, and not used here.
    """
    plain = replace(settings, matchers=tuple(name for name in settings.matchers if not registry.is_trained(name)))
    name = guide_name(plain)
    if name is None or registry.described_class(name).is_batched:
        settings = with_runs(settings)
        name = guide_name(settings)
    if name is None:
        return None
    loaded: Matcher = registry.load_matcher(
        name, settings.matcher.get(name), ModelResources(settings.inference, settings.weights)
    )
    assert isinstance(loaded, SparseMatcher)
    return loaded
