"""The AUC of errors of any unit, of all pairs and of groups of them, with intervals and spread over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gim.evaluation.auc import error_auc
from gim.evaluation.bootstrap import Interval, auc_of_sets, interval_of, resample
from gim.records import Float32Array, Float64Array


@dataclass(frozen=True, slots=True)
class ErrorScore:
    """What the errors of many pairs say; with several seeds, the mean over them and how far they lie apart."""

    num_pairs: int
    num_failures: int  # pairs without an estimate; of several seeds, the most
    auc: dict[str, float]  # threshold -> percent
    spread: dict[str, float]  # likewise, largest less smallest of the seeds
    interval: dict[str, Interval]  # likewise, over resampled sets of pairs


def score_errors(name: str, errors: Float64Array, thresholds: Sequence[float]) -> ErrorScore:
    """The score of a method on a benchmark; zeros without pairs.

    Args:
        name: of the benchmark; all methods are resampled alike on it.
        errors: [num_seeds, num_pairs], infinite where there is no estimate.
        thresholds: in the unit of the errors.
    """
    return score_sampled_errors(errors, thresholds, auc_over_sets(name, errors, thresholds))


def score_sampled_errors(
    errors: Float64Array, thresholds: Sequence[float], sets: Mapping[str, Float64Array]
) -> ErrorScore:
    """`score_errors` where `auc_over_sets` is known."""
    by_seed = 100 * np.array([error_auc(row, thresholds) for row in errors])
    bounds = [f"{bound:g}" for bound in thresholds]
    return ErrorScore(
        num_pairs=errors.shape[1],
        num_failures=int((~np.isfinite(errors)).sum(axis=1).max()),
        auc=dict(zip(bounds, by_seed.mean(axis=0).tolist(), strict=True)),
        spread=dict(zip(bounds, np.ptp(by_seed, axis=0).tolist(), strict=True)),
        interval={bound: interval_of(sets[bound]) for bound in bounds},
    )


def auc_over_sets(
    name: str, errors: Float64Array, thresholds: Sequence[float], counts: Float32Array | None = None
) -> dict[str, Float64Array]:
    """The AUC in percent of resampled sets of pairs, [num_sets] for each threshold, the mean over seeds.

    Args:
        name: of the benchmark.
        errors: see `score_errors`.
        thresholds: see `score_errors`.
        counts: `resample(name, num_pairs)`, where it is at hand.
    """
    if not errors.size:
        return {f"{bound:g}": np.zeros(1) for bound in thresholds}
    counts = resample(name, errors.shape[1]) if counts is None else counts
    return {
        f"{bound:g}": 100 * np.mean([auc_of_sets(row, counts, bound) for row in errors], axis=0) for bound in thresholds
    }


def score_groups(
    name: str, errors: Float64Array, groups: Sequence[str], thresholds: Sequence[float]
) -> dict[str, ErrorScore]:
    """The score of each group of pairs, by name.

    Args:
        name: of the benchmark.
        errors: [num_seeds, num_pairs].
        groups: of each pair.
        thresholds: in the unit of the errors.
    """
    of_pair = np.array(groups)
    return {
        group: score_errors(f"{name}/{group}", errors[:, of_pair == group], thresholds) for group in sorted(set(groups))
    }
