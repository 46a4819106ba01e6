"""One pass over one video: frames are read, sampled, shown to the analyser, encoded, and sent.

Three lanes (reading, analysis, encoding) work side by side; what comes out does not depend on that. Not here: how
frames are decoded (`reader`), which are samples (`sampling`), what shots are (`analysis`), and the process around it.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from gim.codecs import encode_jpeg, encode_png
from gim.errors import ConfigError, InvalidInput
from gim.records import Segment, Shot, Uint8Array
from gim.video.analysis import VideoAnalyser
from gim.video.config import SamplingConfig, VideoConfig
from gim.video.images import StoredForm, choose_form, deinterlace, full_luma, small_luma, to_rgb
from gim.video.lane import Lane
from gim.video.messages import (
    Alive,
    DecodeProgress,
    FrameSampled,
    Job,
    Message,
    OverlayFound,
    VideoDecoded,
    VideoInfo,
    pack_message,
)
from gim.video.probe import describe_video
from gim.video.reader import Decoded, FrameReader
from gim.video.sampling import FrameSampler

_PROGRESS_SECONDS = 0.25
_WAITING_FRAMES = 4  # between reading and analysis
_WAITING_SAMPLES = 2  # between analysis and encoding


def decode_job(job: Job, pipe: "Pipe") -> None:
    """Do a job and send its messages; what goes wrong is raised.

    Raises:
        InvalidInput: the video cannot be decoded.
        UnsafeInput: it exceeds a limit or points elsewhere.
        ConfigError: a setting is wrong.
    """
    alive = pack_message(Alive())
    pipe.send(alive)
    with FrameReader(
        Path(job.path), job.name, job.config.limits, threads=job.threads, alive=lambda: pipe.send(alive)
    ) as reader:
        # One thread means one: videos that share a machine each keep to their core.
        outbox = Outbox(pipe, is_threaded=job.threads != 1)
        lane = Lane(is_threaded=job.threads != 1, max_waiting=_WAITING_FRAMES)
        try:
            VideoDecoding(reader, job, outbox, lane).run()
        finally:
            outbox.close()


class Pipe:
    """The way to the parent; whole messages only, from any lane."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def send(self, data: bytes) -> None:
        """Write all of `data`; without a reader there is nothing left to do, and the process ends."""
        view = memoryview(data)
        with self._lock:
            try:
                while view:
                    view = view[os.write(self._descriptor, view) :]
            except BrokenPipeError:
                os._exit(1)


class Outbox:
    """Makes messages in a lane of its own, where JPEGs are encoded, and sends them in the order they were given."""

    def __init__(self, pipe: Pipe, *, is_threaded: bool) -> None:
        self.encode_seconds = 0.0
        self._pipe = pipe
        self._lane = Lane(is_threaded=is_threaded, max_waiting=_WAITING_SAMPLES)

    def put(self, make: Callable[[], Message]) -> None:
        """Send what `make` returns."""
        self._lane.put(lambda: self._send(make))

    def close(self) -> None:
        """Return once everything is sent."""
        self._lane.close()

    def _send(self, make: Callable[[], Message]) -> None:
        started = time.perf_counter()
        data = pack_message(make())
        self.encode_seconds += time.perf_counter() - started
        self._pipe.send(data)


class Analysis:
    """The part of a video's pass that looks at pixels: luma for the analyser, samples for the outbox. One lane."""

    def __init__(self, config: VideoConfig, info: VideoInfo, form: StoredForm, outbox: Outbox) -> None:
        self.frame_indices: list[int] = []
        self.frame_times: list[float] = []
        self.seconds = 0.0
        self._analyser = VideoAnalyser(config, info.width, info.height)
        self._form = form
        self._outbox = outbox
        self._luma_size: tuple[int, int] | None = None  # set by the first frame, the same for all

    def see(self, decoded: Decoded, *, is_after_gap: bool) -> None:
        """Show a frame to the analyser."""
        started = time.perf_counter()
        if is_after_gap:
            self._analyser.see_gap(decoded.index)
        luma = small_luma(decoded.frame, self._luma_size)
        self._luma_size = luma.shape[1], luma.shape[0]
        self._analyser.see_frame(decoded.index, decoded.time_seconds, luma)
        self.seconds += time.perf_counter() - started

    def take(self, decoded: Decoded) -> None:
        """Make a frame a sample: show it in full and store it."""
        started = time.perf_counter()
        sample = len(self.frame_indices)
        self.frame_indices.append(decoded.index)
        self.frame_times.append(decoded.time_seconds)
        frame, fit = deinterlace(decoded.frame), self._form.fit
        self._analyser.see_sample(sample, decoded.index, decoded.time_seconds, fit(full_luma(frame)))
        self.seconds += time.perf_counter() - started
        self._outbox.put(
            lambda: FrameSampled(sample, decoded.index, decoded.time_seconds, encode_jpeg(fit(to_rgb(frame))))
        )
        self._send_overlays()

    def finish(self, last: Decoded) -> list[Shot]:
        """Close the last shot; all shots, ascending."""
        started = time.perf_counter()
        shots = self._analyser.finish(last.index, last.time_seconds)
        self.seconds += time.perf_counter() - started
        self._send_overlays()
        return shots

    def _send_overlays(self) -> None:
        for shot, mask in self._analyser.closed_overlays():
            self._outbox.put(_overlay_maker(shot, mask))


