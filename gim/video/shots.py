"""Where shots begin and end.

Responsible for: splitting the stream of frames into spans, with a look-ahead of two or three seconds and memory that
does not grow. Not for: what the camera does inside a span (`gim.video.motion`).

Suspects come from `gim.video.boundaries` and `gim.video.dissolves`. Each becomes a boundary only when the samples
around it do not show the same place either: so quick pans, flashes, exposure jumps and large objects are no cuts.
"""

from collections import deque
from dataclasses import dataclass

from gim.records import Uint8Array
from gim.video.boundaries import Break, CutDetector, FadeDetector, TinyFrame, tiny_frame
from gim.video.config import ShotConfig
from gim.video.continuity import is_same_place
from gim.video.dissolves import DissolveDetector

_NUM_SAMPLES = 24  # kept for the second opinion: the look-ahead at five a second, and more
_MIN_SAMPLE_STEP_SECONDS = 0.15  # a denser sampling is thinned, so that they reach as far back
_SHORTEST_SHOT_SECONDS = 0.2  # shorter spans between two cuts belong to the transition


@dataclass(frozen=True, slots=True)
class Span:
    """Frames between two boundaries, both ends inclusive."""

    first_frame: int
    last_frame: int
    start_seconds: float
    end_seconds: float
    is_transition: bool = False


class ShotSplitter:
    """Turns the stream of frames into spans, in order."""

    def __init__(self, config: ShotConfig) -> None:
        self._max_transition_seconds = config.max_transition_seconds
        self._detectors = (CutDetector(config), FadeDetector(config), DissolveDetector(config))
        self._newest: TinyFrame | None = None
        self._start: TinyFrame | None = None  # first frame of the span that is open
        self._waiting: list[Break] = []  # for a sample behind them
        self._ready: list[Break] = []
        self._samples: deque[tuple[int, Uint8Array]] = deque(maxlen=_NUM_SAMPLES)
        self._sample_seconds = 0.0
        self._spans: list[Span] = []
        self._has_cut = False

    def see_frame(self, frame_index: int, seconds: float, luma: Uint8Array) -> None:
        """Take every decoded frame, in order: luma uint8 [h, w], one size for the whole film."""
        frame = tiny_frame(frame_index, seconds, luma, self._newest)
        self._newest = frame
        self._start = self._start or frame
        for detector in self._detectors:
            self._waiting += detector.see(frame)
        if self._waiting or self._ready:
            self._advance()

    def see_sample(self, frame_index: int, grey: Uint8Array) -> None:
        """Take a sampled frame after `see_frame` of the same index: uint8 [h, w], 480 pixels or more."""
        seconds = self._newest.seconds if self._newest is not None else 0.0
        if not self._samples or seconds - self._sample_seconds >= _MIN_SAMPLE_STEP_SECONDS:
            self._samples.append((frame_index, grey))
            self._sample_seconds = seconds

    def close(self) -> None:
        """End the span with the last frame seen: a hole in time, or the end of the film."""
        for detector in self._detectors:
            self._waiting += detector.flush()
        self._advance(is_end=True)
        if self._start is not None and self._newest is not None:
            self._emit(self._start, self._newest)
        self._start = self._newest = None
        self._samples.clear()
        self._has_cut = False

    def take_spans(self) -> list[Span]:
        """The spans closed since the last call, ascending."""
        spans, self._spans = self._spans, []
        return spans

    def settled_index(self) -> int:
        """The frames of the open span up to this one stay in it, whatever comes; -1 when none is open."""
        if self._newest is None:
            return -1
        earliest = [detector.earliest_index() for detector in self._detectors]
        earliest += [found.last.index for found in (*self._waiting, *self._ready)]
        return min(index for index in (*earliest, self._newest.index) if index is not None)

    def _advance(self, *, is_end: bool = False) -> None:
        newest_sample = self._samples[-1][0] if self._samples else -1
        waiting, self._waiting = self._waiting, []
        for found in waiting:
            if found.needs_samples and not is_end and newest_sample < found.first.index + found.margin:
                self._waiting.append(found)
            elif not (found.needs_samples and self._is_bridged(found)):
                self._ready.append(found)
        self._ready.sort(key=lambda found: (found.last.index, found.first.index))
        unsettled = [detector.earliest_index() for detector in self._detectors if not is_end]
        unsettled += [found.last.index for found in self._waiting]
        limit = min((index for index in unsettled if index is not None), default=None)
        while self._ready and (limit is None or self._ready[0].first.index <= limit):
            self._apply(self._ready.pop(0))

    def _is_bridged(self, found: Break) -> bool:
        """Whether the samples around a break still show the same place."""
        before = [sample for sample in self._samples if sample[0] <= found.last.index - found.margin][:-3:-1]
        after = [sample for sample in self._samples if sample[0] >= found.first.index + found.margin][:2]
        if not before or not after:
            return False
        # Where every frame is a sample, motion is large and one blurred frame must not end the shot.
        reach = 2 if (before[0][0], after[0][0]) == (found.last.index, found.first.index) else 1
        pairs = [(i, j) for i in range(len(before)) for j in range(len(after)) if i + j < reach]
        return any(is_same_place(before[i][1], after[j][1]) for i, j in pairs)

    def _apply(self, found: Break) -> None:
        start = self._start
        if start is None or found.first.index <= start.index:
            return
        is_opening = found.last is found.first  # the film begins black
        if not is_opening and found.last.index >= start.index:
            self._emit(start, found.last)
        first_frame = start.index if is_opening else max(found.last.index + 1, start.index)
        if first_frame < found.first.index:
            begin, end = (start if is_opening else found.last).seconds, found.first.seconds
            is_transition = end - begin <= self._max_transition_seconds
            self._spans.append(Span(first_frame, found.first.index - 1, begin, end, is_transition))
        self._start = found.first
        self._has_cut = True

    def _emit(self, first: TinyFrame, last: TinyFrame) -> None:
        is_scrap = self._has_cut and last.seconds - first.seconds < _SHORTEST_SHOT_SECONDS
        self._spans.append(Span(first.index, last.index, first.seconds, last.seconds, is_scrap))
