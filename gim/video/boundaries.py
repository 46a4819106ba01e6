"""Hard cuts, and fades through black or white, in the stream of tiny frames.

Responsible for: the tiny frame itself, naming suspects by cheap measures on thumbnails, and the first, quick check
whether anything can be followed across them. Not for: dissolves (`gim.video.dissolves`), nor for putting the
boundaries found together (`gim.video.shots`).
"""

from collections import deque
from dataclasses import dataclass
from math import sqrt
from statistics import median

import cv2
import numpy as np

from gim.records import Float32Array, Uint8Array
from gim.video.config import ShotConfig
from gim.video.continuity import is_same_scene, texture_share
from gim.video.motion import shrink

_TINY_LONG_SIDE = 160
_THUMB_LONG_SIDE = 24
_LOOK_AHEAD = 3  # frames after a suspect: a flash is over by then
_LOOK_BACK = 5
_HISTORY = 12  # frames whose median says what is usual
_CUT_PAIRS = ((-1, 0), (-2, 1), (-1, 2), (-1, 3), (-3, 0), (-4, 0), (-5, 1))  # around the first frame after a cut
_RAMP_SLOPE = 0.015  # least change of the contrast between frames of a fade
_MAX_RAMP_SECONDS = 1.5
_LOGO_SHARE = 0.2  # of the cells with texture, below = a logo over black, above = a street at night
_BLACK, _WHITE = 40.0, 215.0  # means beyond which a flat picture counts as faded


@dataclass(frozen=True, slots=True)
class TinyFrame:
    """What is remembered of a decoded frame."""

    index: int
    seconds: float
    image: Uint8Array  # long side 160
    thumb: Float32Array  # [24 x about 14], flattened, mean taken off: exposure jumps stay small
    level: float  # median of the thumbnail
    contrast: float  # range of the middle nine tenths of the thumbnail: a logo does not count
    spread: float  # standard deviation of the thumbnail
    jump: float  # mean difference to the thumbnail before


@dataclass(frozen=True, slots=True)
class Break:
    """A boundary: the last frame of the shot before and the first of the shot after; between them a transition."""

    last: TinyFrame
    first: TinyFrame
    needs_samples: bool = True  # a black picture is certain

    @property
    def margin(self) -> int:
        """Frames to keep away from a transition whose first and last tenth is not seen: 0 at a cut."""
        return (self.first.index - self.last.index) // 2


