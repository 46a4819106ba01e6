"""`gim evaluate homography`, `hpatches` and `wxbs`: planes, and pairs that people marked."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gim.cli._evaluation import (
    KeptStoreOption,
    ShardOption,
    WorkersOption,
    error_facts,
    intervals,
    print_json,
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
from gim.cli._terminal import print_rows
from gim.cli._two_view import (
    Run,
    SizeOption,
    group_facts,
    print_scores,
    published_facts,
    size_facts,
)

if TYPE_CHECKING:
    from gim.benchmarks.homography_pairs import PlanePair
    from gim.evaluation.wxbs_scorer import FundamentalProtocol, RecallScore

_PlaneProtocolOption = Annotated[
    str, typer.Option("--protocol", help="gim or strict: see docs/evaluation.md.", metavar="NAME")
]


def add_commands(evaluate: typer.Typer) -> None:
    """Add the commands."""
    evaluate.command("homography")(evaluate_homography)
    evaluate.command("hpatches")(evaluate_hpatches)
    evaluate.command("wxbs")(evaluate_wxbs)


def evaluate_homography(
    pairs_file: Annotated[Path, typer.Argument(metavar="PAIRS_H.TXT", help="image0 image1 H(9), one pair per line.")],
    *,
    matcher: MatcherOption = "rootsift",
    protocol: _PlaneProtocolOption = "gim",
    size: SizeOption = "short-480",
    workers: WorkersOption = 1,
    shard: ShardOption = None,
    store: KeptStoreOption = None,
    device: DeviceOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a matcher on a list of homographies beside their images. Leaves nothing without `--store`."""
    from gim.benchmarks.homography_pairs import read_homography_pairs
    from gim.runtime.trained import with_run

    settings, matcher = with_run(load_settings(sets, config, store=store, inference__device=device), matcher)
    run = Run(settings, matcher, workers, shard, is_kept=store is not None, as_json=as_json)
    pairs = read_homography_pairs(pairs_file)
    _score_planes(run, "homography", pairs_file.absolute().parent, pairs, protocol, size)


def evaluate_hpatches(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="hpatches-sequences-release.")],
    *,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Sequences to leave out, repeatable.", metavar="NAME", show_default="the usual eight"),
    ] = None,
    all_sequences: Annotated[bool, typer.Option("--all", help="Leave none of the 116 sequences out.")] = False,
    matcher: MatcherOption = "rootsift",
    protocol: _PlaneProtocolOption = "gim",
    size: SizeOption = "short-480",
    workers: WorkersOption = 1,
    shard: ShardOption = None,
    store: StoreOption = None,
    device: DeviceOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a matcher on HPatches: homographies of 52 sequences of changing light and 56 of changing viewpoint."""
    from gim.benchmarks.hpatches import read_hpatches
    from gim.errors import ConfigError
    from gim.runtime.trained import with_run

    if all_sequences and exclude:
        raise ConfigError("--all and --exclude contradict each other; give one")
    settings, matcher = with_run(load_settings(sets, config, store=store, inference__device=device), matcher)
    run = Run(settings, matcher, workers, shard, is_kept=True, as_json=as_json)
    pairs = read_hpatches(folder, excluded=() if all_sequences else exclude or None)
    _score_planes(run, "hpatches", folder, pairs, protocol, size)


def evaluate_wxbs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="WxBS 1.1, <kind>/<pair>/corrs.txt.")],
    *,
    subset: Annotated[str, typer.Option(help="test, val or all.", metavar="NAME")] = "test",
    matcher: MatcherOption = "rootsift",
    protocol: Annotated[
        str, typer.Option("--protocol", help="wxbs or strict: see docs/evaluation.md.", metavar="NAME")
    ] = "wxbs",
    workers: WorkersOption = 1,
    shard: ShardOption = None,
    store: StoreOption = None,
    device: DeviceOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a matcher on WxBS: how many of the correspondences that people marked its epipolar geometry agrees with."""
    from gim.benchmarks.wxbs import NUM_TEST_PAIRS, read_wxbs
    from gim.evaluation.image_size import SizeRule
    from gim.evaluation.views import folder_views
    from gim.evaluation.wxbs_scorer import fundamental_protocol_named, recall_scorer, score_recalls
    from gim.runtime.trained import with_run

    settings, matcher = with_run(load_settings(sets, config, store=store, inference__device=device), matcher)
    run = Run(settings, matcher, workers, shard, is_kept=True, as_json=as_json)
    chosen = fundamental_protocol_named(protocol)
    pairs = read_wxbs(folder, subset)
    views = folder_views("wxbs", folder, [(pair.image0, pair.image1) for pair in pairs], SizeRule())
    rows = run.rows("wxbs", views, recall_scorer(pairs, chosen))
    if rows is None:
        return
    kinds = [pair.group for pair in pairs]
    score = score_recalls("wxbs", rows)
    of_kind = {
        kind: score_recalls(f"wxbs/{kind}", rows[[place for place, each in enumerate(kinds) if each == kind]])
        for kind in sorted(set(kinds))
    }
    _print_recalls(run, score, of_kind, chosen)
    if not (as_json or (subset == "test" and len(pairs) == NUM_TEST_PAIRS)):
        print("not the 32 pairs of the test subset that others report")


