"""Curves of a report: AUC over the overlap of a pair, and the share of pairs over the error they are allowed."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from gim.evaluation.comparison import MethodResults
from gim.evaluation.reports.cells import printable
from gim.evaluation.reports.contents import Contents
from gim.evaluation.reports.panels import Frame, Series, line_panel
from gim.evaluation.scores import MAIN, OverlapBin, Score, errors_deg
from gim.records import Float64Array

BOUNDS_DEG = np.arange(0, 20.01, 0.25)
_LARGE = (640.0, 330.0)
_SMALL = (312.0, 190.0)


def overall_curves(contents: Contents, names: Sequence[str]) -> list[Markup]:
    """Both curves over the datasets that all methods have; nothing without one."""
    common = contents.common
    if not common:
        return []
    scores = contents.scores
    bins = [pooled_bins([scores[name].datasets[dataset] for dataset in common]) for name in names]
    recalls = [np.mean([recall(contents.results[name], dataset) for dataset in common], axis=0) for name in names]
    of_overlap = _overlap_panel(f"AUC@5° over overlap, all pairs of {_counted(common)}", _LARGE, names, bins)
    return [of_overlap, _recall_panel(f"Pairs within an error, mean of {_counted(common)}", _LARGE, recalls)]


def overlap_curves(contents: Contents, names: Sequence[str]) -> list[Markup]:
    """AUC@5 over overlap, a panel for every dataset that a method has."""
    scores = contents.scores
    having = [dataset for dataset in contents.columns if any(dataset in scores[name].datasets for name in names)]
    return [
        _overlap_panel(
            printable(dataset),
            _SMALL,
            names,
            [scores[name].datasets[dataset].bins if dataset in scores[name].datasets else [] for name in names],
        )
        for dataset in having
    ]


def recall_curves(contents: Contents, names: Sequence[str]) -> list[Markup]:
    """The share of pairs within an error, a panel for every dataset that a method has."""
    panels = []
    for dataset in contents.columns:
        found = [
            recall(contents.results[name], dataset) if dataset in contents.results[name].runs else np.empty(0)
            for name in names
        ]
        if any(len(curve) for curve in found):
            panels.append(_recall_panel(printable(dataset), _SMALL, found))
    return panels


def pooled_bins(scores: Sequence[Score]) -> list[OverlapBin]:
    """The bins of several datasets together, in which every pair counts the same."""
    of_low: dict[float, list[OverlapBin]] = {}
    for item in (item for score in scores for item in score.bins):
        of_low.setdefault(item.low, []).append(item)
    pooled = []
    for low, same in sorted(of_low.items()):
        weights = [item.num_pairs for item in same]
        auc = {bound: float(np.average([item.auc[bound] for item in same], weights=weights)) for bound in same[0].auc}
        pooled.append(OverlapBin(low, same[0].high, sum(weights), auc))
    return pooled


def recall(results: MethodResults, dataset: str) -> Float64Array:
    """The percentage of a dataset's pairs whose error is at most each of BOUNDS_DEG, the mean over seeds."""
    errors = np.sort(errors_deg(results.runs[dataset]).ravel())
    return 100 * np.searchsorted(errors, BOUNDS_DEG, side="right") / max(1, len(errors))


def _overlap_panel(
    title: str, size: tuple[float, float], names: Sequence[str], found: Sequence[Sequence[OverlapBin]]
) -> Markup:
    series = [
        Series(
            index,
            [(50 * (item.low + item.high), item.auc[MAIN]) for item in bins],
            [
                f"{printable(name)}, overlap {100 * item.low:.0f} to {100 * item.high:.0f} %: {item.auc[MAIN]:.1f}, "
                f"{item.num_pairs:,} pairs"
                for item in bins
            ],
        )
        for index, (name, bins) in enumerate(zip(names, found, strict=True))
    ]
    return line_panel(Frame(title, *size, x_high=100, x_label="overlap", x_suffix=" %"), series)


def _recall_panel(title: str, size: tuple[float, float], curves: Sequence[Float64Array]) -> Markup:
    series = [
        Series(index, list(zip(BOUNDS_DEG.tolist(), curve.tolist(), strict=True)) if len(curve) else [], [])
        for index, curve in enumerate(curves)
    ]
    frame = Frame(title, *size, x_high=float(BOUNDS_DEG[-1]), x_label="error of the pose", x_suffix="°")
    return line_panel(frame, series)


def _counted(datasets: Sequence[str]) -> str:
    return f"{len(datasets)} datasets" if len(datasets) > 1 else printable(datasets[0])