def tiny_frame(index: int, seconds: float, luma: Uint8Array, before: TinyFrame | None) -> TinyFrame:
    """Shrink a frame to what the detectors look at.

    Args:
        index: of the decoded frame.
        seconds: its time.
        luma: uint8 [h, w].
        before: the frame before, None for the first.
    """
    image = shrink(luma, _TINY_LONG_SIDE)
    small = shrink(image, _THUMB_LONG_SIDE)
    grey = small.flatten()
    grey.sort()
    thumb = small.astype(np.float32).ravel()
    thumb -= cv2.mean(small)[0]
    level, contrast = float(grey[grey.size // 2]), float(grey[-1 - grey.size // 20]) - float(grey[grey.size // 20])
    spread = sqrt(float(thumb @ thumb) / thumb.size)
    jump = cv2.norm(thumb, before.thumb, cv2.NORM_L1) / thumb.size if before is not None else 0.0
    return TinyFrame(index, seconds, image.copy(), thumb, level, contrast, spread, jump)


def is_faded(frame: TinyFrame, config: ShotConfig) -> bool:
    """Whether a frame is black or white all over, but for a logo."""
    if _BLACK < frame.level < _WHITE or frame.contrast >= config.flat_contrast:
        return False
    return frame.spread < config.flat_contrast or texture_share(frame.image) < _LOGO_SHARE


class CutDetector:
    """Looks for hard cuts, three frames late."""

    def __init__(self, config: ShotConfig) -> None:
        self._config = config
        self._frames: deque[TinyFrame] = deque(maxlen=_LOOK_BACK + 1 + _LOOK_AHEAD)
        self._jumps: deque[float] = deque(maxlen=_HISTORY)

    def see(self, frame: TinyFrame) -> list[Break]:
        """Take the next frame; returns a cut found three frames ago."""
        self._frames.append(frame)
        return self._judge(len(self._frames) - 1 - _LOOK_AHEAD)

    def flush(self) -> list[Break]:
        """Judge the last frames and forget all."""
        places = range(max(len(self._frames) - _LOOK_AHEAD, 0), len(self._frames))
        found = [cut for place in places for cut in self._judge(place)]
        self._frames.clear()
        self._jumps.clear()
        return found

    def earliest_index(self) -> int | None:
        """The last frame of a shot that a cut found later could still end."""
        return self._frames[max(len(self._frames) - 1 - _LOOK_AHEAD, 0)].index if self._frames else None

    def _judge(self, place: int) -> list[Break]:
        if place < 1:
            return []
        frame, before = self._frames[place], self._frames[place - 1]
        usual = median(self._jumps) if self._jumps else 0.0
        self._jumps.append(frame.jump)
        if frame.jump < max(self._config.cut_threshold, self._config.cut_ratio * usual) or self._is_slope(place):
            return []
        if is_faded(frame, self._config) or is_faded(before, self._config) or self._is_continuous(place):
            return []
        return [Break(before, frame)]

    def _is_slope(self, place: int) -> bool:
        """Whether the jumps before and after are about as large: quick motion, not a cut."""
        jumps = [frame.jump for frame in self._frames]
        around = jumps[max(place - _LOOK_AHEAD, 0) : place], jumps[place + 1 : place + 1 + _LOOK_AHEAD]
        return jumps[place] < self._config.cut_ratio * min(max(side, default=0.0) for side in around)

    def _is_continuous(self, place: int) -> bool:
        """Whether any frame shortly before shows the scene of any frame shortly after."""
        for offset0, offset1 in _CUT_PAIRS:
            if place + offset0 >= 0 and place + offset1 < len(self._frames):
                same = is_same_scene(self._frames[place + offset0].image, self._frames[place + offset1].image)
                if same is not False:
                    return True
        return False


class FadeDetector:
    """Looks for fades through black or white: the flat frames, and the ramps of contrast on both sides."""

    def __init__(self, config: ShotConfig) -> None:
        self._config = config
        self._falling: deque[TinyFrame] = deque()  # frames of falling contrast; the first is still the whole picture
        self._last: TinyFrame | None = None  # of the fade that is open, flat or rising
        self._num_flat = 0

    def see(self, frame: TinyFrame) -> list[Break]:
        """Take the next frame; returns a fade once its far ramp is over."""
        if is_faded(frame, self._config):
            self._last = frame
            self._num_flat += 1
        elif self._last is None:
            self._follow_down(frame)
        elif frame.contrast > (1.0 + _RAMP_SLOPE) * self._last.contrast:
            self._last = frame
        else:
            return self._close(frame)
        return []

    def flush(self) -> list[Break]:
        """Close a fade that is open and forget all; what was never anything but black is left to the verdict."""
        found = self._close(self._last) if self._last is not None and self._falling else []
        self._falling.clear()
        self._last, self._num_flat = None, 0
        return found

    def earliest_index(self) -> int | None:
        """The last frame of a shot that a fade found later could still end."""
        first = self._falling[0] if self._falling else self._last
        return first.index if first is not None else None

    def _follow_down(self, frame: TinyFrame) -> None:
        if self._falling and frame.contrast > (1.0 - _RAMP_SLOPE) * self._falling[-1].contrast:
            self._falling.clear()
        self._falling.append(frame)
        while frame.seconds - self._falling[0].seconds > _MAX_RAMP_SECONDS:
            self._falling.popleft()

    def _close(self, frame: TinyFrame) -> list[Break]:
        before = self._falling[0] if self._falling else None
        is_blink = self._num_flat <= _LOOK_AHEAD and before is not None and is_same_scene(before.image, frame.image)
        self._falling.clear()
        self._falling.append(frame)
        self._last, self._num_flat = None, 0
        return [] if is_blink else [Break(before or frame, frame, needs_samples=False)]
