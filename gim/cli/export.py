"""`gim export`: training pairs out of the store, in the formats other tools read."""

import json
from contextlib import closing
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gim.cli._options import ConfigOption, JsonOption, SetOption, StoreOption, load_settings
from gim.errors import InvalidInput

if TYPE_CHECKING:
    from gim.export.formats import ExportSummary
    from gim.export.selection import Condition


class Format(StrEnum):
    """What can be written."""

    npz = "npz"
    webdataset = "webdataset"
    hdf5 = "hdf5"
    colmap = "colmap"


def register(app: typer.Typer) -> None:
    """Add `gim export`."""
    app.command("export")(export)


def export(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    *,
    format_: Annotated[Format, typer.Option("--format", help="Layout; OUT/README.txt explains it.")],
    video: Annotated[
        list[str] | None, typer.Option("--video", help="Repeatable; all by default.", metavar="ID")
    ] = None,
    recipe_id: Annotated[str | None, typer.Option(help="Which result, where a video has several.")] = None,
    min_correspondences: Annotated[int | None, typer.Option(min=0, metavar="N", show_default=False)] = None,
    min_interval: Annotated[float | None, typer.Option(metavar="S", help="Seconds.")] = None,
    max_interval: Annotated[float | None, typer.Option(metavar="S", help="Seconds.")] = None,
    min_coverage: Annotated[float | None, typer.Option(metavar="X", help="Share of the image, 0 to 1.")] = None,
    min_parallax: Annotated[float | None, typer.Option(metavar="PX", help="Median, pixels.")] = None,
    max_residual: Annotated[float | None, typer.Option(metavar="PX", help="Median epipolar residual, pixels.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION", help="On any quality field, repeatable: 'guided_share<=0.5'."),
    ] = None,
    merge_px: Annotated[
        float | None,
        typer.Option(min=0, metavar="PX", help="hdf5, colmap: nearer keypoints of an image become one.  [default: 0]"),
    ] = None,
    camera: Annotated[
        str | None,
        typer.Option(metavar="MODEL,P,...", help="colmap: known camera of all images.  [default: a guess]"),
    ] = None,
    shard_pairs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="webdataset: pairs of a shard.  [default: 512]")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export in OUT.")] = False,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write training pairs of a store into a new folder."""
    from gim.export.base import ExportOptions
    from gim.export.formats import check_options, export_pairs
    from gim.results import find_results, one_of_each_video
    from gim.runtime.opening import is_remote, open_store

    settings = load_settings(sets, config, store=store)
    bounds = {
        "num_correspondences>=": min_correspondences,
        "interval_seconds>=": min_interval,
        "interval_seconds<=": max_interval,
        "coverage>=": min_coverage,
        "median_parallax_px>=": min_parallax,
        "epipolar_residual_px<=": max_residual,
    }
    conditions = _conditions(bounds, where or [])
    given = {"merge_px": merge_px, "camera": camera, "shard_pairs": shard_pairs}
    chosen = {name: value for name, value in given.items() if value is not None}
    check_options(format_, list(chosen))
    if not is_remote(settings) and out.resolve().is_relative_to(Path(settings.store).resolve()):
        raise InvalidInput(f"{out}: lies in the store; give a folder outside it")
    with closing(open_store(settings)) as opened:
        results = one_of_each_video(find_results(opened, video or [], recipe_id))
        summary = export_pairs(
            opened,
            results,
            out,
            format_name=format_,
            conditions=conditions,
            options=ExportOptions(**chosen),  # type: ignore[arg-type]
            overwrite=overwrite,
        )
    if as_json:
        print(json.dumps(asdict(summary)))
    else:
        _print_summary(summary)


def _conditions(bounds: dict[str, float | None], texts: list[str]) -> "list[Condition]":
    from gim.export.selection import parse_condition

    given = [f"{bound}{value}" for bound, value in bounds.items() if value is not None]
    return [parse_condition(text) for text in [*given, *texts]]


def _print_summary(summary: "ExportSummary") -> None:
    videos = f"{summary.num_videos} video{'s' if summary.num_videos != 1 else ''}"
    print(f"{summary.num_pairs} pairs with {summary.num_correspondences} correspondences of {videos} in {summary.out}")
    if summary.num_pairs_left_out:
        print(f"left out by the conditions: {summary.num_pairs_left_out}")
    for name, value in summary.facts.items():
        print(f"{name.replace('_', ' ')}: {value}")
