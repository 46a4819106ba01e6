"""What it takes from results of all of ZEB to its scores: from published files, and from the runner's cache."""

import tarfile
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np

from bench.findings import Findings, say
from bench.planted import KnownRows, KnownViews, PlantedMatcher
from bench.workspace import Workspace
from gim.adapters.store_file import FileStore
from gim.evaluation.comparison import compare, read_results
from gim.evaluation.passes import Evaluation
from gim.evaluation.pose_scorer import pair_results
from gim.evaluation.protocols import protocol_named
from gim.evaluation.results_file import PairResult, read_results_file, results_files_of
from gim.evaluation.scores import score_results
from gim.evaluation.zeb import write_results

PUBLISHED_MEANS = {"gim_dkm": 51.21, "root_sift": 31.90}
MOST_SECONDS = 60  # "in seconds", for all of ZEB


def measure_metrics(findings: Findings, workspace: Workspace) -> None:
    """Both ways, on the published results of two methods."""
    folder = _published(workspace)
    if folder is None:
        findings.notes.append("the published results are not there: nothing is said of ZEB's 45,916 pairs")
        return
    say("metrics of published files")
    started = time.perf_counter()
    methods = compare(read_results([folder])).methods
    seconds = time.perf_counter() - started
    num_pairs = sum(score.num_pairs for score in methods[0].datasets.values())
    findings.at_most(
        f"two methods' files of {num_pairs:,} pairs each to the whole comparison", seconds, MOST_SECONDS, " s"
    )
    for method in methods:
        asked = PUBLISHED_MEANS[method.method]
        found = method.mean["5"]
        findings.claim(f"{method.method}: mean AUC@5", f"{asked:.2f}", f"{found:.2f}", abs(found - asked) < 0.01)
    _measure_cached(findings, workspace, folder)


def _measure_cached(findings: Findings, workspace: Workspace, folder: Path) -> None:
    """The rows of the better method, kept as the runner keeps them; then what `gim evaluate zeb` does with them."""
    every = workspace.chosen(quick=8, normal=1)
    files = [read_results_file(path) for path in results_files_of(folder) if "gim_dkm" in path.name]
    datasets = {file.dataset: file.results[::every] for file in files}
    with closing(FileStore(workspace.folder / "cached")) as store, ThreadPoolExecutor(2) as executor:
        kept = {name: _evaluation_of(store, name, results) for name, results in datasets.items()}
        say("rows into a store")
        started = time.perf_counter()
        for evaluation in kept.values():
            evaluation.run(executor)
        filled = time.perf_counter() - started
        started = time.perf_counter()
        for name, results in datasets.items():
            _files_from_cache(workspace.folder / "out", name, results, kept[name], executor)
        seconds = time.perf_counter() - started
    num_pairs = sum(map(len, datasets.values()))
    findings.at_most(f"from the cache of {num_pairs:,} pairs to scores and result files", seconds, MOST_SECONDS, " s")
    findings.tell("what keeping matches and scores costs, a pair", f"{1e3 * filled / num_pairs:.2f} ms")


def _files_from_cache(
    out: Path,
    name: str,
    known: Sequence[PairResult],
    evaluation: Evaluation,
    executor: Executor,
) -> None:
    evaluation.run(executor)
    rows = evaluation.rows()
    assert rows is not None
    overlaps = [(result.overlap0, result.overlap1) for result in known]
    runs = pair_results([result.identifier for result in known], overlaps, rows)
    write_results(out, "planted", name, protocol_named("gim"), runs)
    score_results(name, runs)


def _evaluation_of(store: FileStore, name: str, results: Sequence[PairResult]) -> Evaluation:
    rows = [
        [item.rotation_error_deg, item.translation_error_deg, item.translation_error, 0, item.num_right_before, 0, 0]
        for item in results
    ]
    pairs = [(result.identifier, "") for result in results]
    scorer = KnownRows("known-00000000", np.array(rows, np.float64)[:, None])
    return Evaluation(store, KnownViews(f"{name}-00000000", pairs), scorer, PlantedMatcher([]))


def _published(workspace: Workspace) -> Path | None:
    archive = workspace.data.parent / "zeb_results" / "published.tar.xz"
    if not archive.exists():
        return None
    folder = workspace.folder / "published"
    folder.mkdir(exist_ok=True)
    with tarfile.open(archive) as opened:
        for member in opened:
            if member.isfile() and (content := opened.extractfile(member)):
                (folder / Path(member.name).name).write_bytes(content.read())
    return folder
