"""A part of the mixture seen through a frozen extractor, each pair in a few fixed ways that are kept on disk."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from typing import Any

from gim.errors import CorruptObject
from gim.training.data.parts import Draw, Group, Part
from gim.training.data.video import VideoPart
from gim.training.features.cache import FeatureCache, KeptKey
from gim.training.features.extractor import FrozenExtractor
from gim.training.features.kept_file import KeptFile, NoSample
from gim.training.features.records import PairEntry, packed_size
from gim.training.samples import FeatureSample, Sample, SampleSkipped

SEED_OF_VARIANTS = 0  # of the fixed augmentations: not the run's, so that runs with several seeds share them
_BATCH_PAIRS = 8  # decoded and augmented together, and seen by the extractor in one call
_BYTES_PER_ENTRY = 512  # of the index


class FeaturePart:
    """The pairs of another part as features. Of a pair, draw `epoch` gives the augmentation `epoch mod variants`."""

    def __init__(
        self,
        part: Part[Sample],
        extractor: FrozenExtractor,
        cache: FeatureCache,
        *,
        variants: int,
        made_with: Sequence[Any],
        max_labels: int = 2048,
    ) -> None:
        """Wrap a part; nothing is read or made yet.

        Args:
            part: gives the samples, not those of posed sets; its `identity` says when kept features are stale.
            extractor: sees them.
            cache: keeps what it saw.
            variants: fixed augmentations of a pair, at least 1.
            made_with: the settings that samples are made with (size, augmentation): records, texts and numbers.
            max_labels: of a pair (`sample.max_labels`), for the size that a group may take.
        """
        self.name = part.name
        self.group_sizes: Sequence[int] = part.group_sizes
        self.variants = variants
        self.cache = cache
        self.extractor = extractor
        self._part, self._made_with, self._max_labels = part, tuple(made_with), max_labels

    def identity(self, group: int) -> str:
        """What a group's features are made of and how, under all augmentations."""
        return f"{self.key(group, 0).digest} {self.variants}"

    @contextmanager
    def open(self, group: int) -> Iterator["FeatureGroup"]:
        """A group; its samples are fetched only when features of it have to be made, and then raise as the part's."""
        with ExitStack() as leaving:
            yield FeatureGroup(self, group, lambda: leaving.enter_context(self._part.open(group)))

    def key(self, group: int, variant: int) -> KeptKey:
        """What a group's features under one augmentation are kept by."""
        return KeptKey(
            part=self.name,
            group=self._part.identity(group),
            num_pairs=self.group_sizes[group],
            variant=variant,
            extractor=self.extractor.identity(of_labels=self.name == VideoPart.name),
            made_with=self._made_with,
        )

    def max_bytes(self, group: int) -> int:
        """The most that a group's features under one augmentation take."""
        most = self.extractor.settings.max_keypoints
        largest = PairEntry(
            "", "", num_points=self._max_labels, counts=(most, most), descriptor_size=self.extractor.descriptor_size
        )
        return self.group_sizes[group] * (packed_size(largest) + _BYTES_PER_ENTRY)


class FeatureGroup:
    """Features of a group, from disk or made; its methods may be called from many threads."""

    def __init__(self, part: FeaturePart, group: int, fetch: Callable[[], Group[Sample]]) -> None:
        self._part, self._group, self._fetch = part, group, fetch
        self._lock = threading.RLock()
        self._fetched: Group[Sample] | None = None
        self._kept: dict[int, KeptFile | None] = {}  # by variant; None: not kept

    def sample(self, index: int, draw: Draw) -> FeatureSample:
        """One pair; what is damaged on disk is made anew.

        Raises:
            SampleSkipped: the augmented pair gives no sample.
            CorruptObject: the group that features have to be made of is not what its manifest says.
        """
        variant = draw.epoch % self._part.variants
        for _ in range(2):
            kept = self.keep(variant)
            if kept is None:
                break
            try:
                return kept.sample(index)
            except CorruptObject:
                self._discard(variant, kept)
        return self._single(index, variant)

    def keep(
        self, variant: int, decoders: Executor | None = None, told: Callable[[int], None] = lambda _: None
    ) -> KeptFile | None:
        """The file of one augmentation, made now where it is not there; None where there is no room for it.

        Args:
            variant: which augmentation.
            decoders: threads that make samples while the extractor sees others.
            told: of every batch of pairs that was made, how many.
        """
        part, group = self._part, self._group
        with self._lock:
            if variant not in self._kept:
                key = part.key(group, variant)
                self._kept[variant] = part.cache.find(key) or part.cache.keep(
                    key, part.max_bytes(group), lambda: self._made(variant, decoders, told)
                )
            return self._kept[variant]

    def _discard(self, variant: int, damaged: KeptFile) -> None:
        with self._lock:
            if self._kept.get(variant) is damaged:  # else another thread was quicker
                del self._kept[variant]
                self._part.cache.discard(self._part.key(self._group, variant))

    def _single(self, index: int, variant: int) -> FeatureSample:
        sample = self._samples().sample(index, Draw(SEED_OF_VARIANTS, variant))
        self._part.cache.count_not_kept()
        return self._part.extractor.features([sample])[0]

    def _samples(self) -> Group[Sample]:
        with self._lock:
            if self._fetched is None:
                self._fetched = self._fetch()
            return self._fetched

    def _made(
        self, variant: int, decoders: Executor | None, told: Callable[[int], None]
    ) -> Iterator[FeatureSample | NoSample]:
        """Features of all pairs, in order."""
        for batch in self._batches(variant, decoders):
            samples = [item for item in batch if isinstance(item, Sample)]
            features = iter(self._part.extractor.features(samples))
            yield from (next(features) if isinstance(item, Sample) else item for item in batch)
            told(len(batch))

    def _batches(self, variant: int, decoders: Executor | None) -> Iterator[list[Sample | NoSample]]:
        """Samples of all pairs, in order; with decoders, the next batch is made while one is used."""
        group, num = self._samples(), self._part.group_sizes[self._group]
        batches = [range(start, min(start + _BATCH_PAIRS, num)) for start in range(0, num, _BATCH_PAIRS)]
        if decoders is None:
            for batch in batches:
                yield [_sample_of(group, index, variant) for index in batch]
            return
        begun = [[decoders.submit(_sample_of, group, index, variant) for index in batch] for batch in batches[:1]]
        for number in range(len(batches)):
            if number + 1 < len(batches):
                begun.append([decoders.submit(_sample_of, group, index, variant) for index in batches[number + 1]])
            yield [future.result() for future in begun.pop(0)]


def _sample_of(group: Group[Sample], index: int, variant: int) -> Sample | NoSample:
    try:
        return group.sample(index, Draw(SEED_OF_VARIANTS, variant))
    except SampleSkipped as skipped:
        return NoSample(skipped.reason, str(skipped).removeprefix(skipped.reason).removeprefix(": "))
