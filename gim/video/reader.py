"""Decodes one video once, frame by frame: exact indices, times that ascend, and honest words about damage.

A frame's index counts every frame the decoder gives, in order of presentation. Frames that the decoder lost, and
those that lean on them up to the next key frame, are not handed out; the first sound frame after them says so.
"""

import heapq
import os
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.container

from gim.errors import InvalidInput
from gim.video.config import DecodeLimits
from gim.video.container import (
    Timeline,
    choose_stream,
    open_container,
    refuse_non_video,
    refuse_size,
    scan_timeline,
)

_REFERENCE_FRAMES = 20  # the most a decoder holds beside one per thread (H.264: 16), and what waits to be stored
_ALIVE_SECONDS = 1.0
_CLOCK_JUMP_SECONDS = 1.0  # backwards: a new clock, not jitter


@dataclass(frozen=True, slots=True)
class Decoded:
    """One sound frame."""

    index: int
    time_seconds: float
    frame: av.VideoFrame
    is_after_break: bool  # frames are missing before it, its size is new, or the clock jumped back


class FrameReader:
    """A video open for decoding, its first sound frame decoded. Use as a context manager."""

    def __init__(
        self,
        path: Path,
        name: str,
        limits: DecodeLimits,
        *,
        threads: int = 0,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        """Find out what the file is, and decode its first frame.

        Raises:
            InvalidInput: it is no video that can be decoded.
            UnsafeInput: it exceeds a limit or points elsewhere.
        """
        self._name = name
        self._alive = alive
        self._limits = limits
        self._said = time.monotonic()
        self.num_decoded = 0
        self.num_damaged = 0
        refuse_non_video(path, name)
        with open_container(path, name, limits) as container:
            self.timeline = scan_timeline(container, choose_stream(container, name, limits), name, limits, alive)
        self.container = open_container(path, name, limits)
        try:
            self.stream = choose_stream(self.container, name, limits)
            self._open_decoder(threads)
            self._frames = self._sound_frames()
            self.first = self._first()
        except BaseException:
            self.container.close()
            raise

    def __enter__(self) -> "FrameReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._frames.close()
        self.container.close()

    def __iter__(self) -> Iterator[Decoded]:
        yield self.first
        yield from self._frames

    def _first(self) -> Decoded:
        first = next(self._frames, None)
        if first is None:
            codec = self.stream.codec_context.name
            raise InvalidInput(f"{self._name}: not one frame of its {codec} video can be decoded")
        return first

    def _open_decoder(self, threads: int) -> None:
        context = self.stream.codec_context
        context.options = {"max_pixels": str(self._limits.max_pixels)}
        context.thread_type = "AUTO"
        context.thread_count = _affordable_threads(context, threads, self._limits)

    def _sound_frames(self) -> Generator[Decoded, None, None]:
        damage = _Damage(self.stream, self.timeline)
        clock = _Clock(self.stream, self.timeline)
        size = None
        is_broken = False
        for frame in self._decode(damage):
            refuse_size(frame.width, frame.height, self._name, self._limits)
            index, self.num_decoded = self.num_decoded, self.num_decoded + 1
            time_seconds, is_new_clock = clock.read(frame, index)
            is_new_size = size not in (None, (frame.width, frame.height))
            is_broken |= damage.is_broken_before(frame) or is_new_clock or is_new_size
            size = (frame.width, frame.height)
            if damage.is_trusted:
                yield Decoded(index, time_seconds, frame, is_broken and index > 0)
                is_broken = False
            else:
                self.num_damaged += 1
                self._say_alive()

    def _say_alive(self) -> None:
        if time.monotonic() - self._said > _ALIVE_SECONDS:
            self._alive()
            self._said = time.monotonic()

    def _decode(self, damage: "_Damage") -> Iterator[av.VideoFrame]:
        """All frames the decoder gives; packets it cannot read are passed over."""
        for packet in self._packets():
            if packet is not None:
                damage.expect(packet)
            try:
                yield from self.stream.codec_context.decode(packet)
            except av.error.MemoryError:
                raise
            except av.error.FFmpegError:
                continue  # `damage` notices which frame does not come

    def _packets(self) -> "Iterator[av.Packet[av.VideoStream] | None]":
        """All packets, and one that flushes the decoder; a file cut off inside a packet ends before it."""
        try:
            yield from self.container.demux(self.stream)
        except av.error.MemoryError:
            raise
        except av.error.FFmpegError:
            yield None


class _Damage:
    """Notices frames that were in the file and did not come out of the decoder.

    By time stamps, not by the decoder's errors: with several threads an error surfaces at another frame. Packets that
    never show a frame of their own (second fields, VP8's hidden frames) leave no hole in time and are no loss.
    """

    def __init__(self, stream: av.VideoStream, timeline: Timeline) -> None:
        self._has_times = timeline.has_times
        self._margin = timeline.rate.period_seconds / float(stream.time_base or 1) / 2
        self._expected: list[int] = []
        self._previous: int | None = None
        self.is_trusted = True

    def expect(self, packet: "av.Packet[av.VideoStream]") -> None:
        """Say what is going into the decoder."""
        if packet.size and packet.pts is not None and not packet.is_discard:
            heapq.heappush(self._expected, packet.pts)

    def is_broken_before(self, frame: av.VideoFrame) -> bool:
        """Whether frames are missing before this one, or it is damaged itself; updates `is_trusted`."""
        is_broken = self._is_missing_before(frame.pts) or frame.is_corrupt
        if is_broken:
            self.is_trusted = False
        if frame.key_frame and not frame.is_corrupt:
            self.is_trusted = True
        return is_broken

    def _is_missing_before(self, pts: int | None) -> bool:
        if pts is None or not self._has_times:
            self._expected.clear()
            return False
        previous, self._previous = self._previous, pts
        is_missing = False
        while self._expected and self._expected[0] <= pts:
            expected = heapq.heappop(self._expected)
            is_missing |= previous is not None and previous + self._margin < expected < pts - self._margin
        return is_missing


class _Clock:
    """Times of frames in seconds from the first one, strictly ascending."""

    def __init__(self, stream: av.VideoStream, timeline: Timeline) -> None:
        self._tick_seconds = float(stream.time_base or 0) if timeline.has_times else 0.0
        self._period = timeline.rate.period_seconds
        self._offset: float | None = None
        self._previous = -self._period

    def read(self, frame: av.VideoFrame, index: int) -> tuple[float, bool]:
        """The time of a frame, and whether its clock jumped back before it."""
        stamp = frame.pts if frame.pts is not None else frame.dts
        if not self._tick_seconds or stamp is None:
            time_seconds, is_jump = self._previous + self._period if index else 0.0, False
        else:
            raw = stamp * self._tick_seconds
            self._offset = raw if self._offset is None else self._offset
            time_seconds = raw - self._offset
            is_jump = time_seconds < self._previous - _CLOCK_JUMP_SECONDS
            if is_jump:
                self._offset, time_seconds = raw - (self._previous + self._period), self._previous + self._period
            elif time_seconds <= self._previous:
                time_seconds = self._previous + self._period * 1e-3
        self._previous = time_seconds
        return time_seconds, is_jump


def _affordable_threads(context: av.VideoCodecContext, threads: int, limits: DecodeLimits) -> int:
    """As many threads as asked for (0 = all cores) while their frames fit into half the memory allowed.

    The number never changes what is decoded, only how fast.
    """
    wanted = threads or len(os.sched_getaffinity(0))
    frame_bytes = max(1, 3 * context.width * context.height)  # 4:2:0 of 16 bits, 4:4:4 of 8
    return max(1, min(wanted, limits.max_memory_bytes // 2 // frame_bytes - _REFERENCE_FRAMES))
