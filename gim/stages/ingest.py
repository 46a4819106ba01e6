"""Ingest: a requested source becomes a stored video, its sampled frames, and the segments to label."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from gim import codecs, keys
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry
from gim.records import FrameManifest, VideoMeta
from gim.video.config import SourceConfig, VideoConfig
from gim.video.decode import (
    DecodeProgress,
    FrameSampled,
    OverlayFound,
    VideoDecoded,
    VideoInfo,
    sample_video,
)
from gim.video.sources.expand import expand_source
from gim.video.sources.fetch import fetch_source
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
        sources = list(expand_source(request.source, self._source_config))
        if len(sources) != 1:  # a folder, playlist or list reached the topic unexpanded
            for source in sources:
                yield source.text, events_pb2.VideoRequested(source=source.text)
            return
        meta = fetch_source(
            sources[0], self._store, self._source_config, work_dir=self._work_dir, telemetry=self._telemetry
        )
        key = keys.frame_manifest(meta.video_id, self._sampling_id)
        if self._store.exists(key):
            manifest = codecs.from_json(FrameManifest, self._store.get(key))
        else:
            manifest = self._sample(meta)
            self._store.put(key, codecs.to_json(manifest))
        self._telemetry.count("frames_sampled", len(manifest.frame_indices), meta.video_id)
        yield from segment_events(manifest)

    def _sample(self, meta: VideoMeta) -> FrameManifest:
        with self._store.fetch(meta.source_key) as path:
            items = sample_video(path, self._video_config, threads=self._threads, name=meta.provenance.source)
            duration_seconds = 0.0
            for item in items:
                if isinstance(item, VideoDecoded):
                    return self._manifest(meta, item)
                if isinstance(item, VideoInfo):
                    duration_seconds = item.duration_seconds
                elif isinstance(item, DecodeProgress):
                    self._telemetry.progress(meta.video_id, "decode", item.time_seconds, duration_seconds)
                else:
                    self._keep(meta.video_id, item)
        raise AssertionError("decoding ended without a summary")

    def _keep(self, video_id: str, item: FrameSampled | OverlayFound) -> None:
        if isinstance(item, FrameSampled):
            with self._telemetry.step("store", video_id):
                self._store.put(keys.frame_image(video_id, self._sampling_id, item.frame_index), item.jpeg)
        else:
            self._store.put(keys.overlay_mask(video_id, self._sampling_id, item.shot), item.png)

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
