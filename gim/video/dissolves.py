"""Dissolves: one shot turning into the next within 0.25 to 2 seconds.

Responsible for: finding them in the stream of tiny frames. Not for: cuts and fades (`gim.video.boundaries`).

Three things must hold at once. The pictures between are mixes of those around them; the edges in the middle are as
weak as edges of unrelated pictures become when they are mixed; and no corner can be followed from one end to the other.
"""

from collections import deque

import cv2
import numpy as np

from gim.records import Float32Array, Uint8Array
from gim.video.boundaries import Break, TinyFrame
from gim.video.config import ShotConfig
from gim.video.continuity import followed_share, is_same_scene, texture_share

_SLOW_STEP_SECONDS = 1 / 16.5  # between frames that are looked at
_MAX_SLOW_STEP_SECONDS = 0.13  # a sparser film has no dissolve that could be seen
_MIN_TEXTURE_SHARE = 0.11  # of the cells of both ends: a blurred wall proves nothing
_HALF_WINDOWS = (2, 3, 4, 6, 8, 12)  # slow steps: dissolves of 0.25 to 2 seconds


class DissolveDetector:
    """Looks for dissolves in every second or so frame; remembers less than two seconds."""

    def __init__(self, config: ShotConfig) -> None:
        self._config = config
        self._frames: deque[TinyFrame] = deque(maxlen=2 * max(_HALF_WINDOWS) + 1)
        self._min_dip, self._max_dip = config.dissolve_dip
        self._wait = dict.fromkeys(_HALF_WINDOWS, 0)  # slow frames before a half window is verified again
        self._open: Break | None = None
        self._steps_since = 0

    def see(self, frame: TinyFrame) -> list[Break]:
        """Take the next frame; returns a dissolve once it is over."""
        step = frame.seconds - self._frames[-1].seconds if self._frames else _SLOW_STEP_SECONDS
        if step < _SLOW_STEP_SECONDS:
            return []
        found = self.flush() if step > _MAX_SLOW_STEP_SECONDS else []
        self._frames.append(frame)
        self._steps_since += 1
        for half in reversed(_HALF_WINDOWS):
            self._look(half)
        if self._open is not None and self._steps_since > max(_HALF_WINDOWS):
            found = [*found, *self._take()]
        return found

    def flush(self) -> list[Break]:
        """Forget the frames seen; returns a dissolve that was still open."""
        self._frames.clear()
        return self._take()

    def earliest_index(self) -> int | None:
        """The last frame of a shot that a dissolve found later could still end."""
        first = self._open.last if self._open is not None else next(iter(self._frames), None)
        return first.index if first is not None else None

    def _take(self) -> list[Break]:
        found, self._open = self._open, None
        return [] if found is None else [found]

    def _look(self, half: int) -> None:
        if self._wait[half] > 0:
            self._wait[half] -= 1
            return
        if len(self._frames) < 2 * half + 1 or not self._has_changed(half):
            return
        places = (-1 - 2 * half, -1 - half - half // 2, -1 - half, -1 - half + half // 2, -1)
        frames = [self._frames[place] for place in places]
        share = mixing_share(np.stack([frame.thumb for frame in frames]), self._config)
        before, middle, after = frames[0].image, frames[2].image, frames[4].image
        if share is None or not self._min_dip < gradient_dip(before, middle, after, share) < self._max_dip:
            return
        if not self._is_replaced(2 * half):
            self._wait.update((other, other) for other in _HALF_WINDOWS if other <= half)
            return
        first, last = frames[0], frames[4]
        if self._open is not None and self._open.last.index < first.index:
            first = self._open.last
        self._open = Break(first, last)
        self._steps_since = 0

    def _is_replaced(self, steps: int) -> bool:
        """Whether nothing of the picture so many steps ago can be followed to the newest, nor backwards."""
        images = [frame.image for frame in self._frames][-1 - steps :]
        if min(texture_share(images[0]), texture_share(images[-1])) < _MIN_TEXTURE_SHARE:
            return False
        if is_same_scene(images[0], images[-1]) is not False:
            return False
        return max(followed_share(images), followed_share(images[::-1])) < self._config.max_followed_share

    def _has_changed(self, half: int) -> bool:
        """The cheap part: the ends differ by 10 grey levels, and not by a factor only."""
        before, after = self._frames[-1 - 2 * half], self._frames[-1]
        product = float(before.thumb @ after.thumb) / before.thumb.size
        energy = before.spread**2 + after.spread**2 - 2.0 * product
        return energy > 100.0 and product < self._config.dissolve_correlation * before.spread * after.spread


def mixing_share(window: Float32Array, config: ShotConfig) -> float | None:
    """Fit three pictures as growing mixes of the two around them.

    In a dissolve I_t = (1 - a_t) A + a_t B, so that the middle pictures lie on the line between the ends, in order;
    a moving camera leaves that line. Thumbnails keep the motion within about a pixel.

    Args:
        window: float32 [5, N] thumbnails without their means: the end before, three between, the end after.
        config: the largest residual.

    Returns:
        a_t of the middle picture; None when they are no such mixes.
    """
    difference = window[4] - window[0]
    energy = float(difference @ difference) + 1e-6
    between = window[1:4] - window[0]
    share = between @ difference / energy
    residual = between - share[:, None] * difference
    if np.sqrt(float((residual**2).sum(axis=1).max()) / energy) > config.dissolve_residual:
        return None
    rises = min(share[1] - share[0], share[2] - share[1]) > 0.08
    is_mix = rises and share[0] > 0.05 and 0.25 < share[1] < 0.75 and share[2] < 0.95
    return float(share[1]) if is_mix else None


def gradient_dip(before: Uint8Array, middle: Uint8Array, after: Uint8Array, share: float) -> float:
    """Gradient energy of a picture over what lies between its neighbours' energies.

    Edges of unrelated pictures do not add up: the energy of (A + B) / 2 is a quarter of A's and B's, half their mean.
    A moving camera keeps it near 1; blur and blank walls dip too, but deeper.

    Args:
        before: uint8 [h, w].
        middle: uint8 [h, w].
        after: uint8 [h, w].
        share: of `after` in `middle`.
    """
    energies = []
    for image in (before, middle, after):
        along_x = cv2.norm(image[:, 1:], image[:, :-1], cv2.NORM_L2SQR)
        energies.append(along_x + cv2.norm(image[1:], image[:-1], cv2.NORM_L2SQR))
    return float(energies[1] / ((1.0 - share) * energies[0] + share * energies[2] + 1e-6))
