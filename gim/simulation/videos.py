"""The videos of a simulation: how long each is, and into which segments, frames and pairs it falls."""

from dataclasses import dataclass

import numpy as np

from gim.simulation.messages import Floats, Ints
from gim.simulation.plan import VideosPlan

_ROOM = 1024  # videos, at first


@dataclass(frozen=True, slots=True)
class Segments:
    """Segments of videos, one after the other."""

    video: Ints  # [n], row of the video among those asked about
    number: Ints  # [n], within its video
    samples: Ints  # [n], that it owns
    frames: Ints  # [n], that a matcher needs: with those of the next segment that its pairs reach
    pairs: Ints  # [n]


def draw_seconds(plan: VideosPlan, rng: np.random.Generator, number: int) -> Floats:
    """Lengths of so many videos, seconds, float64 [number]."""
    if plan.lengths_seconds and plan.number:
        drawn = np.resize(np.asarray(plan.lengths_seconds, np.float64), number)
    elif plan.lengths_seconds:
        drawn = rng.choice(np.asarray(plan.lengths_seconds, np.float64), number)
    else:
        drawn = rng.lognormal(np.log(plan.median_seconds), plan.spread, number)
    seconds: Floats = np.minimum(drawn, plan.max_seconds)
    return seconds


def num_samples(plan: VideosPlan, seconds: Floats) -> Ints:
    """Samples that are used, of videos of these lengths, int64 [n]."""
    return np.maximum(np.ceil(seconds / plan.interval_seconds * plan.used_share), 1).astype(np.int64)


def num_segments(plan: VideosPlan, samples: Ints) -> Ints:
    """Segments of videos with so many samples, int64 [n]."""
    most = plan.segment_samples
    shot = _shot_samples(plan, samples)
    whole, rest = np.divmod(samples, shot)
    number: Ints = whole * -(-shot // most) + -(-rest // most)
    return number


def split(plan: VideosPlan, samples: Ints) -> Segments:
    """The segments of videos with so many samples: of each shot up to `segment_samples` at a time.

    A segment owns the pairs whose first sample it holds, as gim/labels/pairing.py has it.
    """
    most = plan.segment_samples
    shot = _shot_samples(plan, samples)
    per_shot = -(-shot // most)
    whole, rest = np.divmod(samples, shot)
    number = num_segments(plan, samples)
    video = np.repeat(np.arange(len(samples)), number)
    place = np.arange(len(video)) - np.repeat(np.cumsum(number) - number, number)
    of_shot, in_shot = np.divmod(place, per_shot)
    length = np.where(of_shot < whole[video], shot, rest[video])  # of its shot
    first = in_shot * most
    own = np.minimum(most, length - first)
    left = length - first - own  # samples of the shot behind it
    pairs = sum(np.minimum(np.maximum(own + left - interval, 0), own) for interval in plan.base_intervals)
    frames = own + np.minimum(left, max(plan.base_intervals))
    return Segments(video, place, own, frames, np.asarray(pairs, np.int64))


def _shot_samples(plan: VideosPlan, samples: Ints) -> int:
    """Samples of a shot; of one that has no end, as many as the longest of the videos has."""
    if not plan.shot_seconds:
        return int(samples.max(initial=1))
    return max(round(plan.shot_seconds / plan.interval_seconds), 1)


class Videos:
    """All videos that were asked for so far: columns with room for more than there are yet."""

    def __init__(self) -> None:
        self.num = 0
        self.seconds = np.zeros(_ROOM)
        self.samples = np.zeros(_ROOM, np.int64)  # that are used
        self.segments = np.zeros(_ROOM, np.int64)
        self.hash = np.zeros(_ROOM, np.int64)  # of the id: says which partition begins
        self.taken = np.zeros(_ROOM)  # when a downloader took it, seconds
        self.left = np.zeros(_ROOM, np.int64)  # labels that are missing, of all matchers
        self.labelled = np.zeros(_ROOM)  # when the last label of a matcher came

    def add(self, plan: VideosPlan, seconds: Floats, rng: np.random.Generator) -> Ints:
        """More videos of these lengths; returns their rows."""
        rows = np.arange(self.num, self.num + len(seconds))
        self.num += len(seconds)
        if self.num > len(self.seconds):
            for name, column in vars(self).items():
                if isinstance(column, np.ndarray):
                    setattr(self, name, np.concatenate([column, np.zeros(self.num, column.dtype)]))
        self.seconds[rows] = seconds
        self.samples[rows] = num_samples(plan, seconds)
        self.segments[rows] = num_segments(plan, self.samples[rows])
        self.hash[rows] = rng.integers(0, 2**31, len(seconds))
        return rows
