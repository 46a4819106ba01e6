"""Builds the stages from the settings: the one place that knows which parts make the pipeline."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from itertools import chain
from pathlib import Path

from gim.matchers import registry
from gim.matchers.base import Matcher, SparseMatcher
from gim.matchers.network import ModelResources
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry
from gim.runtime.trained import with_runs
from gim.settings import Settings
from gim.stages.base import Stage
from gim.stages.ingest import IngestStage
from gim.stages.label import LabelStage, labels_id
from gim.stages.propagate import PropagateStage
from gim.video.segmenter import Segmenter
from gim.video.segmenters import registry as segmenters


def weight_names(settings: Settings) -> list[str]:
    """The weights that the matchers and the segmenter of the settings ask for, each once, without looking for them.

    Raises:
        UnknownMatcher, ConfigError: as for `load_matchers` and `load_segmenter`.
    """
    settings = with_runs(settings)
    asked = [registry.weight_names(name, settings.matcher.get(name)) for name in settings.matchers]
    names = list(chain.from_iterable(asked))
    if settings.segmenter.name:
        names += segmenters.segmenter_class(settings.segmenter.name).weight_names(settings.segmenter)
    return list(dict.fromkeys(names))


def load_matchers(settings: Settings) -> list[Matcher]:
    """The matchers the settings name, in order.

    Raises:
        UnknownMatcher: there is none of that name, or it cannot run here.
        ConfigError: its settings are wrong.
        InvalidInput, Unavailable, LicenceRefused: its weights are damaged, not to be had, or not allowed.
    """
    settings = with_runs(settings)
    resources = ModelResources(settings.inference, settings.weights)
    return [registry.load_matcher(name, settings.matcher.get(name), resources) for name in settings.matchers]


def load_segmenter(settings: Settings) -> Segmenter | None:
    """The segmenter the settings name, if any.

    Raises:
        ConfigError, InvalidInput, Unavailable, LicenceRefused: as for `load_matchers`.
    """
    return segmenters.load_segmenter(settings.segmenter, settings.inference, settings.weights)


def matcher_ids(settings: Settings, matchers: Sequence[Matcher]) -> tuple[str, ...]:
    """Ids under which the labels of these matchers are stored."""
    segmenter = load_segmenter(settings)
    return tuple(labels_id(matcher, settings.pairing, segmenter) for matcher in matchers)


def choose_guide(matchers: Sequence[Matcher]) -> SparseMatcher | None:
    """The matcher whose features guide re-matching: the first that has features, but a network only for want of others.

    Beside ALIKED, XFeat or LighterGlue, RootSIFT's features find 1 % fewer to 38 % more, and chains reach farther
    (docs/running.md); and propagating by them needs no network. Alone the networks guide well too.
    """
    sparse = (matcher for matcher in matchers if isinstance(matcher, SparseMatcher))
    return min(sparse, key=lambda matcher: matcher.is_batched, default=None)


def guide_name(settings: Settings) -> str | None:
    """The name of the matcher that `choose_guide` would choose among those of the settings, without loading any."""
    kinds = {name: registry.described_class(name, settings.matcher.get(name)) for name in settings.matchers}
    sparse = [name for name, kind in kinds.items() if issubclass(kind, SparseMatcher)]
    return min(sparse, key=lambda name: kinds[name].is_batched, default=None)


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
    segmenter = load_segmenter(settings)
    label = [
        LabelStage(store, matcher, settings.pairing, executor=executor, telemetry=telemetry, segmenter=segmenter)
        for matcher in matchers
    ]
    found = [labels_id(matcher, settings.pairing, segmenter) for matcher in matchers]
    ids = dict(zip(settings.matchers, found, strict=True))
    propagate = propagate_stage(
        settings,
        store,
        telemetry,
        executor,
        matcher_ids=lambda: ids,
        guide_matcher=choose_guide(matchers),
        segmenter=segmenter,
    )
    ingest = ingest_stage(settings, store, telemetry, threads, Path(settings.store) / ".downloads")
    return [ingest, *label, propagate]


def ingest_stage(settings: Settings, store: Store, telemetry: Telemetry, threads: int, work_dir: Path) -> IngestStage:
    """The stage that takes videos in; `work_dir` is for what is being downloaded."""
    return IngestStage(
        store, settings.source, settings.video_config(), work_dir=work_dir, threads=threads, telemetry=telemetry
    )


def propagate_stage(
    settings: Settings,
    store: Store,
    telemetry: Telemetry,
    executor: Executor,
    *,
    matcher_ids: Callable[[], Mapping[str, str]],
    guide_matcher: SparseMatcher | None,
    segmenter: Segmenter | None,
) -> PropagateStage:
    """The stage that makes training pairs, of the labels under the ids that `matcher_ids` gives by matcher name."""
    return PropagateStage(
        store,
        settings.recipe_record().name,
        settings.propagation,
        settings.pairing.base_intervals,
        matcher_ids=matcher_ids,
        required_matchers=settings.required_matchers,
        guide_matcher=guide_matcher,
        segmenter=segmenter,
        keep_features=settings.run.keep_features,
        executor=executor,
        telemetry=telemetry,
    )
