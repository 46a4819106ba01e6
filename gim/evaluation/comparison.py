"""Several methods on several datasets in one table: means, ranks, intervals, and differences of any two of them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from gim.benchmarks.zeb import in_order
from gim.errors import InvalidInput
from gim.evaluation.bootstrap import Interval, interval_of, mean_of_sets, resample
from gim.evaluation.results_file import PairResult, read_results_file, results_files_of
from gim.evaluation.scores import MAIN, Score, errors_deg, sample_auc, score_sampled
from gim.records import Float64Array

_SEED = re.compile(r"(.+)\.seed(\d+)")  # a version: `strict-1.seed2` is one of several runs of `strict-1`

Runs = list[tuple[PairResult, ...]]  # of one method on one dataset, one per seed


@dataclass(frozen=True, slots=True)
class MethodScore:
    """A method over all its datasets."""

    method: str
    version: str
    mean: dict[str, float]  # threshold in degrees -> mean AUC over its datasets, percent
    interval: dict[str, Interval]  # of the mean
    rank: float | None  # mean over the datasets that all methods have, 1 is best; None without such a dataset
    datasets: dict[str, Score]  # in the order of the paper's table
    missing: list[str]  # datasets that another method has and this one has not


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better a method is than another, on the same pairs."""

    method: str
    other: str
    dataset: str  # empty: the mean over the datasets that both have
    auc: dict[str, float]  # threshold in degrees -> AUC of the method less that of the other, percent
    interval: dict[str, Interval]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Methods, the best mean first, and the differences of all pairs of them."""

    methods: list[MethodScore]
    differences: list[Difference]


@dataclass(frozen=True, slots=True)
class MethodResults:
    """What is known of a method, before it is scored."""

    method: str  # as in tables: with its version where there are several
    version: str
    runs: dict[str, Runs]  # dataset -> runs


def read_results(paths: Iterable[Path]) -> list[MethodResults]:
    """The results of files and folders, by method and version; versions that differ only in their seed belong together.

    Raises:
        InvalidInput: nothing is there, a file is malformed, one is given twice, or seeds have not the same pairs.
    """
    found: dict[tuple[str, str], dict[str, dict[str, tuple[Path, tuple[PairResult, ...]]]]] = {}
    for path in (file for given in paths for file in results_files_of(given)):
        read = read_results_file(path)
        seeded = _SEED.fullmatch(read.version)
        version, seed = seeded.groups() if seeded else (read.version, "")
        seeds = found.setdefault((read.method, version), {}).setdefault(read.dataset, {})
        if seed in seeds:
            raise InvalidInput(f"{path}: the results of {seeds[seed][0]} again")
        seeds[seed] = (path, read.results)
    if not found:
        raise InvalidInput("no results were given")
    num_versions: dict[str, int] = {}
    for method, _ in found:
        num_versions[method] = num_versions.get(method, 0) + 1
    return [
        MethodResults(
            method if num_versions[method] == 1 else f"{method} {version}",
            version,
            {dataset: _runs(datasets[dataset]) for dataset in in_order(datasets)},
        )
        for (method, version), datasets in sorted(found.items())
    ]


def compare(methods: Sequence[MethodResults]) -> Comparison:
    """Score methods and put them beside each other.

    Raises:
        InvalidInput: two methods have other pairs of one dataset.
    """
    _check_same_pairs(methods)
    every = in_order({dataset for item in methods for dataset in item.runs})
    sets: dict[str, dict[str, dict[str, Float64Array]]] = {item.method: {} for item in methods}
    for dataset in every:
        having = [item for item in methods if dataset in item.runs]
        num_pairs = len(having[0].runs[dataset][0])
        counts = resample(dataset, num_pairs) if num_pairs else None
        for item in having:
            sets[item.method][dataset] = sample_auc(dataset, errors_deg(item.runs[dataset]), counts)
    scores = {
        item.method: {dataset: score_sampled(item.runs[dataset], own) for dataset, own in sets[item.method].items()}
        for item in methods
    }
    main = {method: {dataset: score.auc[MAIN] for dataset, score in own.items()} for method, own in scores.items()}
    ranks = mean_ranks(main)
    table = [
        MethodScore(
            method=item.method,
            version=item.version,
            mean=_means([score.auc for score in scores[item.method].values()]),
            interval=_intervals(list(sets[item.method].values())),
            rank=ranks.get(item.method),
            datasets=scores[item.method],
            missing=[dataset for dataset in every if dataset not in item.runs],
        )
        for item in methods
    ]
    table.sort(key=lambda item: (-item.mean[MAIN], item.method))
    differences = [
        difference
        for better, other in combinations([item.method for item in table], 2)
        for difference in _differences(better, other, scores, sets)
    ]
    return Comparison(table, differences)


def mean_ranks(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The mean rank of each method over the datasets that all have; the larger score is first, ties share their ranks.

    Args:
        scores: method -> dataset -> score.

    Returns:
        Empty when no dataset is common to all.
    """
    common = set.intersection(*(set(own) for own in scores.values())) if scores else set()
    if not common:
        return {}
    table = np.array([[scores[method][dataset] for dataset in sorted(common)] for method in scores])
    return dict(zip(scores, rankdata(-table, axis=0).mean(axis=1).tolist(), strict=True))


def _runs(seeds: Mapping[str, tuple[Path, tuple[PairResult, ...]]]) -> Runs:
    ordered = [seeds[seed] for seed in sorted(seeds)]
    first_path, first = ordered[0]
    for path, results in ordered[1:]:
        if [result.identifier for result in results] != [result.identifier for result in first]:
            raise InvalidInput(f"{path}: has other pairs than {first_path}, of which it is another seed")
    return [results for _, results in ordered]


def _check_same_pairs(methods: Sequence[MethodResults]) -> None:
    first: dict[str, tuple[str, list[str]]] = {}
    for item in methods:
        for dataset, runs in item.runs.items():
            pairs = [result.identifier for result in runs[0]]
            other, theirs = first.setdefault(dataset, (item.method, pairs))
            if pairs != theirs:
                raise InvalidInput(
                    f"{dataset}: {item.method} has other pairs than {other}, or another order "
                    "(`gim evaluate check` names them)"
                )


def _differences(
    better: str,
    other: str,
    scores: Mapping[str, Mapping[str, Score]],
    sets: Mapping[str, Mapping[str, Mapping[str, Float64Array]]],
) -> list[Difference]:
    common = in_order(set(scores[better]) & set(scores[other]))
    found = []
    samples = []
    for dataset in common:
        auc = {bound: value - scores[other][dataset].auc[bound] for bound, value in scores[better][dataset].auc.items()}
        apart = {bound: value - sets[other][dataset][bound] for bound, value in sets[better][dataset].items()}
        samples.append(apart)
        found.append(
            Difference(better, other, dataset, auc, {bound: interval_of(value) for bound, value in apart.items()})
        )
    if not found:
        return []
    return [Difference(better, other, "", _means([item.auc for item in found]), _intervals(samples)), *found]


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {bound: float(np.mean([row[bound] for row in rows])) for bound in rows[0]}


def _intervals(rows: Sequence[Mapping[str, Float64Array]]) -> dict[str, Interval]:
    return {bound: interval_of(mean_of_sets([row[bound] for row in rows])) for bound in rows[0]}
