"""How far scores would move with other pairs of the same kind: percentiles over resampled sets of pairs.

Methods are resampled alike, by the name of the dataset and its number of pairs, so that the difference of two methods
is that of the same sets: Efron and Tibshirani, An Introduction to the Bootstrap, Ch. 13 (percentile interval).
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gim.records import Float32Array, Float64Array

NUM_SETS = 1000
CONFIDENCE_PERCENT = 95.0
_FEW = 64  # of the largest errors below a bound: one of them is nearly always in a set


@dataclass(frozen=True, slots=True)
class Interval:
    """Where 95 % of the resampled scores lie."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference of this interval is one."""
        return self.low > 0 or self.high < 0


def resample(name: str, num_pairs: int, num_sets: int = NUM_SETS) -> Float32Array:
    """How often each of the pairs is in each set: float32 [num_sets, num_pairs], rows add up to `num_pairs`."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    drawn = random.integers(0, num_pairs, (num_sets, num_pairs), dtype=np.int32)
    drawn += np.arange(num_sets, dtype=np.int32)[:, None] * num_pairs
    counts = np.bincount(drawn.ravel(), minlength=num_sets * num_pairs)
    return counts.reshape(num_sets, num_pairs).astype(np.float32)


def auc_of_sets(errors: npt.ArrayLike, counts: Float32Array, threshold: float) -> Float64Array:
    """`gim.evaluation.auc.error_auc` of every set at one threshold: float64 [num_sets] in [0, 1].

    With k errors below the threshold t, of sum S and largest e, the area under the lines that join n sorted errors is
    (k t - S + e / 2) / (n t): no set has to be sorted.

    Args:
        errors: [N], NaN or infinite for a failure.
        counts: [num_sets, N] of `resample`.
        threshold: in the unit of the errors, above zero.
    """
    error = np.asarray(errors, np.float64)
    num_pairs = len(error)
    below = np.flatnonzero(error < threshold)  # NaN is not
    below = below[np.argsort(-error[below], kind="stable")]
    if not len(below):
        return np.zeros(len(counts))
    chosen = np.take(counts, below, axis=1).astype(np.float64)
    weights = np.column_stack([np.ones(len(below)), error[below]])
    num_below, total = (chosen @ weights).T
    largest = _first_chosen(chosen, error[below])
    return np.asarray((num_below * threshold - total + largest / 2) / (num_pairs * threshold))


def interval_of(scores: npt.ArrayLike) -> Interval:
    """The interval of the scores of sets."""
    outside = (100 - CONFIDENCE_PERCENT) / 2
    low, high = np.percentile(np.asarray(scores, np.float64), [outside, 100 - outside])
    return Interval(float(low), float(high))


def mean_of_sets(scores: Sequence[Float64Array]) -> Float64Array:
    """The mean score of several datasets, set by set: float64 [num_sets]."""
    return np.asarray(np.mean(np.stack(scores), axis=0))


def _first_chosen(chosen: Float64Array, descending: Float64Array) -> Float64Array:
    """The largest value that each set has, 0 for a set that has none."""
    few = chosen[:, :_FEW] > 0
    largest = np.where(few.any(axis=1), descending[few.argmax(axis=1)], 0.0)
    for row in np.flatnonzero(~few.any(axis=1)):
        there = np.flatnonzero(chosen[row] > 0)
        largest[row] = descending[there[0]] if len(there) else 0.0
    return largest
