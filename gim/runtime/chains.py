"""How far the videos of a store have come under one set of settings, and the bells that make them go on.

The store is the truth and the bus a doorbell, so what is missing can be read off the manifests alone.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gim import codecs, keys
from gim.errors import CorruptObject, KeyMissing
from gim.matchers.base import Matcher
from gim.ports.store import Store
from gim.records import FrameManifest, PairsManifest, VideoMeta
from gim.results import results_of
from gim.runtime.inventory import source_fault
from gim.runtime.wiring import load_matchers, matcher_ids
from gim.settings import Settings
from gim.stages.deployed import deployed_labels_id
from gim.stages.ingest import sampling_id, segment_events
from gim.stages.labelled import complete_matchers
from gim.stages.propagate import recipe_id
from gim.wire.topics import Event
from gim.wire.v1 import events_pb2

FRAMES, LABELS, PAIRS = "frames", "labels", "pairs"  # what a stopped chain lacks first


@dataclass(frozen=True, slots=True)
class StoppedVideo:
    """A video whose chain stopped, and what came of it."""

    video_id: str
    source: str
    lacks: str  # FRAMES, LABELS or PAIRS; empty when that cannot be read
    status: str = "stopped"  # then finished, failed, unfinished; on a cluster rung, queued, dead
    num_pairs: int = 0
    error: str = ""  # one line
    exit_code: int = 0


class Chains:
    """Reads a store under one set of settings."""

    def __init__(
        self, store: Store, root: Path | None, settings: Settings, matchers: Sequence[Matcher] | None = None
    ) -> None:
        """Read a store.

        Args:
            store: to read.
            root: its folder; None for one on a cluster.
            settings: of the work.
            matchers: those of the settings, if they are loaded. On a cluster the deployed ones count.

        Raises:
            Unavailable: on a cluster: a matcher has not announced itself yet.
            GimError: as for `load_matchers`.
        """
        self._store = store
        self._root = root
        self._settings = settings
        self._sampling_id = sampling_id(settings.video_config())
        if root is None:
            self._matcher_ids = tuple(deployed_labels_id(store, name) for name in settings.matchers)
        else:
            self._matcher_ids = matcher_ids(settings, matchers or load_matchers(settings))

    def in_work(self) -> frozenset[str]:
        """Ids below which a run with these settings would still complete what is unfinished."""
        return frozenset({self._sampling_id, self._recipe_id(list(self._matcher_ids))})

    def stopped(self, also: Collection[str] = ()) -> Iterator[StoppedVideo]:
        """Every video to take up, by id: one of which nothing was ever finished, one begun under these settings and not
        finished, and those of `also` that are not finished under them.
        """
        for key in list(self._store.list("videos/")):
            if not key.endswith("/meta.json"):
                continue
            video_id = key.split("/")[1]
            try:
                found = self._stopped(codecs.from_json(VideoMeta, self._store.get(key)), also)
            except CorruptObject as error:
                found = StoppedVideo(video_id, "", "", "failed", error=f"{video_id}: {error}", exit_code=2)
            if found is not None:
                yield found

    def result(self, video_id: str) -> PairsManifest | None:
        """The result of a video under these settings, if it is finished."""
        with_all = self._result(video_id, self._matcher_ids)  # nearly always: then no label is looked for
        frames = None if with_all else self.frames(video_id)
        if frames is None:
            return with_all
        return self._result(video_id, complete_matchers(self._store, frames, self._matcher_ids))

    def bells(self, video_id: str) -> list[tuple[str, Event]]:
        """The events that were lost: those that make the chain go on from where it stopped."""
        frames = self.frames(video_id)
        if frames is None:
            source = self.request(video_id)
            return [(source, events_pb2.VideoRequested(source=source))]
        missing = self._missing_segments(frames)
        if not missing:
            ready = events_pb2.LabelsReady(video_id=video_id, sampling_id=self._sampling_id)
            return [(video_id, ready)]
        rung = {keys.segment_id(video_id, self._sampling_id, segment) for segment in missing}
        return [(key, event) for key, event in segment_events(frames) if key in rung]

    def last_bell(self, video_id: str) -> list[tuple[str, Event]]:
        """For a video that some matchers have labelled and others failed on: no more labels will come."""
        frames = self.frames(video_id)
        if frames is None or self.result(video_id) is not None:
            return []
        return [(video_id, events_pb2.LabelsReady(video_id=video_id, sampling_id=self._sampling_id, final=True))]

    def request(self, video_id: str) -> str:
        """A source that leads to this video without the network: its stored file, or the id of a YouTube video."""
        if self._root is None:
            return video_id
        if video_id.startswith("yt-"):
            return f"https://www.youtube.com/watch?v={video_id.removeprefix('yt-')}"
        meta = codecs.from_json(VideoMeta, self._store.get(keys.video_meta(video_id)))
        return str((self._root / meta.source_key).absolute())

    def _stopped(self, meta: VideoMeta, also: Collection[str]) -> StoppedVideo | None:
        video_id = meta.video_id
        if self.result(video_id) is not None or not (video_id in also or self._is_ours(video_id)):
            return None
        frames = self.frames(video_id)
        if frames is not None:
            lacks = LABELS if self._missing_segments(frames) else PAIRS
            return StoppedVideo(video_id, meta.provenance.source, lacks)
        # Another file than the one the video is named after would become another video.
        fault = source_fault(self._store, meta)
        if fault:
            error = f"{video_id}: {fault}; purge it and run its source again"
            return StoppedVideo(video_id, meta.provenance.source, FRAMES, "failed", error=error, exit_code=2)
        return StoppedVideo(video_id, meta.provenance.source, FRAMES)

    def _is_ours(self, video_id: str) -> bool:
        """Whether nothing of the video was ever finished, or something was begun that only these settings explain."""
        finished = list(results_of(self._store, video_id))
        if not finished:
            return True
        if self._sampling_id not in {result.sampling_id for result in finished}:
            return self._holds(keys.frames_prefix(video_id, self._sampling_id))
        used = {matcher for result in finished for matcher in result.matcher_ids}
        begun = [
            keys.labels_prefix(video_id, self._sampling_id, matcher)
            for matcher in self._matcher_ids
            if matcher not in used
        ]
        begun += [keys.pairs_prefix(video_id, self._recipe_id(ids)) for ids in (self._matcher_ids, used)]
        return any(self._holds(prefix) for prefix in begun)

    def _holds(self, prefix: str) -> bool:
        return next(self._store.list(prefix), None) is not None

    def frames(self, video_id: str) -> FrameManifest | None:
        """The sampled frames of a video under these settings, if they are all there."""
        key = keys.frame_manifest(video_id, self._sampling_id)
        return codecs.from_json(FrameManifest, self._store.get(key)) if self._store.exists(key) else None

    def _missing_segments(self, frames: FrameManifest) -> list[int]:
        """Segments that some matcher has neither labelled nor given up."""
        there = {
            (matcher, key.rpartition("/")[2].partition(".")[0])
            for matcher in self._matcher_ids
            for prefix_of in (keys.labels_prefix, keys.failures_prefix)
            for key in self._store.list(prefix_of(frames.video_id, self._sampling_id, matcher))
        }
        wanted = [segment.index for segment in frames.segments]
        return [
            index for index in wanted if any((matcher, f"{index:05d}") not in there for matcher in self._matcher_ids)
        ]

    def _result(self, video_id: str, used: Collection[str]) -> PairsManifest | None:
        """The result that is made of the labels of these matchers, if it is there."""
        try:
            key = keys.pairs_manifest(video_id, self._recipe_id(used))
            return codecs.from_json(PairsManifest, self._store.get(key))
        except KeyMissing:
            return None

    def _recipe_id(self, used: Collection[str]) -> str:
        ordered = [matcher for matcher in self._matcher_ids if matcher in used]
        return recipe_id(self._settings.recipe_record().name, self._settings.propagation, self._sampling_id, ordered)
