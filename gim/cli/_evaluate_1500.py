"""`gim evaluate megadepth1500` and `scannet1500`: relative pose of the pairs that everybody reports."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gim.cli._evaluation import (
    ProtocolOption,
    ShardOption,
    WorkersOption,
    print_json,
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
from gim.cli._two_view import Run, SizeOption, group_facts, print_scores, published_facts, size_facts

if TYPE_CHECKING:
    from gim.benchmarks.posed import PosedPair
    from gim.evaluation.two_view_sizes import NamedSize

_NUM_PAIRS = 1500


@dataclass(frozen=True, slots=True)
class _Benchmark:
    name: str
    read: "Callable[[Path, Path | None], list[PosedPair]]"  # of a folder, and of one of lists
    scene_of: "Callable[[PosedPair], str]"  # empty where none is known
    sizes: "Sequence[NamedSize]"  # at which others match it, the usual one first


_ListsOption = Annotated[
    Path | None,
    typer.Option("--lists", help="LoFTR's .npz files, where they are not in DIR.", metavar="DIR", show_default="DIR"),
]


def add_commands(evaluate: typer.Typer) -> None:
    """Add the commands."""
    evaluate.command("megadepth1500")(evaluate_megadepth1500)
    evaluate.command("scannet1500")(evaluate_scannet1500)


def evaluate_megadepth1500(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Images, with pairs_calibrated.txt or LoFTR's .npz.")],
    *,
    lists: _ListsOption = None,
    matcher: MatcherOption = "rootsift",
    protocol: ProtocolOption = "gim",
    size: SizeOption = "",
    workers: WorkersOption = 1,
    shard: ShardOption = None,
    store: StoreOption = None,
    device: DeviceOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a matcher on MegaDepth-1500: poses of photographs of two places. Goes on where it was stopped."""
    from gim.benchmarks.megadepth1500 import read_megadepth1500, scene_of
    from gim.evaluation.two_view_sizes import MEGADEPTH_SIZES
    from gim.runtime.trained import with_run

    settings, matcher = with_run(load_settings(sets, config, store=store, inference__device=device), matcher)
    run = Run(settings, matcher, workers, shard, is_kept=True, as_json=as_json)
    benchmark = _Benchmark("megadepth1500", read_megadepth1500, scene_of, MEGADEPTH_SIZES)
    _score_poses(run, benchmark, folder, lists, protocol, size)


def evaluate_scannet1500(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Scenes, with pairs_calibrated.txt or LoFTR's .npz.")],
    *,
    lists: _ListsOption = None,
    matcher: MatcherOption = "rootsift",
    protocol: ProtocolOption = "gim",
    size: SizeOption = "",
    workers: WorkersOption = 1,
    shard: ShardOption = None,
    store: StoreOption = None,
    device: DeviceOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a matcher on ScanNet-1500: poses of frames of 100 rooms. Goes on where it was stopped."""
    from gim.benchmarks.scannet1500 import read_scannet1500, scene_of
    from gim.evaluation.two_view_sizes import SCANNET_SIZES
    from gim.runtime.trained import with_run

    settings, matcher = with_run(load_settings(sets, config, store=store, inference__device=device), matcher)
    run = Run(settings, matcher, workers, shard, is_kept=True, as_json=as_json)
    benchmark = _Benchmark("scannet1500", read_scannet1500, scene_of, SCANNET_SIZES)
    _score_poses(run, benchmark, folder, lists, protocol, size)


def _score_poses(run: Run, benchmark: _Benchmark, folder: Path, lists: Path | None, protocol: str, size: str) -> None:
    import numpy as np

    from gim.evaluation.error_scores import score_errors, score_groups
    from gim.evaluation.pose_scorer import Column, pose_scorer, posed_results
    from gim.evaluation.protocols import protocol_named
    from gim.evaluation.published_two_view import published_two_view
    from gim.evaluation.scores import THRESHOLDS_DEG, errors_deg, score_results
    from gim.evaluation.two_view_sizes import pose_size
    from gim.evaluation.views import folder_views

    name, chosen = benchmark.name, protocol_named(protocol)
    matched_at = pose_size(size, benchmark.sizes, chosen)
    pairs = benchmark.read(folder, lists)
    views = folder_views(name, folder, [(pair.image0, pair.image1) for pair in pairs], matched_at.rule)
    rows = run.rows(name, views, pose_scorer(pairs, chosen, views))
    if rows is None:
        return
    results = posed_results(pairs, rows)
    errors = errors_deg(results)
    scenes = [benchmark.scene_of(pair) for pair in pairs]
    groups = score_groups(name, errors, scenes, THRESHOLDS_DEG) if all(scenes) else {}
    published = published_two_view()[name]
    if run.as_json:
        score = score_results(name, results)
        facts = {
            "scenes": group_facts(groups),
            **published_facts(published, chosen.name),
            "matcher": run.matcher,
            "protocol": protocol_facts(chosen),
            "size": size_facts(matched_at),
            "seconds": run.seconds,
        }
        median_matches = float(np.median(rows[:, 0, Column.NUM_MATCHES]))
        print_json({"benchmark": name, **score_facts(score, median_matches), **facts})
        return
    footnotes = [
        "AUC of the pose error at 5, 10 and 20 degrees, percent, with 95 % intervals over resampled pairs",
        f"{run.matcher} at {matched_at.name}, protocol {chosen.id}, {run.seconds:.1f} s",
    ]
    if len(pairs) != _NUM_PAIRS:
        footnotes.append(f"not the {_NUM_PAIRS} pairs that others report: {len(pairs)}")
    shown = groups if len(groups) < 10 else {}  # of a hundred rooms each says little; `--json` has them
    print_scores(run.matcher, score_errors(name, errors, THRESHOLDS_DEG), shown, published, chosen.name, footnotes)