class VideoDecoding:
    """One pass over one video: reader -> sampler -> analysis -> outbox."""

    def __init__(self, reader: FrameReader, job: Job, outbox: Outbox, lane: Lane) -> None:
        sampling = job.config.sampling
        form = choose_form(reader.first.frame, sampling.max_long_side)
        self._reader = reader
        self._sampling = sampling
        self._name = job.name
        self._outbox = outbox
        self._lane = lane
        self._info = describe_video(reader, form, sampling)
        self._analysis = Analysis(job.config, self._info, form, outbox)
        self._sampler = FrameSampler(reader.timeline.rate, sampling)
        self._decode_seconds = 0.0
        self._said = time.monotonic()

    def run(self) -> None:
        """Decode to the end and send everything, `VideoInfo` first and `VideoDecoded` last.

        Raises:
            InvalidInput: less than two frames are left.
        """
        info = self._info
        self._outbox.put(lambda: info)
        start, end = trimmed_span(self._sampling, info.duration_seconds, self._name)
        first_index, first_time = -1, 0.0
        previous: Decoded | None = None
        for decoded in self._timed_frames():
            if decoded.time_seconds < start:
                continue
            if decoded.time_seconds >= end:
                break
            if previous is None:
                first_index, first_time = decoded.index, decoded.time_seconds
            self._see(decoded, previous)
            previous = decoded
        if previous is None or previous.index == first_index:
            usable = "no frame" if previous is None else "one frame"
            raise InvalidInput(f"{self._name}: {usable} can be used, needs at least two frames")
        self._lane.close()
        self._finish(first_index, first_time, previous)

    def _timed_frames(self) -> Iterator[Decoded]:
        frames = iter(self._reader)
        while True:
            started = time.perf_counter()
            decoded = next(frames, None)
            self._decode_seconds += time.perf_counter() - started
            if decoded is None:
                return
            self._report_progress(decoded.time_seconds)
            yield decoded

    def _report_progress(self, time_seconds: float) -> None:
        if time.monotonic() - self._said > _PROGRESS_SECONDS:
            self._said = time.monotonic()
            progress = DecodeProgress(self._reader.num_decoded, time_seconds)
            self._outbox.put(lambda: progress)

    def _see(self, decoded: Decoded, previous: Decoded | None) -> None:
        analysis = self._analysis
        choice = self._sampler.see(decoded.time_seconds)
        if choice.takes_previous and previous is not None:
            self._lane.put(lambda: analysis.take(previous))
        is_after_gap = previous is not None and (choice.is_after_hole or decoded.is_after_break)
        self._lane.put(lambda: analysis.see(decoded, is_after_gap=is_after_gap))
        if choice.takes_this:
            self._lane.put(lambda: analysis.take(decoded))

    def _finish(self, first_index: int, first_time: float, last: Decoded) -> None:
        analysis = self._analysis
        shots = analysis.finish(last)
        segments = cut_segments(shots, self._sampling.segment_samples)
        self._outbox.put(
            lambda: VideoDecoded(
                info=self._info,
                num_frames=last.index - first_index + 1,
                num_damaged=self._reader.num_damaged,
                duration_seconds=last.time_seconds - first_time + self._reader.timeline.rate.period_seconds,
                shots=shots,
                segments=segments,
                frame_indices=analysis.frame_indices,
                frame_times=analysis.frame_times,
                rejected="" if segments else dominant_reason(shots),
                seconds={
                    "decode": self._decode_seconds,
                    "analysis": analysis.seconds,
                    "encode": self._outbox.encode_seconds,
                },
            )
        )


def _overlay_maker(shot: int, mask: Uint8Array) -> Callable[[], OverlayFound]:
    return lambda: OverlayFound(shot, encode_png(mask))


def trimmed_span(config: SamplingConfig, duration_seconds: float, name: str) -> tuple[float, float]:
    """First time used, and the time from which nothing is used, seconds from the first frame of the source.

    Raises:
        ConfigError: a trim is negative.
        InvalidInput: nothing is left.
    """
    start, trim_end = config.trim_start_seconds, config.trim_end_seconds
    if start < 0 or trim_end < 0:
        raise ConfigError("sampling.trim_start_seconds and trim_end_seconds must not be negative")
    if start + trim_end >= duration_seconds:
        raise InvalidInput(
            f"{name}: trimming {start:g} s at the start and {trim_end:g} s at the end leaves nothing of its"
            f" {duration_seconds:.1f} s"
        )
    return start, duration_seconds - trim_end if trim_end else float("inf")


def cut_segments(shots: list[Shot], segment_samples: int) -> list[Segment]:
    """Consecutive samples of one used shot, `segment_samples` at most, numbered over the video."""
    segments: list[Segment] = []
    for shot in shots:
        if shot.rejected:
            continue
        end = shot.first_sample + shot.num_samples
        for first in range(shot.first_sample, end, segment_samples):
            segments.append(Segment(len(segments), shot.index, first, min(segment_samples, end - first)))
    return segments


def dominant_reason(shots: list[Shot]) -> str:
    """The reason that rejected the most samples; of equals the one that comes first."""
    samples: Counter[str] = Counter()
    for shot in shots:
        samples[shot.rejected or "no_samples"] += shot.num_samples
    return samples.most_common(1)[0][0] if samples else "no_samples"