def _score_planes(
    run: Run,
    kind: Literal["homography", "hpatches"],
    root: Path,
    pairs: "Sequence[PlanePair]",
    protocol: str,
    size: str,
) -> None:
    import numpy as np

    from gim.benchmarks.hpatches import NUM_SEQUENCES, count_sequences
    from gim.evaluation.error_scores import score_errors, score_groups
    from gim.evaluation.homography_protocols import homography_protocol_named
    from gim.evaluation.homography_scorer import Column, homography_scorer, precision_percent
    from gim.evaluation.published_two_view import published_two_view
    from gim.evaluation.two_view_sizes import PLANE_SIZES, size_named
    from gim.evaluation.views import folder_views

    name = "hpatches" if kind == "hpatches" else root.name
    chosen, matched_at = homography_protocol_named(protocol), size_named(size, PLANE_SIZES)
    # A folder's name may hold what no key can.
    views = folder_views(kind, root, [(pair.image0, pair.image1) for pair in pairs], matched_at.rule)
    rows = run.rows(name, views, homography_scorer(pairs, chosen))
    if rows is None:
        return
    errors = rows[..., Column.CORNER_ERROR_PX].T
    score = score_errors(name, errors, chosen.thresholds_px)
    groups = score_groups(name, errors, [pair.group for pair in pairs], chosen.thresholds_px)
    before, after = precision_percent(rows)
    published = published_two_view().get(kind)
    sequences = count_sequences(pairs) if kind == "hpatches" else {}
    if run.as_json:
        facts = {
            "precision_before": before,
            "precision_after": after,
            "matches": float(np.median(rows[:, 0, Column.NUM_MATCHES])),
            "groups": group_facts(groups),
            **({"sequences": sequences} if sequences else {}),
            **published_facts(published, chosen.name),
            "matcher": run.matcher,
            "protocol": {"id": chosen.id, **asdict(chosen)},
            "size": size_facts(matched_at),
            "seconds": run.seconds,
        }
        print_json({"benchmark": name, **error_facts(score), **facts})
        return
    footnotes = [
        "AUC of the mean error of four corners, percent, with 95 % intervals over resampled pairs; pixels of image 1 "
        f"with its shorter side at {chosen.shortest_side}",
        f"{run.matcher} at {matched_at.name}, protocol {chosen.id}, {run.seconds:.1f} s; "
        f"{before:.1f} % of matches are right, {after:.1f} % of inliers",
    ]
    if sequences and sequences != NUM_SEQUENCES:
        footnotes.append(f"not the 52 and 56 sequences that others report: {_listed(sequences)}")
    print_scores(run.matcher, score, groups, published, chosen.name, footnotes)


def _print_recalls(
    run: Run, score: "RecallScore", of_kind: "dict[str, RecallScore]", protocol: "FundamentalProtocol"
) -> None:
    if run.as_json:
        groups = {kind: _recall_facts(found) for kind, found in of_kind.items()}
        facts = {"matcher": run.matcher, "protocol": {"id": protocol.id, **asdict(protocol)}, "seconds": run.seconds}
        print_json({"benchmark": "wxbs", **_recall_facts(score), "groups": groups, **facts})
        return
    named = [(run.matcher, score), *((f"  {kind}", found) for kind, found in of_kind.items())]
    print_rows(
        [
            {
                "method": name,
                "pairs": found.num_pairs,
                "failures": found.num_failures,
                **{f"recall {bound} px": f"{found.recall[bound]:.1f}" for bound in ("1", "3", "5", "10", "20")},
                **{f"mAA {bound}": f"{value:.1f}" for bound, value in found.maa.items()},
            }
            for name, found in named
        ]
    )
    print(
        "share of marked correspondences within so many pixels of their epipolar lines, percent; mAA: the mean from 1"
    )
    print(f"{run.matcher}, protocol {protocol.id}, {run.seconds:.1f} s")


def _recall_facts(score: "RecallScore") -> dict[str, Any]:
    return {
        "recall": score.recall,
        "maa": score.maa,
        "interval": intervals(score.interval),
        "spread": score.spread,
        "pairs": score.num_pairs,
        "failures": score.num_failures,
    }


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items())
