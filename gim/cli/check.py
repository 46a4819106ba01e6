"""`gim check`: how right the kept correspondences are, where the cameras are known."""

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gim.cli._options import ConfigOption, JsonOption, SetOption, StoreOption, check_report_path, load_settings
from gim.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gim.evaluation.cameras import KnownCameras
    from gim.evaluation.check import ErrorSummary, IntervalScore
    from gim.ports.store import Store
    from gim.runtime.checking import CheckedResult


def register(app: typer.Typer) -> None:
    """Add `gim check`."""
    app.command("check")(check)


def check(
    *,
    video: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Needed where several videos could be meant.", show_default=False),
    ] = None,
    poses: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="KITTI text: line i = 3x4 camera-to-world matrix of frame i."),
    ] = None,
    intrinsics: Annotated[
        str | None,
        typer.Option(metavar="FX,FY,CX,CY", help="Pixels of the stored frames, pixel centres at whole numbers."),
    ] = None,
    truth: Annotated[Path | None, typer.Option(metavar="FILE", help="Truth of a rendered clip, JSON.")] = None,
    recipe_id: Annotated[str | None, typer.Option(help="Only this result.  [default: all of the video]")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the HTML report of the video, with these scores, here.")
    ] = None,
    base: Annotated[bool, typer.Option("--base", help="Score the matchers' base labels too.")] = False,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score the correspondences of a store against known camera poses, or the truth of a rendered clip."""
    from gim.runtime.checking import check_store
    from gim.runtime.opening import open_store

    check_report_path(report)
    settings = load_settings(sets, config, store=store)
    cameras = _cameras(poses, intrinsics, truth)
    with closing(open_store(settings)) as opened:
        checked = check_store(opened, cameras, video_id=video, recipe_id=recipe_id, with_base=base)
        if report is not None:
            _write_report(opened, checked, report)
    if as_json:
        print(json.dumps({"results": [asdict(result) for result in checked]}, allow_nan=False))
        return
    for result in checked:
        _print_table(f"{result.video_id} {result.recipe_id}", result.pairs)
        for matcher, scores in result.base.items():
            _print_table(f"base labels of {matcher}", scores)
    print("errors in pixels: symmetric epipolar distance; exact: distance to the true place, where the truth is known")


def _write_report(store: "Store", checked: "Sequence[CheckedResult]", out: Path) -> None:
    from gim.report.build import build_report
    from gim.report.results import RunFacts, load_results
    from gim.runtime.checking import check_rows

    if len(checked) > 1:
        raise InvalidInput(f"a report shows one result of a video: choose one of {len(checked)} by --recipe-id")
    results = load_results(store, [checked[0].video_id], checked[0].recipe_id)
    build_report(store, results, out, run=RunFacts(check={checked[0].video_id: check_rows(checked[0])}))


def _cameras(poses: Path | None, intrinsics: str | None, truth: Path | None) -> "KnownCameras":
    from gim.evaluation.cameras import RenderedFrames, read_posed_frames
    from gim.synthetic.truth import ClipTruth

    if truth is not None and poses is None and intrinsics is None:
        return RenderedFrames(str(truth), ClipTruth.load(truth))
    if truth is None and poses is not None and intrinsics is not None:
        return read_posed_frames(poses, intrinsics)
    raise InvalidInput("give either --truth, or both --poses and --intrinsics")


def _print_table(title: str, scores: "Sequence[IntervalScore]") -> None:
    from rich.table import Table

    from gim.cli._terminal import print_table

    exact = any(score.point for score in scores)
    columns = ["interval", "pairs", "correspondences", "median", "<1 px", "<2 px"]
    columns += [f"exact\n{column}" for column in columns[3:]] if exact else []
    table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for score in scores:
        interval = "all" if score.interval_seconds is None else f"{score.interval_seconds:g} s"
        row = [interval, str(score.num_pairs), str(score.num_correspondences), *_cells(score.epipolar)]
        table.add_row(*row, *(_cells(score.point) if score.point else []))
    print_table(table)


def _cells(errors: "ErrorSummary") -> list[str]:
    median = "none" if errors.median_px is None else f"{errors.median_px:.2f}"
    return [median, f"{errors.within_1px:.3f}", f"{errors.within_2px:.3f}"]
