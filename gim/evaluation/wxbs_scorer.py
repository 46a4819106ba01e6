"""Scores correspondences by the fundamental matrix they lead to: how much of what people marked agrees with it.

The metric is the recall of WxBS (Mishkin et al., BMVC 2015): the share of marked correspondences whose symmetric
epipolar distance, the root of the sum of both squares, is within a threshold.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import poselib

from gim import keys
from gim.benchmarks.wxbs import MarkedPair
from gim.evaluation.bootstrap import Interval, interval_of, resample
from gim.evaluation.estimation import Revisioned, poselib_options
from gim.geometry.epipolar import squared_symmetric_epipolar_distance
from gim.records import Float32Array, Float64Array
from gim.spelling import one_named

THRESHOLDS_PX = tuple(range(21))  # 0 to 20; the authors' own plots end at 19
MEANS_PX = (10, 20)  # mean recall from 1 px up to these is the mAA
NUM_COUNTS = 2  # numbers of a pair before its recalls: whether there is a matrix, and how many matches


@dataclass(frozen=True, slots=True)
class FundamentalProtocol(Revisioned):
    """How a fundamental matrix is estimated, in pixels of the images as given."""

    solver: Literal["opencv-magsac", "poselib"]
    threshold_px: float  # largest epipolar error of an inlier
    success_probability: float
    max_iterations: int  # samples drawn at most
    is_fixed_length: bool
    seeds: tuple[int, ...]  # one run each, scores are their means; empty: the solver takes none and has its own
    min_matches: int  # fewer are a failure
    source: str


PROTOCOLS = (
    FundamentalProtocol(
        name="wxbs",
        revision=1,
        solver="opencv-magsac",
        threshold_px=0.25,
        success_probability=0.999,
        max_iterations=100_000,
        is_fixed_length=False,
        seeds=(),
        min_matches=8,
        source="the example of ducha-aiki/wxbs-benchmark, README.md",
    ),
    FundamentalProtocol(
        name="strict",
        revision=1,
        solver="poselib",
        threshold_px=1.0,
        success_probability=0.99999,
        max_iterations=2_000,
        is_fixed_length=True,
        seeds=(0, 1, 2),
        min_matches=8,
        source="ours",
    ),
)


@dataclass(frozen=True, slots=True)
class RecallScore:
    """What marked correspondences say of a method; with several seeds, the mean over them and how far they differ."""

    num_pairs: int
    num_failures: int  # pairs without a matrix; of several seeds, the most
    recall: dict[str, float]  # threshold in pixels -> mean over pairs, percent
    maa: dict[str, float]  # largest threshold -> mean recall from 1 px up to it, percent
    spread: dict[str, float]  # of the mAA, largest less smallest of the seeds
    interval: dict[str, Interval]  # of the mAA, over resampled sets of pairs


@dataclass(frozen=True, slots=True, eq=False)
class RecallScorer:
    """Estimates the fundamental matrix of every pair, once for each seed of the protocol."""

    id: str
    pairs: Sequence[MarkedPair]
    protocol: FundamentalProtocol

    def score(self, pair: int, points: Float32Array) -> Float64Array:
        """Numbers [num_seeds, 23] of a pair: 1 or 0 for a matrix, matches, recalls at `THRESHOLDS_PX`."""
        marked = self.pairs[pair].points
        rows = []
        for seed in self.protocol.seeds or (0,):
            F01 = estimate_fundamental(points, self.protocol, seed)
            recalls = np.zeros(len(THRESHOLDS_PX)) if F01 is None else marked_recall(marked, F01)
            rows.append([F01 is not None, len(points), *recalls])
        return np.array(rows, np.float64)


def fundamental_protocol_named(name: str) -> FundamentalProtocol:
    """The protocol of a name.

    Raises:
        ConfigError: there is none; the message has all.
    """
    return one_named(name, PROTOCOLS, "protocol of WxBS")


def recall_scorer(pairs: Sequence[MarkedPair], protocol: FundamentalProtocol) -> RecallScorer:
    """The scorer of pairs with marked correspondences."""
    truth = hashlib.sha256()
    for pair in pairs:
        truth.update(pair.points.tobytes())
    return RecallScorer(keys.config_id(f"f-{protocol.id}", protocol, truth.hexdigest()), pairs, protocol)


def marked_recall(marked: Float64Array, F01: Float64Array) -> Float64Array:
    """The share [21] of marked correspondences [N, 4] within each of `THRESHOLDS_PX` of their epipolar lines."""
    distance = np.sqrt(squared_symmetric_epipolar_distance(marked, F01))
    return np.array([np.mean(distance <= bound) for bound in THRESHOLDS_PX])


def estimate_fundamental(points: Float32Array, protocol: FundamentalProtocol, seed: int = 0) -> Float64Array | None:
    """The fundamental matrix [3, 3] of correspondences [N, 4], pixels; None where there is none."""
    rows = np.asarray(points, np.float64)
    if len(rows) < protocol.min_matches:
        return None
    F01 = {"opencv-magsac": _by_magsac, "poselib": _by_poselib}[protocol.solver](rows, protocol, seed)
    return F01 if F01 is not None and F01.shape == (3, 3) and np.isfinite(F01).all() and F01.any() else None


def score_recalls(name: str, rows: Float64Array) -> RecallScore:
    """The score of a method.

    Args:
        name: of the benchmark; all methods are resampled alike on it.
        rows: float64 [num_pairs, num_seeds, 23] of `RecallScorer.score`.
    """
    recalls = 100 * rows[..., NUM_COUNTS:]
    counts = resample(name, len(rows))
    maa, spread, interval = {}, {}, {}
    for bound in MEANS_PX:
        by_pair = recalls[..., 1 : bound + 1].mean(axis=-1)
        maa[f"{bound}"] = float(by_pair.mean())
        spread[f"{bound}"] = float(np.ptp(by_pair.mean(axis=0)))
        interval[f"{bound}"] = interval_of(counts @ by_pair.mean(axis=1) / len(rows))
    mean_recall = recalls.mean(axis=(0, 1))
    return RecallScore(
        num_pairs=len(rows),
        num_failures=int((rows[..., 0] == 0).sum(axis=0).max()),
        recall={f"{bound}": float(recall) for bound, recall in zip(THRESHOLDS_PX, mean_recall, strict=True)},
        maa=maa,
        spread=spread,
        interval=interval,
    )


def _by_magsac(rows: Float64Array, protocol: FundamentalProtocol, _seed: int) -> Float64Array | None:
    try:
        F01, _ = cv2.findFundamentalMat(
            rows[:, :2],
            rows[:, 2:],
            cv2.USAC_MAGSAC,
            protocol.threshold_px,
            protocol.success_probability,
            protocol.max_iterations,
        )
    except cv2.error:  # raised instead of "no model" for some degenerate inputs
        return None
    return None if F01 is None else np.asarray(F01, np.float64)


def _by_poselib(rows: Float64Array, protocol: FundamentalProtocol, seed: int) -> Float64Array:
    options = poselib_options(protocol, seed, max_epipolar_error=protocol.threshold_px)
    F01, _ = poselib.estimate_fundamental(rows[:, :2], rows[:, 2:], options, {})
    return np.asarray(F01, np.float64)
