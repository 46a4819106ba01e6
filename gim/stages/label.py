"""Label: one matcher's base labels of one segment of sampled frames."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from itertools import count
from typing import Any

import numpy as np

from gim import codecs, keys
from gim.geometry.robust import pair_seed
from gim.labels.config import PairingConfig
from gim.labels.pairing import LABELLED, PairLabel, base_pairs, label_pair
from gim.matchers.base import Matcher, SparseMatcher, correspondences_of
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry
from gim.records import Correspondences, Features, FrameManifest, Segment, SegmentFeatures, SegmentLabels
from gim.stages.samples import SampleReader
from gim.video.segmenter import Segmenter
from gim.wire import topics
from gim.wire.topics import Event
from gim.wire.v1 import events_pb2

REVISION = 2  # bumped when the same settings give other labels


def labels_id(matcher: Matcher, config: PairingConfig, segmenter: Segmenter | None = None) -> str:
    """The matcher id under which labels are stored: the matcher, the pairs, the fit, the masks."""
    masked = segmenter.name if segmenter else ""
    return keys.config_id(matcher.name, REVISION, matcher.identity, config, masked)


class LabelStage:
    """SegmentReady -> LabelsReady."""

    name = "label"
    topic = topics.SEGMENTS
    max_seconds = 3600.0

    def __init__(
        self,
        store: Store,
        matcher: Matcher,
        config: PairingConfig,
        *,
        executor: Executor,
        telemetry: Telemetry,
        segmenter: Segmenter | None = None,
    ) -> None:
        self.group = f"label-{matcher.name}"
        self._store = store
        self._matcher = matcher
        self._config = config
        self._labels_id = labels_id(matcher, config, segmenter)
        self._executor = executor
        self._telemetry = telemetry
        self._samples = SampleReader(store, segmenter)
        self._features: dict[tuple[str, str, int], Features] = {}

    def handle(self, event: Event) -> Iterable[tuple[str, Event]]:
        ready = topics.expect(event, events_pb2.SegmentReady)
        manifest = self._samples.manifest(ready.video_id, ready.sampling_id)
        segment = manifest.segments[ready.segment]
        key = keys.segment_labels(ready.video_id, ready.sampling_id, self._labels_id, ready.segment)
        if self._store.exists(key):
            labels = codecs.from_npz(SegmentLabels, self._store.get(key))
        else:
            labels = self._label(manifest, segment)
            self._store.put(key, codecs.to_npz(labels))
        num_labelled = int(np.count_nonzero(labels.outcomes == LABELLED))
        self._telemetry.count("pairs_labelled", num_labelled, ready.video_id, matcher=self._matcher.name)
        self._telemetry.progress(ready.video_id, "label", segment.index + 1, len(manifest.segments))
        done = events_pb2.LabelsReady(
            video_id=ready.video_id,
            sampling_id=ready.sampling_id,
            segment=ready.segment,
            matcher_id=self._labels_id,
            num_pairs=num_labelled,
            num_correspondences=len(labels.correspondences),
        )
        yield ready.video_id, done

    def _label(self, manifest: FrameManifest, segment: Segment) -> SegmentLabels:
        pairs = base_pairs(manifest, segment, self._config.base_intervals)
        if isinstance(self._matcher, SparseMatcher):
            match = self._sparse_match(self._matcher, manifest, segment, pairs)
        else:
            match = self._dense_match(manifest, segment)

        def label(sample0: int, sample1: int) -> PairLabel:
            with self._telemetry.step("matching", manifest.video_id):
                correspondences = match(sample0, sample1)
            seed = pair_seed(self._config.fit.seed, sample0, sample1)
            with self._telemetry.step("fitting", manifest.video_id):
                result = label_pair(correspondences, self._config, seed=seed)
            done = segment.index + next(number) / (len(pairs) + 1)  # a whole number only when its labels are stored
            self._telemetry.progress(manifest.video_id, "label", done, len(manifest.segments))
            return result

        number = count(1)
        results = self._run_all(label, pairs)
        return _segment_labels([_frames(manifest, pair) for pair in pairs], results)

    def _run_all(self, function: Callable[..., Any], items: Sequence[tuple[Any, ...]]) -> list[Any]:
        return list(self._executor.map(lambda item: function(*item), items))

    def _sparse_match(
        self, matcher: SparseMatcher, manifest: FrameManifest, segment: Segment, pairs: Sequence[tuple[int, int]]
    ) -> Callable[[int, int], Correspondences]:
        own = range(segment.first_sample, segment.first_sample + segment.num_samples)
        needed = sorted(set(own) | {sample for pair in pairs for sample in pair})
        features = self._features_of(matcher, manifest, segment.shot, needed)
        key = keys.segment_features(manifest.video_id, manifest.sampling_id, matcher.extractor_id, segment.index)
        with self._telemetry.step("store", manifest.video_id):
            frames = [manifest.frame_indices[sample] for sample in own]
            packed = SegmentFeatures.pack(frames, [features[sample] for sample in own])
            self._store.put(key, codecs.to_npz(packed))

        def match(sample0: int, sample1: int) -> Correspondences:
            matches, confidence = matcher.match_features(features[sample0], features[sample1])
            return correspondences_of(features[sample0], features[sample1], matches, confidence)

        return match

    def _features_of(
        self, matcher: SparseMatcher, manifest: FrameManifest, shot: int, samples: Sequence[int]
    ) -> dict[int, Features]:
        """Features of samples of one shot; those a segment shares with the one before are held, not made again."""
        cache_key = (manifest.video_id, manifest.sampling_id)
        held = {s: self._features[*cache_key, s] for s in samples if (*cache_key, s) in self._features}
        missing = [(sample,) for sample in samples if sample not in held]

        def extract(sample: int) -> Features:
            with self._telemetry.step("features", manifest.video_id):
                grey = self._samples.grey(manifest, sample)
                return matcher.extract(grey, self._samples.mask(manifest, shot, sample))

        made = self._run_all(extract, missing)
        features = held | {sample: item for (sample,), item in zip(missing, made, strict=True)}
        overlap = samples[-max(self._config.base_intervals) :]
        self._features = {(*cache_key, sample): features[sample] for sample in overlap}
        return features

    def _dense_match(self, manifest: FrameManifest, segment: Segment) -> Callable[[int, int], Correspondences]:
        def match(sample0: int, sample1: int) -> Correspondences:
            images = [self._samples.rgb(manifest, sample) for sample in (sample0, sample1)]
            masks = [self._samples.mask(manifest, segment.shot, sample) for sample in (sample0, sample1)]
            return self._matcher.match(images[0], images[1], masks[0], masks[1])

        return match


def _frames(manifest: FrameManifest, pair: tuple[int, int]) -> tuple[int, int]:
    return manifest.frame_indices[pair[0]], manifest.frame_indices[pair[1]]


def _segment_labels(frames: Sequence[tuple[int, int]], results: Sequence[PairLabel]) -> SegmentLabels:
    empty = np.empty((0, 4), np.float32)
    return SegmentLabels(
        frames=np.array(frames, np.int64).reshape(-1, 2),
        outcomes=np.array([result.outcome for result in results], np.str_),
        num_matches=np.array([result.num_matches for result in results], np.int32),
        offsets=np.cumsum([0, *(len(result.points) for result in results)], dtype=np.int64),
        correspondences=np.vstack([empty, *(result.points for result in results)]),
        confidence=np.concatenate([empty[:, 0], *(result.confidence for result in results)]),
    )
