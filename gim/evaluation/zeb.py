"""ZEB's datasets as the runner takes them, and what it finds as ZEB's result files have it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gim.benchmarks.building.manifest import built_datasets
from gim.benchmarks.zeb import DATASETS, ZebDataset, ZebPair, find_datasets
from gim.evaluation.image_size import SizeRule
from gim.evaluation.pose_scorer import PoseScorer, pair_results, pose_scorer
from gim.evaluation.protocols import PoseProtocol
from gim.evaluation.results_file import PairResult, format_results, results_file_name
from gim.evaluation.scores import Score
from gim.evaluation.views import FolderViews, folder_views
from gim.records import Float64Array
from gim.whole_file import write_whole


@dataclass(frozen=True, slots=True)
class FoundDatasets:
    """Which datasets are to be evaluated, and where they lie."""

    root: Path
    datasets: list[ZebDataset]
    missing: list[ZebDataset]  # that were asked for, or belong to the twelve of which some are there


def find_benchmarks(root: Path, names: Sequence[str] = ()) -> FoundDatasets:
    """Datasets of ZEB, and those that `gim zeb build` made, below a folder; or the one built dataset that it is.

    Args:
        root: the folder.
        names: of datasets, as folders or tables have them; all that are there by default.

    Raises:
        InvalidInput: there are none, or a name is of no dataset.
    """
    built = built_datasets(root)
    if [item.folder for item in built] == ["."]:
        root = root.absolute()
        root, built = root.parent, [replace(built[0], folder=root.name)]
        names = names or [built[0].name]
    chosen = [item for item in built if not names or {item.folder, item.name}.intersection(names)]
    others = [name for name in names if not any(name in (item.folder, item.name) for item in built)]
    if built and not others and (names or not _has_published(root)):
        return FoundDatasets(root, chosen, [])
    found, missing = find_datasets(root, others)
    return FoundDatasets(root, [*found, *chosen], missing)


def zeb_evaluation(
    root: Path, dataset: ZebDataset, pairs: Sequence[ZebPair], protocol: PoseProtocol
) -> tuple[FolderViews, PoseScorer]:
    """The views and the scorer of a dataset's pairs.

    Raises:
        InvalidInput: an image is absent.
    """
    names = [(pair.image0, pair.image1) for pair in pairs]
    views = folder_views(dataset.folder, root / dataset.folder, names, size_rule(dataset, protocol))
    return views, pose_scorer(pairs, protocol, views)


def size_rule(dataset: ZebDataset, protocol: PoseProtocol) -> SizeRule:
    """At which size images are matched: the protocol's where it has one, else the dataset's."""
    if protocol.longest_side is not None:
        return protocol.size_rule
    return SizeRule(dataset.longest_side, dataset.multiple_of, dataset.padded_to)


def results_of(pairs: Sequence[ZebPair], rows: Float64Array) -> list[list[PairResult]]:
    """The results of each seed, pair by pair; `rows` as the scorer gives them."""
    overlaps = [(pair.overlap0, pair.overlap1) for pair in pairs]
    return pair_results([pair.identifier for pair in pairs], overlaps, rows)


def write_results(
    folder: Path, method: str, dataset: str, protocol: PoseProtocol, runs: Sequence[Sequence[PairResult]]
) -> list[Path]:
    """Write a result file for each seed, whole or not at all; one that is there is replaced.

    Raises:
        InvalidInput: the folder cannot be written to, or the method's name cannot be part of a file's.
        DiskFull: there is no room.
    """
    versions = [f"{protocol.id}.seed{seed}" for seed in protocol.seeds] or [protocol.id]
    written = []
    for version, results in zip(versions, runs, strict=True):
        path = folder / results_file_name(method, dataset, version)
        written.append(write_whole(path, format_results(results)))
    return written


def _has_published(root: Path) -> bool:
    return any((root / dataset.folder).is_dir() for dataset in DATASETS)


def mean_auc(scores: Mapping[str, Score]) -> dict[str, float]:
    """The mean AUC over datasets by threshold, percent; empty without any."""
    auc = [score.auc for score in scores.values()]
    return {bound: float(np.mean([row[bound] for row in auc])) for bound in auc[0]} if auc else {}
