"""One matcher's correspondences of the pairs of a segment: what is computed of a frame alone is computed once.

Plain matchers work on frames and pairs in the threads of an executor. Networks get batches from one thread; what comes
of a batch is fitted by the executor while the next one is matched.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

from gim import codecs, keys
from gim.matchers.base import Matcher, SparseMatcher, correspondences_of
from gim.matchers.network import DenseMatcher, Encoded
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry
from gim.records import Correspondences, Features, FrameManifest, ImagePair, Segment, SegmentFeatures, Uint8Array
from gim.stages.samples import SampleReader

Pair = tuple[int, int]  # of samples
Use = Callable[[Pair, Correspondences], Any]  # what becomes of a pair's correspondences


class SegmentMatching(ABC):
    """Matches the pairs of one segment after another; holds what neighbouring segments share."""

    def __init__(
        self, store: Store, samples: SampleReader, overlap: int, executor: Executor, telemetry: Telemetry
    ) -> None:
        self._store = store
        self._samples = samples
        self._overlap = overlap  # samples that the next segment may need again
        self._executor = executor
        self._telemetry = telemetry

    @abstractmethod
    def run(self, manifest: FrameManifest, segment: Segment, pairs: Sequence[Pair], use: Use) -> list[Any]:
        """What `use` makes of each pair, in order."""

    def image_pair(self, manifest: FrameManifest, segment: Segment, pair: Pair, *, in_colour: bool) -> ImagePair:
        """The images and masks of a pair of samples."""
        image0, image1 = (self._samples.image(manifest, sample, in_colour=in_colour) for sample in pair)
        mask0, mask1 = (self._samples.mask(manifest, segment.shot, sample) for sample in pair)
        return ImagePair(image0, image1, mask0, mask1)

    def _loaded(
        self, manifest: FrameManifest, shot: int, samples: Sequence[int], *, in_colour: bool
    ) -> tuple[list[Uint8Array], list[Uint8Array | None]]:
        images = self._executor.map(lambda sample: self._samples.image(manifest, sample, in_colour=in_colour), samples)
        masks = self._executor.map(lambda sample: self._samples.mask(manifest, shot, sample), samples)
        return list(images), list(masks)


class PlainMatching(SegmentMatching):
    """Of a matcher that knows nothing but `match`."""

    def __init__(self, matcher: Matcher, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._matcher = matcher

    def run(self, manifest: FrameManifest, segment: Segment, pairs: Sequence[Pair], use: Use) -> list[Any]:
        def match(pair: Pair) -> Any:
            images = self.image_pair(manifest, segment, pair, in_colour=True)
            with self._telemetry.step("matching", manifest.video_id):
                (found,) = self._matcher.match_pairs([images])
            return use(pair, found)

        return list(self._executor.map(match, pairs))


class SparseMatching(SegmentMatching):
    """Of a matcher with features: each frame's once, stored for guided re-matching too."""

    def __init__(self, matcher: SparseMatcher, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._matcher = matcher
        self._held: dict[tuple[str, str, int], Features] = {}

    def run(self, manifest: FrameManifest, segment: Segment, pairs: Sequence[Pair], use: Use) -> list[Any]:
        own = range(segment.first_sample, segment.first_sample + segment.num_samples)
        needed = sorted(set(own) | {sample for pair in pairs for sample in pair})
        features = self._features_of(manifest, segment.shot, needed)
        self._store_features(manifest, segment, [features[sample] for sample in own])
        matches = self._match_batched if self._matcher.is_batched else self._match_in_threads
        return matches(manifest.video_id, pairs, features, use)

    def _match_in_threads(
        self, video_id: str, pairs: Sequence[Pair], features: dict[int, Features], use: Use
    ) -> list[Any]:
        def match(pair: Pair) -> Any:
            both = features[pair[0]], features[pair[1]]
            with self._telemetry.step("matching", video_id):
                found = correspondences_of(*both, *self._matcher.match_features(*both))
            return use(pair, found)

        return list(self._executor.map(match, pairs))

    def _match_batched(
        self, video_id: str, pairs: Sequence[Pair], features: dict[int, Features], use: Use
    ) -> list[Any]:
        used = []
        for chunk in _chunks(pairs, self._matcher.batch_size):
            both = [(features[first], features[second]) for first, second in chunk]
            with self._telemetry.step("matching", video_id):
                matched = self._matcher.match_features_batch(both)
            for pair, sides, found in zip(chunk, both, matched, strict=True):
                used.append(self._executor.submit(use, pair, correspondences_of(*sides, *found)))
        return [future.result() for future in used]

    def _store_features(self, manifest: FrameManifest, segment: Segment, features: Sequence[Features]) -> None:
        extractor_id = self._samples.masked_id(self._matcher.extractor_id)
        key = keys.segment_features(manifest.video_id, manifest.sampling_id, extractor_id, segment.index)
        with self._telemetry.step("store", manifest.video_id):
            frames = manifest.frame_indices[segment.first_sample : segment.first_sample + segment.num_samples]
            self._store.put(key, codecs.to_npz(SegmentFeatures.pack(frames, features)))

    def _features_of(self, manifest: FrameManifest, shot: int, samples: Sequence[int]) -> dict[int, Features]:
        """Features of samples of one shot; those a segment shares with the one before are held, not made again."""
        cache_key = (manifest.video_id, manifest.sampling_id)
        held = {sample: self._held[*cache_key, sample] for sample in samples if (*cache_key, sample) in self._held}
        missing = [sample for sample in samples if sample not in held]
        extract = self._extract_batched if self._matcher.is_batched else self._extract_in_threads
        features = held | dict(zip(missing, extract(manifest, shot, missing), strict=True))
        self._held = {(*cache_key, sample): features[sample] for sample in samples[-self._overlap :]}
        return features

    def _extract_in_threads(self, manifest: FrameManifest, shot: int, samples: Sequence[int]) -> Iterable[Features]:
        def extract(sample: int) -> Features:
            with self._telemetry.step("features", manifest.video_id):
                image = self._samples.image(manifest, sample, in_colour=self._matcher.wants_colour)
                return self._matcher.extract(image, self._samples.mask(manifest, shot, sample))

        return self._executor.map(extract, samples)

    def _extract_batched(self, manifest: FrameManifest, shot: int, samples: Sequence[int]) -> Iterator[Features]:
        for chunk in _chunks(samples, self._matcher.batch_size):
            images, masks = self._loaded(manifest, shot, chunk, in_colour=self._matcher.wants_colour)
            with self._telemetry.step("features", manifest.video_id):
                yield from self._matcher.extract_batch(images, masks)


class DenseMatching(SegmentMatching):
    """Of a dense network: the maps of a frame are held as long as a later pair may need them."""

    def __init__(self, matcher: DenseMatcher, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._matcher = matcher
        self._held: dict[tuple[str, str, int], Encoded] = {}

    def run(self, manifest: FrameManifest, segment: Segment, pairs: Sequence[Pair], use: Use) -> list[Any]:
        used = []
        for chunk in _chunks(pairs, self._matcher.batch_size):
            maps = self._encoded(manifest, segment.shot, chunk)
            with self._telemetry.step("matching", manifest.video_id):
                matched = self._matcher.match_encoded([(maps[first], maps[second]) for first, second in chunk])
            used += [self._executor.submit(use, pair, found) for pair, found in zip(chunk, matched, strict=True)]
        self._hold_from(manifest, segment.first_sample + segment.num_samples)
        return [future.result() for future in used]

    def _hold_from(self, manifest: FrameManifest, first: int) -> None:
        """Let go of all maps but those of a video's samples from `first` on, which later pairs may need."""
        video = (manifest.video_id, manifest.sampling_id)
        self._held = {key: maps for key, maps in self._held.items() if key[:2] == video and key[2] >= first}

    def _encoded(self, manifest: FrameManifest, shot: int, pairs: Sequence[Pair]) -> dict[int, Encoded]:
        """Maps of the samples of pairs, each made once as long as pairs come in order."""
        cache_key = (manifest.video_id, manifest.sampling_id)
        self._hold_from(manifest, min(sample for pair in pairs for sample in pair))
        needed = sorted({sample for pair in pairs for sample in pair})
        missing = [sample for sample in needed if (*cache_key, sample) not in self._held]
        images, masks = self._loaded(manifest, shot, missing, in_colour=self._matcher.wants_colour)
        with self._telemetry.step("features", manifest.video_id):
            made = self._matcher.encode(images, masks)
        self._held |= {(*cache_key, sample): maps for sample, maps in zip(missing, made, strict=True)}
        return {sample: self._held[*cache_key, sample] for sample in needed}


def segment_matching(
    matcher: Matcher,
    store: Store,
    samples: SampleReader,
    overlap: int,
    executor: Executor,
    telemetry: Telemetry,
) -> SegmentMatching:
    """The way of matching that fits a matcher."""
    arguments = (store, samples, overlap, executor, telemetry)
    if isinstance(matcher, SparseMatcher):
        return SparseMatching(matcher, *arguments)
    if isinstance(matcher, DenseMatcher):
        return DenseMatching(matcher, *arguments)
    return PlainMatching(matcher, *arguments)


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
