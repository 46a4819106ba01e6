"""`gim evaluate zeb`: a matcher on ZEB, the zero-shot evaluation benchmark of GIM."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gim.cli._evaluation import (
    ProtocolOption,
    ShardOption,
    WorkersOption,
    judge,
    print_json,
    print_pose_scores,
    protocol_facts,
    score_facts,
)
from gim.cli._options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    MatcherOption,
    SetOption,
    StoreOption,
    load_settings,
)
from gim.cli._terminal import say_note

if TYPE_CHECKING:
    from gim.benchmarks.zeb import ZebDataset, ZebPair
    from gim.evaluation.passes import Evaluation
    from gim.evaluation.scores import Score
    from gim.records import Float32Array


def add_commands(evaluate: typer.Typer) -> None:
    """Add `gim evaluate zeb`."""
    evaluate.command("zeb")(evaluate_zeb)


def evaluate_zeb(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Holds a folder for each dataset: gl3d, kitti, ..., or built ones.")
    ],
    *,
    matcher: MatcherOption = "rootsift",
    protocol: ProtocolOption = "gim",
    dataset: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Repeatable; all that are there by default.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="For the result files, one per dataset.")] = Path(
        "zeb-results"
    ),
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="In result files.", show_default="the matcher's")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page on it, with the worst pairs drawn.")
    ] = None,
    workers: WorkersOption = 1,
    shard: ShardOption = None,
    device: DeviceOption = None,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a matcher on ZEB. Matches stay in the store: stopped, the same command goes on where it was."""
    from gim.benchmarks.zeb import read_dataset
    from gim.evaluation.protocols import protocol_named
    from gim.evaluation.results_file import results_file_name
    from gim.evaluation.scores import score_results
    from gim.evaluation.zeb import find_benchmarks, results_of, write_results, zeb_evaluation
    from gim.keys import matcher_name
    from gim.runtime.trained import with_run

    started = time.monotonic()
    settings, matcher = with_run(load_settings(sets, config, store=store, inference__device=device), matcher)
    chosen = protocol_named(protocol)
    name = method or matcher_name(matcher)  # of files, which cannot have a colon everywhere
    results_file_name(name, "x", "y")  # refused before any work, as the next
    _check_folder(out)
    there = find_benchmarks(folder, dataset or ())
    found, missing = there.datasets, there.missing
    if missing:
        say_note(f"{folder} has no {', '.join(item.folder for item in missing)}: the mean is over {len(found)}")
    pairs = {item: read_dataset(there.root, item, max_pairs=chosen.max_pairs_per_scene) for item in found}
    parts = {item: zeb_evaluation(there.root, item, pairs[item], chosen) for item in found}
    scores: dict[str, Score] = {}
    files: list[Path] = []
    with judge(settings, matcher, workers=workers, shard=shard, quiet=as_json) as judged:
        for item in found:
            rows = judged.rows(item.name, *parts[item])
            if rows is not None:
                runs = results_of(pairs[item], rows)
                files += write_results(out, name, item.name, chosen, runs)
                scores[item.name] = score_results(item.name, runs)
        if html is not None and files:
            evaluations = {item.name: judged.evaluator.evaluation(*parts[item]) for item in found}
            _write_page(html, files, there.root, evaluations, pairs)
    facts = {
        "matcher": matcher,
        "protocol": protocol_facts(chosen),
        "missing": [item.name for item in missing],
        "unfinished": [item.name for item in found if item.name not in scores],
        "files": [str(file) for file in files],
        "seconds": round(time.monotonic() - started, 3),
    }
    _say(scores, facts, as_json=as_json)


def _check_folder(folder: Path) -> None:
    """Refuse a place where no files can be written.

    Raises:
        InvalidInput: it is a file or lies below one, or is closed to this user.
    """
    from gim.errors import InvalidInput

    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        what = "no files can be written there" if there.is_dir() else "is a file, not a folder"
        raise InvalidInput(f"--out {folder}: {there}: {what}")


def _say(scores: "Mapping[str, Score]", facts: Mapping[str, Any], *, as_json: bool) -> None:
    from gim.evaluation.zeb import mean_auc

    means = mean_auc(scores)
    if as_json:
        datasets = {name: score_facts(score) for name, score in scores.items()}
        counts = {
            "pairs": sum(score.num_pairs for score in scores.values()),
            "failures": sum(score.num_failures for score in scores.values()),
        }
        print_json({"auc": means, **counts, "datasets": datasets, **facts})
        return
    lines = [f"{facts['matcher']}, protocol {facts['protocol']['id']}, {facts['seconds']:.1f} s"]
    if means:
        mean = " / ".join(f"{value:.2f}" for value in means.values())
        lines.insert(0, f"mean AUC@5/10/20 over {len(scores)} {_of_twelve(scores)}: {mean}")
    if facts["unfinished"]:
        lines.append(f"other shards are missing of {', '.join(facts['unfinished'])}: run without --shard at the end")
    print_pose_scores([(name, score, None) for name, score in scores.items()], lines)
    for file in facts["files"]:
        print(file)


def _write_page(
    path: Path,
    files: "Sequence[Path]",
    images: Path,
    evaluations: "Mapping[str, Evaluation]",
    pairs: "Mapping[ZebDataset, Sequence[ZebPair]]",
) -> None:
    """The page of `gim evaluate report` over these result files, with the matches of the worst pairs."""
    from gim.evaluation.comparison import read_results
    from gim.evaluation.reports.contents import make_contents
    from gim.evaluation.reports.page import as_page
    from gim.whole_file import write_whole

    places = {(item.name, pair.identifier): place for item, of_it in pairs.items() for place, pair in enumerate(of_it)}

    def correspondences_of(_: str, dataset: str, identifier: str) -> "Float32Array | None":
        return evaluations[dataset].points(places[dataset, identifier])

    contents = make_contents(read_results(files))
    write_whole(path, as_page(contents, images=images, correspondences_of=correspondences_of))


def _of_twelve(names: "Mapping[str, Score]") -> str:
    from gim.benchmarks.zeb import DATASETS

    published = {dataset.name for dataset in DATASETS}
    return "of 12 datasets" if published.issuperset(names) else "datasets"
