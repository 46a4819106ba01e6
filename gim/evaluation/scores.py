"""Scores of one method on one dataset, from the results of its pairs. Reads no file and compares no methods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from gim.evaluation.auc import error_auc
from gim.evaluation.error_scores import ErrorScore, auc_over_sets, score_sampled_errors
from gim.evaluation.results_file import PairResult
from gim.records import Float32Array, Float64Array

THRESHOLDS_DEG = (5.0, 10.0, 20.0)
MAIN = "5"  # the threshold that the paper's tables have
_BIN_WIDTH = 0.1  # of overlap


@dataclass(frozen=True, slots=True)
class OverlapBin:
    """The pairs whose overlap lies in a range."""

    low: float  # inclusive
    high: float  # exclusive but for the last, 1
    num_pairs: int
    auc: dict[str, float]  # threshold in degrees -> percent


@dataclass(frozen=True, slots=True)
class Score(ErrorScore):
    """What the poses of many pairs say of a method; thresholds are in degrees."""

    precision_before: float  # mean over pairs of the share of right matches, percent
    precision_after: float  # likewise of the inliers; 0 counts where there is no pose
    bins: list[OverlapBin] = field(default_factory=list)  # those that have pairs, ascending


def auc_percent(errors_deg: Sequence[float]) -> dict[str, float]:
    """The AUC of pose errors by threshold, in percent: `{"5": 60.2, "10": 68.9, "20": 74.0}`; zeros without pairs."""
    areas = error_auc(errors_deg, THRESHOLDS_DEG)
    return {f"{bound:g}": 100 * area for bound, area in zip(THRESHOLDS_DEG, areas, strict=True)}


def score_results(name: str, runs: Sequence[Sequence[PairResult]]) -> Score:
    """The score of a method on a dataset.

    Args:
        name: of the dataset; all methods are resampled alike on it.
        runs: the results of each seed, the same pairs in the same order.
    """
    return score_sampled(runs, sample_auc(name, errors_deg(runs)))


def score_sampled(runs: Sequence[Sequence[PairResult]], sets: Mapping[str, Float64Array]) -> Score:
    """`score_results` where `sample_auc` is known."""
    errors = errors_deg(runs)
    of_errors = score_sampled_errors(errors, THRESHOLDS_DEG, sets)
    return Score(
        **{item.name: getattr(of_errors, item.name) for item in fields(of_errors)},
        precision_before=_mean_percent([result.precision_before for run in runs for result in run]),
        precision_after=_mean_percent([result.precision_after for run in runs for result in run]),
        bins=_bins(errors, np.array([result.overlap0 for result in runs[0]])),
    )


def errors_deg(runs: Sequence[Sequence[PairResult]]) -> Float64Array:
    """Pose errors float64 [num_seeds, num_pairs], infinite where there is no pose."""
    rows = np.array([[result.pose_error_deg for result in run] for run in runs], np.float64)
    return rows.reshape(len(runs), -1)


def sample_auc(name: str, errors: Float64Array, counts: Float32Array | None = None) -> dict[str, Float64Array]:
    """`auc_over_sets` of the errors of `errors_deg` on a dataset of this name, at `THRESHOLDS_DEG`."""
    return auc_over_sets(name, errors, THRESHOLDS_DEG, counts)


def _bins(errors: Float64Array, overlap: Float64Array) -> list[OverlapBin]:
    last = round(1 / _BIN_WIDTH) - 1
    known = np.isfinite(overlap)
    index = np.full(len(overlap), -1)
    # An overlap of 0.3 in floating point is of the bin that begins there.
    index[known] = np.clip(np.floor(overlap[known] / _BIN_WIDTH + 1e-9), 0, last)
    bins = []
    for place in range(last + 1):
        inside = errors[:, index == place]
        if inside.shape[1]:
            by_seed = [auc_percent(list(row)) for row in inside]
            auc = {bound: float(np.mean([found[bound] for found in by_seed])) for bound in by_seed[0]}
            low, high = round(place * _BIN_WIDTH, 6), round((place + 1) * _BIN_WIDTH, 6)
            bins.append(OverlapBin(low, high, inside.shape[1], auc))
    return bins


def _mean_percent(shares: Sequence[float]) -> float:
    return 100 * float(np.mean(np.nan_to_num(shares))) if len(shares) else 0.0
