"""The parts of a run that keeps features: wrapped, and all their features made before the first step."""

import os
from collections.abc import Callable, Sequence

from gim.errors import ConfigError
from gim.training.augment.config import SYNTHETIC, augment_recipe
from gim.training.config import TrainingConfig
from gim.training.data.opening import OpenedPart
from gim.training.data.parts import Part
from gim.training.data.posed.part import PosedPart
from gim.training.distributed import Ranks
from gim.training.features.cache import FeatureCache
from gim.training.features.extractor import FrozenExtractor
from gim.training.features.part import FeaturePart
from gim.training.features.prepare import Progress, prepare
from gim.training.samples import FeatureSample, Sample


def kept_parts(
    parts: Sequence[OpenedPart[Sample]],
    extractor: FrozenExtractor,
    config: TrainingConfig,
    ranks: Ranks,
    *,
    say: Callable[[str], None] = lambda _: None,
    report: Progress = lambda _done, _total: None,
) -> list[OpenedPart[FeatureSample]]:
    """The parts as features; all processes call this, and each makes its share.

    Args:
        parts: of images.
        extractor: sees them.
        config: of the run; `features.variants` is at least 1.
        ranks: the processes that share the work.
        say: told in a line why features are not kept, if they are not.
        report: told of the pairs that are done, and of all, of this process; a pair counts once per augmentation.

    Raises:
        ConfigError: a part is a posed set, whose features cannot be kept.
        CorruptObject, KeyMissing, Unavailable: of the parts' groups.
    """
    cache = FeatureCache.of(config.features, say)
    wrapped = [_wrapped(item.part, extractor, cache, config) for item in parts]
    threads = config.reader.threads or max(len(os.sched_getaffinity(0)) - 1, 1)
    prepare(wrapped, rank=ranks.rank, world_size=ranks.world_size, threads=threads, report=report)
    ranks.barrier()
    return [OpenedPart(part, item.share) for part, item in zip(wrapped, parts, strict=True)]


def _wrapped(
    part: Part[Sample], extractor: FrozenExtractor, cache: FeatureCache, config: TrainingConfig
) -> FeaturePart:
    if isinstance(part, PosedPart):  # before hours go into the other parts
        raise ConfigError(
            f"features.variants {config.features.variants}: features of posed set {part.name} cannot be kept, since "
            "their depth takes more room than their images; set it to 0, or mix.posed to 0"
        )
    sample = config.sample
    return FeaturePart(
        part,
        extractor,
        cache,
        variants=config.features.variants,
        made_with=(sample, augment_recipe(sample.augment), SYNTHETIC),
        max_labels=sample.max_labels,
    )
