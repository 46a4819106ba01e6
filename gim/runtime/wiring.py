"""Builds the stages from the settings: the one place that knows which parts make the pipeline."""

from collections.abc import Sequence
from concurrent.futures import Executor
from itertools import chain
from pathlib import Path

from gim.matchers import registry
from gim.matchers.base import Matcher, SparseMatcher
from gim.matchers.network import ModelResources
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry
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
    ids = tuple(labels_id(matcher, settings.pairing, segmenter) for matcher in matchers)
    ingest = IngestStage(
        store,
        settings.source,
        settings.video_config(),
        work_dir=Path(settings.store) / ".downloads",
        threads=threads,
        telemetry=telemetry,
    )
    label = [
        LabelStage(store, matcher, settings.pairing, executor=executor, telemetry=telemetry, segmenter=segmenter)
        for matcher in matchers
    ]
    propagate = PropagateStage(
        store,
        settings.recipe_record().name,
        settings.propagation,
        settings.pairing.base_intervals,
        matcher_ids=ids,
        required_matcher_ids=tuple(
            matcher_id
            for matcher_id, name in zip(ids, settings.matchers, strict=True)
            if name in settings.required_matchers
        ),
        guide_matcher=choose_guide(matchers),
        segmenter=segmenter,
        keep_features=settings.run.keep_features,
        executor=executor,
        telemetry=telemetry,
    )
    return [ingest, *label, propagate]
