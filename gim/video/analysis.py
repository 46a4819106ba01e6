"""What the decoder asks of a film while it runs past: shots, camera motion, overlays.

Responsible for: handing every frame and every sample to `ShotSplitter`, `MotionMeter` and `OverlayAccumulator`, and for
the verdict on each shot. Not for: any measure itself, nor for decoding and storing frames.

A sample is measured when its shot is certain, up to two seconds late; until then only its two small images are kept.
Memory is one set of accumulators, a few seconds of small images, and the list of shots.
"""

from collections import deque
from dataclasses import dataclass, replace

from gim.records import Shot, Uint8Array
from gim.video.config import VideoConfig
from gim.video.motion import FREEZE, SHORT_SHOT, SLIDES, TRANSITION, MotionMeter, flat_share, shrink
from gim.video.overlay import OverlayAccumulator
from gim.video.shots import ShotSplitter, Span


@dataclass(frozen=True, slots=True)
class _Sample:
    """A sampled frame whose shot is not certain yet."""

    sample: int
    frame_index: int
    image: Uint8Array  # at the overlay's analysis width
    flat: float


class _ShotState:
    """Everything that is summed over one shot."""

    def __init__(self, config: VideoConfig) -> None:
        self._long_side = config.motion.analysis_long_side
        self.motion = MotionMeter(config.motion)
        self.overlay = OverlayAccumulator(config.overlay)
        self.first_sample = -1
        self.num_samples = 0

    def add(self, sample: _Sample) -> None:
        if self.num_samples == 0:
            self.first_sample = sample.sample
        self.num_samples += 1
        if self.motion.see(shrink(sample.image, self._long_side), sample.flat):
            self.overlay.add(sample.image)


class VideoAnalyser:
    """Follows one video from its first decoded frame to its last."""

    def __init__(self, config: VideoConfig, width: int, height: int) -> None:
        """Prepare for frames stored at `width` x `height` pixels."""
        self._config = config
        self._width = width
        self._height = height
        self._splitter = ShotSplitter(config.shots)
        self._pending: deque[_Sample] = deque()
        self._state = _ShotState(config)
        self._shots: list[Shot] = []
        self._is_after_gap = False
        self._overlays: list[tuple[int, Uint8Array]] = []

    def see_frame(self, frame_index: int, time_seconds: float, luma: Uint8Array) -> None:
        """Take every decoded frame, in order.

        Args:
            frame_index: of the decoded source.
            time_seconds: from the source's first frame.
            luma: uint8 [h, w], about 160 pixels wide, one size for the whole video.
        """
        self._splitter.see_frame(frame_index, time_seconds, luma)

    def see_sample(self, sample: int, frame_index: int, time_seconds: float, grey: Uint8Array) -> None:  # noqa: ARG002
        """Take a sampled frame, after `see_frame` of the same index.

        Args:
            sample: position among the sampled frames.
            frame_index: of the decoded source.
            time_seconds: from the source's first frame.
            grey: uint8 [height, width], the stored resolution.
        """
        image = shrink(grey, self._analysis_long_side())
        self._pending.append(_Sample(sample, frame_index, image, flat_share(grey)))
        self._splitter.see_sample(frame_index, image)
        self._settle()

    def see_gap(self, frame_index: int) -> None:  # noqa: ARG002 - the hole lies before it, behind every frame seen
        """Frames are missing before this one: the shot ends before it."""
        self._splitter.close()
        self._settle()
        self._is_after_gap = True

    def closed_overlays(self) -> list[tuple[int, Uint8Array]]:
        """Masks of the shots closed since the last call.

        Returns:
            Shot index and mask, uint8 [height, width], 255 usable, 0 overlay; only of used shots that have overlays.
        """
        overlays, self._overlays = self._overlays, []
        return overlays

    def finish(self, last_frame_index: int, last_time_seconds: float) -> list[Shot]:
        """Close the last shot.

        Args:
            last_frame_index: of the decoded source.
            last_time_seconds: from the source's first frame.

        Returns:
            All shots that hold samples, ascending; every sample belongs to exactly one.
        """
        self._splitter.close()
        self._settle()
        if self._shots and self._shots[-1].last_frame < last_frame_index and not self._shots[-1].rejected:
            self._lengthen(last_frame_index, last_time_seconds, 0)
        return name_slides(self._shots)

    def _settle(self) -> None:
        """Measure the samples whose shot is certain by now."""
        for span in self._splitter.take_spans():
            self._take_samples(span.last_frame)
            self._close(span)
        self._take_samples(self._splitter.settled_index())

    def _take_samples(self, last_frame: int) -> None:
        while self._pending and self._pending[0].frame_index <= last_frame:
            self._state.add(self._pending.popleft())

    def _close(self, span: Span) -> None:
        state, self._state = self._state, _ShotState(self._config)
        if state.num_samples == 0:
            return
        rejected = self._verdict(span, state)
        is_after_gap, self._is_after_gap = self._is_after_gap, False
        if rejected == TRANSITION and self._shots and self._shots[-1].rejected == TRANSITION and not is_after_gap:
            self._lengthen(span.last_frame, span.end_seconds, state.num_samples)
            return
        mask = None if rejected or not self._config.overlay.enabled else state.overlay.mask(self._width, self._height)
        if mask is not None:
            self._overlays.append((len(self._shots), mask))
        long_side = max(self._width, self._height)
        small_side = min(long_side, self._config.motion.analysis_long_side)
        self._shots.append(
            Shot(
                index=len(self._shots),
                first_frame=span.first_frame,
                last_frame=span.last_frame,
                start_seconds=span.start_seconds,
                end_seconds=span.end_seconds,
                first_sample=state.first_sample,
                num_samples=state.num_samples,
                rejected=rejected,
                overlay_share=0.0 if mask is None else float((mask == 0).mean()),
                motion_px=state.motion.displacement_px() * long_side / small_side,
            )
        )

    def _lengthen(self, last_frame: int, end_seconds: float, num_samples: int) -> None:
        """Let the last shot go on."""
        last = self._shots[-1]
        self._shots[-1] = replace(
            last, last_frame=last_frame, end_seconds=end_seconds, num_samples=last.num_samples + num_samples
        )

    def _verdict(self, span: Span, state: _ShotState) -> str:
        if span.is_transition:
            return TRANSITION
        reason = state.motion.verdict()
        if not reason and state.num_samples < self._config.shots.min_samples:
            return SHORT_SHOT
        return reason

    def _analysis_long_side(self) -> int:
        scale = self._config.overlay.analysis_width / self._width
        return max(1, round(max(self._width, self._height) * min(1.0, scale)))


def name_slides(shots: list[Shot]) -> list[Shot]:
    """Call frozen shots that follow each other slides: each slide change looks like a cut.

    Args:
        shots: ascending.

    Returns:
        The same shots, with `slides` for `freeze` wherever a neighbour was rejected as frozen or slides too.
    """
    named = []
    for i, shot in enumerate(shots):
        neighbours = [shots[j].rejected for j in (i - 1, i + 1) if 0 <= j < len(shots)]
        is_slide = shot.rejected == FREEZE and (FREEZE in neighbours or SLIDES in neighbours)
        named.append(replace(shot, rejected=SLIDES) if is_slide else shot)
    return named
