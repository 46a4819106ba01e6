"""The pairs on which a method errs most, and what the other methods make of them. Draws nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gim.evaluation.comparison import Runs
from gim.evaluation.reports.contents import Contents
from gim.evaluation.scores import errors_deg
from gim.records import Float64Array


@dataclass(frozen=True, slots=True)
class WorstPair:
    """A pair of a dataset, among the worst of a method."""

    method: str
    dataset: str
    identifier: str
    overlap: float | None  # of image 0, percent
    errors_deg: dict[str, float | None]  # of every method that has the pair; None: no pose


def worst_pairs(contents: Contents, method: str, dataset: str, count: int) -> list[WorstPair]:
    """Those with the largest errors; of pairs without a pose, and of equal errors, those that overlap most come first.

    Of several seeds the median counts.
    """
    errors = {
        name: pair_errors(results.runs[dataset])
        for name, results in contents.results.items()
        if dataset in results.runs
    }
    results = contents.results[method].runs[dataset][0]
    overlap = np.array([result.overlap0 for result in results], np.float64)
    order = np.lexsort([-np.nan_to_num(overlap, nan=-1), -errors[method]])[:count]
    return [
        WorstPair(
            method=method,
            dataset=dataset,
            identifier=results[place].identifier,
            overlap=100 * float(overlap[place]) if np.isfinite(overlap[place]) else None,
            errors_deg={name: _or_none(found[place]) for name, found in errors.items()},
        )
        for place in order.tolist()
    ]


def all_worst(contents: Contents, count: int) -> Iterator[WorstPair]:
    """`worst_pairs` of every dataset, and in it of every method, in their orders."""
    for dataset in contents.columns:
        for method, results in contents.results.items():
            if dataset in results.runs:
                yield from worst_pairs(contents, method, dataset, count)


def pair_errors(runs: Runs) -> Float64Array:
    """The error of each pair, degrees, the median over seeds; infinite where there is no pose."""
    errors = errors_deg(runs)
    return errors[0] if len(errors) == 1 else np.asarray(np.median(errors, axis=0))


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
