"""Reading back what a run has written of one video, and scoring it against known cameras."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gim import codecs, keys
from gim.adapters.store_file import FileStore
from gim.evaluation.cameras import KnownCameras
from gim.evaluation.check import IntervalScore, JudgedPair, score_pairs
from gim.export.selection import read_pairs, select_pairs
from gim.labels.pairing import LABELLED
from gim.ports.store import Store
from gim.records import Float32Array, FrameManifest, PairsManifest, SegmentLabels
from gim.results import find_results

Frames = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Labelled:
    """One video's result, in memory."""

    frames: FrameManifest
    result: PairsManifest
    pairs: dict[Frames, Float32Array]  # (frame0, frame1) -> correspondences [N, 4]
    base: dict[Frames, Float32Array]

    def interval_samples(self, pair: Frames) -> int:
        """Samples between the two frames of a pair."""
        indices = self.frames.frame_indices
        return indices.index(pair[1]) - indices.index(pair[0])

    def pairs_at(self, interval: int) -> dict[Frames, Float32Array]:
        """The pairs of one interval, in samples."""
        return {pair: points for pair, points in self.pairs.items() if self.interval_samples(pair) == interval}

    def seconds_of(self, pair: Frames) -> float:
        """The interval of a pair in seconds, as a multiple of the sampling step."""
        return round(self.interval_samples(pair) * self.frames.step_seconds, 3)

    def starts_with_room(self, interval: int) -> int:
        """Samples of used shots after which the shot still lasts that many samples: no recipe can keep more pairs."""
        return sum(max(0, shot.num_samples - interval) for shot in self.frames.shots if not shot.rejected)


def read_labelled(store_folder: Path, video_id: str, recipe_id: str | None = None) -> Labelled:
    """Read the one result of a video and recipe."""
    with closing(FileStore(store_folder)) as store:
        (result,) = find_results(store, [video_id], recipe_id)
        key = keys.frame_manifest(video_id, result.sampling_id)
        frames = codecs.from_json(FrameManifest, store.get(key))
        found = (item.pair for item in read_pairs(store, select_pairs(store, result, ())))
        pairs = {(pair.frame0, pair.frame1): pair.correspondences for pair in found}
        return Labelled(frames, result, pairs, _base_labels(store, result))


def score(pairs: dict[Frames, Float32Array], cameras: KnownCameras, labelled: Labelled) -> dict[float, IntervalScore]:
    """Scores by interval in seconds, ascending; under infinity, of all together."""
    judged = (JudgedPair(*pair, labelled.seconds_of(pair), points) for pair, points in pairs.items())
    return by_interval(score_pairs(judged, cameras))


def score_together(pairs: dict[Frames, Float32Array], cameras: KnownCameras) -> IntervalScore | None:
    """One score of all pairs; None without any."""
    scores = score_pairs((JudgedPair(*pair, 0.0, points) for pair, points in pairs.items()), cameras)
    return scores[-1] if scores else None


def by_interval(scores: Iterable[IntervalScore]) -> dict[float, IntervalScore]:
    """The same scores by their interval."""
    return {float("inf") if s.interval_seconds is None else s.interval_seconds: s for s in scores}


def _base_labels(store: Store, result: PairsManifest) -> dict[Frames, Float32Array]:
    base: dict[Frames, Float32Array] = {}
    for matcher_id in result.matcher_ids:
        for key in store.list(keys.labels_prefix(result.video_id, result.sampling_id, matcher_id)):
            labels = codecs.from_npz(SegmentLabels, store.get(key))
            for row in np.flatnonzero(labels.outcomes == LABELLED):
                frame0, frame1 = (int(frame) for frame in labels.frames[row])
                base[frame0, frame1] = labels.correspondences[labels.offsets[row] : labels.offsets[row + 1]]
    return base
