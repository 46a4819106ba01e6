"""Base labels and features of one shot, read from the Store as propagation asks for them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gim import codecs, keys
from gim.errors import KeyMissing
from gim.labels.chains import Guide
from gim.labels.fusion import fuse_labels
from gim.labels.pairing import LABELLED
from gim.matchers.base import SparseMatcher
from gim.ports.store import Store
from gim.records import (
    Features,
    Float32Array,
    FrameManifest,
    Int32Array,
    SegmentFeatures,
    SegmentLabels,
    Teacher,
    Uint8Array,
)
from gim.stages.samples import SampleReader

_IMAGES_HELD = 96
_SEGMENTS_HELD = 4  # chains look ahead; what is needed again is read again


class StoredLabels:
    """The `LabelSource` of one shot: several matchers' labels fused, and one sparse matcher's features.

    Args:
        store: where labels and features lie.
        manifest: of the video.
        shot: index of the shot.
        matcher_ids: whose labels are fused, in order.
        unique: fuse one-to-one.
        guide_matcher: whose features guide re-matching; None: no guidance.
        reader: of frames, for features that are not in the store any more.
    """

    def __init__(
        self,
        store: Store,
        manifest: FrameManifest,
        shot: int,
        matcher_ids: Sequence[str],
        *,
        unique: bool,
        guide_matcher: SparseMatcher | None,
        reader: SampleReader,
    ) -> None:
        self._manifest = manifest
        self._guide_matcher = guide_matcher
        own = [segment for segment in manifest.segments if segment.shot == shot]
        self._segment_of = {
            sample: segment
            for segment in own
            for sample in range(segment.first_sample, segment.first_sample + segment.num_samples)
        }
        # Caches of our own methods would be cycles: tens of MB that outlive the shot until a collection finds them.
        segments = _StoredSegments(store, manifest, tuple(matcher_ids), unique, guide_matcher, reader)
        self._grey = lru_cache(maxsize=_IMAGES_HELD)(lambda sample: reader.grey(manifest, sample))
        self._labels = lru_cache(maxsize=_SEGMENTS_HELD)(segments.labels)
        self._features = lru_cache(maxsize=_SEGMENTS_HELD)(segments.features)

    def base(self, start: int, interval: int) -> Float32Array | None:
        """Fused base correspondences of samples start and start + interval; None when no matcher labelled them."""
        segment = self._segment_of.get(start)
        if segment is None or start + interval not in self._segment_of:
            return None
        return self._labels(segment.index).get(self._frames(start, start + interval))

    def guide(self, start: int, end: int) -> Guide | None:
        """Features of two samples, or None without a sparse matcher."""
        matcher = self._guide_matcher
        if matcher is None:
            return None
        features0, features1 = self._features_of(start), self._features_of(end)

        def distance(candidates: Int32Array) -> Float32Array:
            return matcher.distance(features0, features1, candidates)

        return Guide(features0.keypoints, features1.keypoints, distance)

    def grey(self, sample: int) -> Uint8Array:
        """The image of a sample, uint8 [H, W]."""
        return self._grey(sample)

    def _frames(self, start: int, end: int) -> tuple[int, int]:
        return self._manifest.frame_indices[start], self._manifest.frame_indices[end]

    def _features_of(self, sample: int) -> Features:
        segment = self._segment_of[sample]
        packed = self._features(segment.index)
        row = sample - segment.first_sample
        rows = slice(packed.offsets[row], packed.offsets[row + 1])
        return Features(packed.keypoints[rows], packed.descriptors[rows])


@dataclass(frozen=True, slots=True)
class _StoredSegments:
    """Reads labels and features of whole segments."""

    store: Store
    manifest: FrameManifest
    matcher_ids: tuple[str, ...]
    unique: bool
    guide_matcher: SparseMatcher | None
    reader: SampleReader

    def labels(self, segment: int) -> dict[tuple[int, int], Float32Array]:
        """Fused base correspondences by frames."""
        found: dict[tuple[int, int], list[Float32Array]] = {}
        for labels in _labels_of_segment(self.store, self.manifest, segment, self.matcher_ids):
            for row in np.flatnonzero(labels.outcomes == LABELLED):
                frame0, frame1 = (int(frame) for frame in labels.frames[row])
                points = labels.correspondences[labels.offsets[row] : labels.offsets[row + 1]]
                found.setdefault((frame0, frame1), []).append(points)
        return {frames: fuse_labels(labels, unique=self.unique) for frames, labels in found.items()}

    def features(self, segment_index: int) -> SegmentFeatures:
        """Features of the frames of a segment, remade if they are not there any more."""
        matcher, manifest = self.guide_matcher, self.manifest
        assert matcher is not None
        extractor_id = self.reader.masked_id(matcher.extractor_id)
        key = keys.segment_features(manifest.video_id, manifest.sampling_id, extractor_id, segment_index)
        try:
            return codecs.from_npz(SegmentFeatures, self.store.get(key))
        except KeyMissing:
            return self._remake_features(matcher, segment_index)

    def _remake_features(self, matcher: SparseMatcher, segment_index: int) -> SegmentFeatures:
        segment = self.manifest.segments[segment_index]
        samples = range(segment.first_sample, segment.first_sample + segment.num_samples)
        features: list[Features] = []
        while len(features) < len(samples):
            batch = samples[len(features) : len(features) + matcher.batch_size]
            images = [self.reader.image(self.manifest, sample, in_colour=matcher.wants_colour) for sample in batch]
            masks = [self.reader.mask(self.manifest, segment.shot, sample) for sample in batch]
            features += matcher.extract_batch(images, masks)
        return SegmentFeatures.pack([self.manifest.frame_indices[sample] for sample in samples], features)


def count_outcomes(
    store: Store, manifest: FrameManifest, matcher_ids: Sequence[str]
) -> tuple[dict[str, int], dict[str, int], dict[str, dict[str, int]]]:
    """Base pairs attempted, labelled, and rejected by reason, each by matcher id."""
    outcomes: dict[str, Counter[str]] = {matcher_id: Counter() for matcher_id in matcher_ids}
    for segment in manifest.segments:
        for matcher_id in matcher_ids:
            key = keys.segment_labels(manifest.video_id, manifest.sampling_id, matcher_id, segment.index)
            outcomes[matcher_id].update(codecs.from_npz(SegmentLabels, store.get(key)).outcomes.tolist())
    return (
        {matcher_id: counter.total() for matcher_id, counter in outcomes.items()},
        {matcher_id: counter[LABELLED] for matcher_id, counter in outcomes.items()},
        {
            matcher_id: {reason: count for reason, count in sorted(counter.items()) if reason != LABELLED}
            for matcher_id, counter in outcomes.items()
        },
    )


def complete_matchers(store: Store, manifest: FrameManifest, matcher_ids: Sequence[str]) -> list[str]:
    """Those of the matcher ids that have labelled every segment of the video."""
    return [
        matcher_id
        for matcher_id in matcher_ids
        if all(
            store.exists(keys.segment_labels(manifest.video_id, manifest.sampling_id, matcher_id, segment.index))
            for segment in reversed(manifest.segments)  # the last one is the likeliest to be missing
        )
    ]


def _labels_of_segment(
    store: Store, manifest: FrameManifest, segment: int, matcher_ids: Sequence[str]
) -> list[SegmentLabels]:
    return [
        codecs.from_npz(
            SegmentLabels,
            store.get(keys.segment_labels(manifest.video_id, manifest.sampling_id, matcher_id, segment)),
        )
        for matcher_id in matcher_ids
    ]


def teachers_of(store: Store, manifest: FrameManifest, matcher_ids: Sequence[str]) -> tuple[Teacher, ...]:
    """What made the labels of these matcher ids, in their order, as the labels themselves say."""
    if not manifest.segments:
        return ()
    first = _labels_of_segment(store, manifest, manifest.segments[0].index, matcher_ids)
    return tuple(
        codecs.from_json(Teacher, str(labels.teacher[0]).encode()) for labels in first if labels.teacher is not None
    )
