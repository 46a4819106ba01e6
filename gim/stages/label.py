"""Label: one matcher's base labels of one segment of sampled frames."""

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from itertools import count

import numpy as np

from gim import codecs, keys
from gim.geometry.robust import pair_seed
from gim.labels.config import PairingConfig
from gim.labels.pairing import LABELLED, PairLabel, base_pairs, label_pair
from gim.labels.zoom import match_zoomed
from gim.matchers.base import Matcher
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry
from gim.records import Correspondences, FrameManifest, ImagePair, Segment, SegmentLabels, Teacher
from gim.stages.deployed import SegmentFailure, announce_matcher
from gim.stages.matching import segment_matching
from gim.stages.samples import SampleReader
from gim.video.segmenter import Segmenter
from gim.wire import topics
from gim.wire.topics import Event
from gim.wire.v1 import events_pb2

REVISION = 3  # bumped when the same settings give other labels


def labels_id(matcher: Matcher, config: PairingConfig, segmenter: Segmenter | None = None) -> str:
    """The matcher id under which labels are stored: the matcher, the pairs, the fit, the masks."""
    masked = segmenter.segmenter_id if segmenter else ""
    return keys.config_id(matcher.name, REVISION, matcher.identity, config, masked)


def group_of(matcher: str) -> str:
    """The consumer group of a matcher: each has its own, so that a new one labels what others have labelled before."""
    return f"label-{keys.matcher_name(matcher)}"


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
        self.group = group_of(matcher.name)
        self._store = store
        self._matcher = matcher
        self._config = config
        self._labels_id = labels_id(matcher, config, segmenter)
        self._telemetry = telemetry
        self._samples = SampleReader(store, segmenter)
        overlap = max(config.base_intervals)
        self._matching = segment_matching(matcher, store, self._samples, overlap, executor, telemetry)

    def announce(self, name: str) -> None:
        """Tell whoever waits for this matcher's labels, by the name that settings call it, under which id they lie."""
        announce_matcher(self._store, name, self._labels_id)

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
            self._tell(manifest, segment, labels)
        self._store.delete(self._failure_key(ready))
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

    def give_up(self, event: Event, error: str, message: str) -> Iterable[tuple[str, Event]]:
        """The video goes on with the other matchers: why is stored, and the propagator told."""
        ready = topics.expect(event, events_pb2.SegmentReady)
        self._store.put(self._failure_key(ready), codecs.to_json(SegmentFailure(self._matcher.name, error, message)))
        failed = events_pb2.LabelsReady(
            video_id=ready.video_id,
            sampling_id=ready.sampling_id,
            segment=ready.segment,
            matcher_id=self._labels_id,
            failed=True,
        )
        yield ready.video_id, failed

    def _failure_key(self, ready: events_pb2.SegmentReady) -> str:
        return keys.segment_failure(ready.video_id, ready.sampling_id, self._labels_id, ready.segment)

    def _tell(self, manifest: FrameManifest, segment: Segment, labels: SegmentLabels) -> None:
        """What was made now, and not found; by outcome, as the funnel counts."""
        matcher, video_id = self._matcher.name, manifest.video_id
        seconds = segment.num_samples * manifest.step_seconds
        self._telemetry.count("labelled_video_seconds", seconds, video_id, matcher=matcher)
        for outcome, number in Counter(labels.outcomes.tolist()).items():
            self._telemetry.count("pairs", number, video_id, matcher=matcher, outcome=outcome)
        sizes = np.diff(labels.offsets)[labels.outcomes == LABELLED]
        self._telemetry.count("labelled_pairs", len(sizes), video_id, matcher=matcher)
        for size in sizes.tolist():
            self._telemetry.observe("correspondences_per_pair", size, video_id, matcher=matcher)

    def _label(self, manifest: FrameManifest, segment: Segment) -> SegmentLabels:
        pairs = base_pairs(manifest, segment, self._config.base_intervals)
        if self._samples.segmenter is not None:
            with self._telemetry.step("masks", manifest.video_id):
                self._samples.make_masks(manifest, sorted({sample for pair in pairs for sample in pair}))
        number = count(1)

        def label(pair: tuple[int, int], found: Correspondences) -> PairLabel:
            result = self._label_pair(manifest, segment, pair, found)
            done = segment.index + next(number) / (len(pairs) + 1)  # a whole number only when its labels are stored
            self._telemetry.progress(manifest.video_id, "label", done, len(manifest.segments))
            return result

        results = self._matching.run(manifest, segment, pairs, label)
        teacher = self._matcher.teacher
        if self._samples.segmenter is not None:
            masking = self._samples.segmenter
            teacher = replace(teacher, segmenter=masking.name, segmenter_weights=masking.weights)
        return _segment_labels([_frames(manifest, pair) for pair in pairs], results, teacher)

    def _label_pair(
        self, manifest: FrameManifest, segment: Segment, pair: tuple[int, int], found: Correspondences
    ) -> PairLabel:
        seed = pair_seed(self._config.fit.seed, *pair)
        with self._telemetry.step("fitting", manifest.video_id):
            result = label_pair(found, self._config, seed=seed)
        if self._config.zoom is None or result.outcome == LABELLED:
            return result
        images = self._matching.image_pair(manifest, segment, pair, in_colour=self._matcher.wants_colour)
        with self._telemetry.step("zooming", manifest.video_id):
            zoomed = match_zoomed(images, found.points, self._match_one, self._config.zoom)
        if zoomed is None:
            return result
        with self._telemetry.step("fitting", manifest.video_id):
            again = label_pair(zoomed, self._config, seed=seed)
        return again if again.outcome == LABELLED else result

    def _match_one(self, pair: ImagePair) -> Correspondences:
        (found,) = self._matcher.match_pairs([pair])
        return found


def _frames(manifest: FrameManifest, pair: tuple[int, int]) -> tuple[int, int]:
    return manifest.frame_indices[pair[0]], manifest.frame_indices[pair[1]]


def _segment_labels(frames: Sequence[tuple[int, int]], results: Sequence[PairLabel], teacher: Teacher) -> SegmentLabels:
    empty = np.empty((0, 4), np.float32)
    return SegmentLabels(
        frames=np.array(frames, np.int64).reshape(-1, 2),
        outcomes=np.array([result.outcome for result in results], np.str_),
        num_matches=np.array([result.num_matches for result in results], np.int32),
        offsets=np.cumsum([0, *(len(result.points) for result in results)], dtype=np.int64),
        correspondences=np.vstack([empty, *(result.points for result in results)]),
        confidence=np.concatenate([empty[:, 0], *(result.confidence for result in results)]),
        teacher=np.array([codecs.to_json(teacher).decode()], np.str_),
    )
