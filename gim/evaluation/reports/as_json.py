"""The report as one object of JSON, numbers in full; what is not there is null, and nothing is NaN or infinite."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gim.evaluation.bootstrap import Interval
from gim.evaluation.comparison import Difference, MethodScore
from gim.evaluation.reports.contents import Contents, Summary
from gim.evaluation.reports.notes import protocol_of
from gim.evaluation.scores import MAIN, Score


def as_json(contents: Contents) -> dict[str, Any]:
    """The object: `methods` by name, best mean first, then `differences`, `published` and `notes`.

    Of a single method, `auc`, `pairs` and `failures` stand at the top as well.
    """
    scores = contents.scores
    found: dict[str, Any] = {
        "methods": {item.name: _method(item, scores[item.name]) for item in contents.summaries},
        "differences": [_difference(item) for item in contents.comparison.differences],
        "published": {
            "rows": [asdict(row) for row in contents.published.scores],
            "errata": [asdict(erratum) for erratum in contents.published.errata],
        },
        "notes": [note.text for note in contents.notes],
    }
    if len(contents.summaries) == 1:
        (only,) = contents.summaries
        found |= {"auc": only.auc, "pairs": only.num_pairs, "failures": only.num_failures}
    return found


def _method(summary: Summary, score: MethodScore) -> dict[str, Any]:
    protocol = protocol_of(summary.version)
    return {
        "mean": score.mean[MAIN],
        "rank": score.rank,
        "datasets": {dataset: found.auc[MAIN] for dataset, found in score.datasets.items()},
        "auc": score.mean,
        "interval": _intervals(score.interval),
        "pairs": summary.num_pairs,
        "failures": summary.num_failures,
        "version": summary.version,
        "protocol": asdict(protocol) if protocol else None,
        "seeds": summary.num_seeds,
        "missing": summary.missing,
        "scores": {dataset: _score(found) for dataset, found in score.datasets.items()},
    }


def _score(score: Score) -> dict[str, Any]:
    return {
        "auc": score.auc,
        "interval": _intervals(score.interval),
        "spread": score.spread,
        "pairs": score.num_pairs,
        "failures": score.num_failures,
        "precision_before": score.precision_before,
        "precision_after": score.precision_after,
        "overlap_bins": [
            {"low": found.low, "high": found.high, "pairs": found.num_pairs, "auc": found.auc} for found in score.bins
        ],
    }


def _difference(item: Difference) -> dict[str, Any]:
    return {
        "method": item.method,
        "other": item.other,
        "dataset": item.dataset or None,  # null: of the means over the datasets that both have
        "auc": item.auc,
        "interval": _intervals(item.interval),
        "excludes_zero": {bound: interval.excludes_zero for bound, interval in item.interval.items()},
    }


def _intervals(intervals: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    return {bound: asdict(interval) for bound, interval in intervals.items()}
