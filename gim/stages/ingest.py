"""Ingest: a requested source becomes a stored video, its sampled frames, and the segments to label."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from gim import codecs, keys
from gim.errors import InvalidInput
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry
from gim.records import FrameManifest, VideoMeta
from gim.stages.parallel_puts import ParallelPuts
from gim.video.config import SourceConfig, VideoConfig
from gim.video.decode import (
    DecodeProgress,
    FrameSampled,
    OverlayFound,
    VideoDecoded,
    VideoInfo,
    sample_video,
)
from gim.video.sources.expand import SkippedSource, Source, expand_source
from gim.video.sources.fetch import fetch_source
from gim.video.sources.library import drop_video, find_video
from gim.wire import topics
from gim.wire.topics import Event
from gim.wire.v1 import events_pb2

REVISION = 1  # bumped when the same settings give other frames, shots or masks


def sampling_id(config: VideoConfig) -> str:
    """Id of everything that shapes the sampled frames; the limits of decoding do not."""
    sampling = config.sampling
    step = f"{sampling.interval_frames}f" if sampling.interval_frames else f"{sampling.interval_seconds:g}s"
    return keys.config_id(step, REVISION, sampling, config.shots, config.motion, config.overlay)


class IngestStage:
    """VideoRequested -> SegmentReady for every segment; LabelsReady at once for a video that has none."""

    name = "ingest"
    topic = topics.INGEST
    group = "ingest"
    max_seconds = 6 * 3600.0

    def __init__(
        self,
        store: Store,
        source_config: SourceConfig,
        video_config: VideoConfig,
        *,
        work_dir: Path,
        threads: int,
        telemetry: Telemetry,
    ) -> None:
        self._store = store
        self._source_config = source_config
        self._video_config = video_config
        self._sampling_id = sampling_id(video_config)
        self._work_dir = work_dir
        self._threads = threads
        self._telemetry = telemetry

    def handle(self, event: Event) -> Iterable[tuple[str, Event]]:
        request = topics.expect(event, events_pb2.VideoRequested)
        meta = self._known(request.source)
        if meta is None:
            sources = self._expand(request.source)
            if len(sources) != 1:  # a folder, playlist or list reached the topic unexpanded
                for source in sources:
                    single = events_pb2.VideoRequested(source=source.text, requested_at_ms=request.requested_at_ms)
                    yield source.text, single
                return
            meta = fetch_source(
                sources[0], self._store, self._source_config, work_dir=self._work_dir, telemetry=self._telemetry
            )
        key = keys.frame_manifest(meta.video_id, self._sampling_id)
        if self._store.exists(key):
            manifest = codecs.from_json(FrameManifest, self._store.get(key))
        else:
            manifest = self._sampled(meta, request.source)
            self._store.put(key, codecs.to_json(manifest))
            self._telemetry.count("frames_sampled", len(manifest.frame_indices), meta.video_id)
        yield from segment_events(manifest)

    def _known(self, source: str) -> VideoMeta | None:
        """A video asked for by the id that the store has its file under, as `gim reconcile` does."""
        return find_video(self._store, source) if source.startswith("file-") and keys.is_video_id(source) else None

    def _expand(self, text: str) -> list[Source]:
        """The single videos that a request stands for; what of a list cannot be taken is counted.

        Raises:
            GimError: it stands for none.
        """
        skipped: list[SkippedSource] = []
        sources = list(expand_source(text, self._source_config, on_skip=skipped.append))
        if not sources:
            raise skipped[0].error
        for entry in skipped:
            self._telemetry.count("sources_skipped", 1, text, reason=entry.reason)
        return sources

    def _sampled(self, meta: VideoMeta, source: str) -> FrameManifest:
        """The manifest of the frames that were stored.

        Raises:
            InvalidInput: the decoder refuses the file for good; the store then holds nothing more of this attempt.
        """
        try:
            return self._sample(meta, source)
        except InvalidInput:
            self._forget(meta)
            raise

    def _forget(self, meta: VideoMeta) -> None:
        """Take a refused video out again: its frames, and itself unless other settings have made something of it."""
        for key in list(self._store.list(keys.frames_prefix(meta.video_id, self._sampling_id))):
            self._store.delete(key)
        made = (keys.frames_prefix(meta.video_id), keys.pairs_prefix(meta.video_id))
        if not any(next(self._store.list(prefix), None) for prefix in made):
            drop_video(self._store, meta)

    def _sample(self, meta: VideoMeta, source: str) -> FrameManifest:
        with self._store.fetch(meta.source_key) as path, ParallelPuts(partial(self._put, meta.video_id)) as puts:
            items = sample_video(path, self._video_config, threads=self._threads, name=meta.provenance.source)
            duration_seconds = 0.0
            for item in items:
                if isinstance(item, VideoDecoded):
                    return self._manifest(meta, item)
                if isinstance(item, VideoInfo):
                    duration_seconds = item.duration_seconds
                elif isinstance(item, DecodeProgress):
                    self._telemetry.progress(source, "decode", item.time_seconds, duration_seconds)
                else:
                    puts.put(*self._object(meta.video_id, item))
        raise AssertionError("decoding ended without a summary")

    def _put(self, video_id: str, key: str, data: bytes) -> None:
        with self._telemetry.step("store", video_id):
            self._store.put(key, data)

    def _object(self, video_id: str, item: FrameSampled | OverlayFound) -> tuple[str, bytes]:
        """Key and bytes of what the decoder found."""
        if isinstance(item, FrameSampled):
            return keys.frame_image(video_id, self._sampling_id, item.frame_index), item.jpeg
        return keys.overlay_mask(video_id, self._sampling_id, item.shot), item.png

    def _manifest(self, meta: VideoMeta, decoded: VideoDecoded) -> FrameManifest:
        for step, seconds in decoded.seconds.items():
            self._telemetry.add_seconds(step, meta.video_id, seconds)
        return FrameManifest(
            video_id=meta.video_id,
            sampling_id=self._sampling_id,
            width=decoded.info.width,
            height=decoded.info.height,
            fps=decoded.info.fps,
            num_frames=decoded.num_frames,
            duration_seconds=decoded.duration_seconds,
            step_seconds=decoded.info.step_seconds,
            frame_indices=decoded.frame_indices,
            frame_times=decoded.frame_times,
            shots=decoded.shots,
            segments=decoded.segments,
            rejected=decoded.rejected,
        )


def segment_events(manifest: FrameManifest) -> Iterator[tuple[str, Event]]:
    """What to publish once a video's frames are stored."""
    video, sampling = manifest.video_id, manifest.sampling_id
    for segment in manifest.segments:
        ready = events_pb2.SegmentReady(video_id=video, sampling_id=sampling, segment=segment.index)
        yield keys.segment_id(video, sampling, segment.index), ready
    if not manifest.segments:
        yield video, events_pb2.LabelsReady(video_id=video, sampling_id=sampling)
