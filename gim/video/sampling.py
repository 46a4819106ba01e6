"""Which frames of a video become samples: pure arithmetic on indices and times, no pixels.

Constant rate: every n-th frame. Variable rate: the frame nearest in time to a regular grid. A hole in time is
reported, so that no chain of correspondences crosses it.
"""

import math
from dataclasses import dataclass

import numpy as np

from gim.errors import ConfigError
from gim.records import Float64Array
from gim.video.config import SamplingConfig

_HIGH_FPS = 30  # upstream's boundary: `ceil(fps) <= 30`
_MAX_LOST_SHARE = 0.05


def step_frames(config: SamplingConfig, fps: float) -> int:
    """Frames between samples, at least 1.

    Args:
        config: the step in seconds or in frames; `interval_frames_high_fps` replaces `interval_frames` where
            `ceil(fps) > 30`, as in the published code of GIM (video_preprocessor.py).
        fps: average frame rate, frames per second.

    Raises:
        ConfigError: both or neither of the two steps are given, or one is not positive.
    """
    if (config.interval_seconds is None) == (config.interval_frames is None):
        raise ConfigError("sampling: give interval_seconds or interval_frames, not both and not neither")
    if config.interval_seconds is not None:
        if not config.interval_seconds > 0:
            raise ConfigError(f"sampling.interval_seconds must be above 0, not {config.interval_seconds}")
        return max(1, math.floor(config.interval_seconds * fps + 0.5))
    is_high = math.ceil(round(fps, 2)) > _HIGH_FPS  # rounded: a measured 30.0003 is 30
    frames = config.interval_frames_high_fps if is_high and config.interval_frames_high_fps else config.interval_frames
    if frames is None or frames < 1:
        raise ConfigError(f"sampling.interval_frames must be at least 1, not {frames}")
    return frames


@dataclass(frozen=True, slots=True)
class FrameRate:
    """How often a video shows a frame."""

    fps: float  # average
    period_seconds: float  # usual distance of neighbouring frames
    is_variable: bool

    def step_seconds(self, config: SamplingConfig) -> float:
        """Distance of the sampling grid: whole frames at constant rate, else the interval as asked for."""
        whole_frames = step_frames(config, self.fps)
        if self.is_variable and config.interval_seconds is not None:
            return max(config.interval_seconds, self.period_seconds)
        return whole_frames * self.period_seconds


def measure_rate(times: Float64Array) -> FrameRate | None:
    """The rate that time stamps show. Constant: all lie within a quarter of a frame of a regular raster, in which no
    more than one place in twenty is empty (frames that were lost); else variable.

    Args:
        times: float64 [N], seconds, ascending.

    Returns:
        None when they do not advance.
    """
    if len(times) < 2 or not times[-1] > times[0]:
        return None
    elapsed = times - times[0]
    median = float(np.median(np.diff(times))) or float(elapsed[-1]) / (len(times) - 1)
    places = np.concatenate([[0], np.cumsum(np.round(np.diff(times) / median))])
    period = float(elapsed[-1] / max(places[-1], 1))
    is_regular = bool(np.abs(elapsed - places * period).max() < period / 4)
    if is_regular and places[-1] + 1 - len(times) <= _MAX_LOST_SHARE * len(times):
        return FrameRate(1 / period, period, is_variable=False)
    return FrameRate((len(times) - 1) / float(elapsed[-1]), median, is_variable=True)


@dataclass(frozen=True, slots=True)
class Choice:
    """What the sampler says when it sees a frame."""

    takes_previous: bool = False  # the frame before this one is a sample
    takes_this: bool = False
    is_after_hole: bool = False  # between the frame before and this one lies a hole


class FrameSampler:
    """Decides which decoded frames are samples, one frame at a time, holding nothing but the last time.

    A sample is the frame nearest in time to a place of the grid `t0 + k * step`; at constant rate that is every n-th
    frame, also after frames were lost. A hole is a place without a frame within half a step (three quarters of a
    frame where the step is about one frame, so that jitter is no hole).
    """

    def __init__(self, rate: FrameRate, config: SamplingConfig) -> None:
        self._step_seconds = rate.step_seconds(config)
        self._tolerance = max(self._step_seconds / 2, 0.75 * rate.period_seconds)
        # At constant rate no later frame can be nearer, so the decision need not wait for the next one.
        self._slack = 0.0 if rate.is_variable else rate.period_seconds / 4
        self._start: float | None = None
        self._previous = -math.inf
        self._previous_taken = False
        self._place = 0  # next place of the grid, counted from the start

    def see(self, time_seconds: float) -> Choice:
        """Decide for the next usable frame; times ascend."""
        if self._start is None:
            self._start = time_seconds
        takes_previous = takes_this = is_after_hole = False
        while (place := self._start + self._place * self._step_seconds) <= time_seconds + self._slack:
            before, after = place - self._previous, abs(time_seconds - place)
            if min(before, after) > self._tolerance:
                is_after_hole = True
                # A hole may be hours long: go on at the first place this frame is near enough to.
                near = math.ceil((time_seconds - self._tolerance - self._start) / self._step_seconds)
                self._place = max(self._place + 1, near)
                continue
            if before <= after:
                takes_previous = True
            else:
                takes_this = True
            self._place += 1
        choice = Choice(takes_previous and not self._previous_taken, takes_this, is_after_hole)
        self._previous, self._previous_taken = time_seconds, takes_this
        return choice
