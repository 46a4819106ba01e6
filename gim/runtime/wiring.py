"""Builds the stages from the settings: the one place that knows which parts make the pipeline."""

from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

from gim.matchers.base import Matcher, SparseMatcher
from gim.matchers.registry import load_matcher
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry
from gim.settings import Settings
from gim.stages.base import Stage
from gim.stages.ingest import IngestStage
from gim.stages.label import LabelStage, labels_id
from gim.stages.propagate import PropagateStage


def load_matchers(settings: Settings) -> list[Matcher]:
    """The matchers the settings name, in order.

    Raises:
        UnknownMatcher: there is none of that name, or it cannot run here.
        ConfigError: its settings are wrong.
    """
    return [load_matcher(name, settings.matcher.get(name)) for name in settings.matchers]


def matcher_ids(settings: Settings, matchers: Sequence[Matcher]) -> tuple[str, ...]:
    """Ids under which the labels of these matchers are stored."""
    return tuple(labels_id(matcher, settings.pairing) for matcher in matchers)


def build_stages(
    settings: Settings, store: Store, telemetry: Telemetry, executor: Executor, threads: int
) -> list[Stage]:
    """All stages of the embedded pipeline, in its order.

    Args:
        settings: checked.
        store: what they read and write.
        telemetry: what they tell of.
        executor: works on the pairs and frames of one event.
        threads: of the executor, and of decoding.
    """
    matchers = load_matchers(settings)
    ids = matcher_ids(settings, matchers)
    ingest = IngestStage(
        store,
        settings.source,
        settings.video_config(),
        work_dir=Path(settings.store) / ".downloads",
        threads=threads,
        telemetry=telemetry,
    )
    label = [
        LabelStage(store, matcher, settings.pairing, executor=executor, telemetry=telemetry) for matcher in matchers
    ]
    propagate = PropagateStage(
        store,
        settings.recipe_record().name,
        settings.propagation,
        settings.pairing.base_intervals,
        matcher_ids=ids,
        required_matcher_ids=tuple(
            matcher_id
            for matcher_id, matcher in zip(ids, matchers, strict=True)
            if matcher.name in settings.required_matchers
        ),
        guide_matcher=next((matcher for matcher in matchers if isinstance(matcher, SparseMatcher)), None),
        keep_features=settings.run.keep_features,
        executor=executor,
        telemetry=telemetry,
    )
    return [ingest, *label, propagate]
