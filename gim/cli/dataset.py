"""`gim dataset`: fixed, hashed lists of training pairs: build, list, show, check."""

import json
from collections import Counter
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gim.cli._options import ConfigOption, JsonOption, SetOption, StoreOption, load_settings
from gim.cli._terminal import print_rows, printable
from gim.errors import InvalidInput

if TYPE_CHECKING:
    from gim.datasets.manifest import DatasetManifest

_DatasetArgument = Annotated[str, typer.Argument(metavar="DATASET_ID", help="See `gim dataset ls`.")]


def register(app: typer.Typer) -> None:
    """Add `gim dataset` and its commands."""
    dataset = typer.Typer(help="Fixed, hashed lists of training pairs.", no_args_is_help=True)
    dataset.command("build")(build)
    dataset.command("ls")(list_datasets)
    dataset.command("show")(show)
    dataset.command("check")(check)
    app.add_typer(dataset, name="dataset")


def build(
    *,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Begins the dataset's id.")] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME_OR_ID", help="Whose results; repeatable, the preferred one first."),
    ] = None,
    video: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Repeatable; all by default.", show_default=False)
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION", help="On any quality field, repeatable: 'coverage>=0.2'."),
    ] = None,
    held_out_share: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="X", help="Share of videos held out of training.")
    ] = None,
    permissive_only: Annotated[
        bool | None,
        typer.Option("--permissive-only", help="Without labels by what is for research only.", show_default=False),
    ] = None,
    min_pairs: Annotated[int | None, typer.Option(min=0, metavar="N", help="Fewer for training are refused.")] = None,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fix which pairs of the store are a dataset: every shard with its hash, every video with its licence."""
    from dataclasses import replace

    from gim.datasets.build import build_dataset
    from gim.runtime.opening import open_store

    given: dict[str, Any] = {
        "name": name,
        "recipes": tuple(recipe or ()) or None,
        "videos": tuple(video or ()) or None,
        "where": tuple(where or ()) or None,
        "held_out_share": held_out_share,
        "permissive_only": permissive_only,
        "min_pairs": min_pairs,
    }
    settings = load_settings(sets, config, store=store)
    chosen = replace(settings.dataset, **{field: value for field, value in given.items() if value is not None})
    with closing(open_store(settings)) as opened:
        built = build_dataset(opened, chosen)
    if built.status == "too_small":
        left_out = _counted(built.manifest)
        raise InvalidInput(
            f"{built.manifest.num_pairs} pairs for training, at least {max(chosen.min_pairs, 1)} are asked for"
            f"{f'; left out: {left_out}' if left_out else ''}"
        )
    if as_json:
        print(json.dumps({"status": built.status, **_summary(built.manifest)}))
        return
    _print_summary(built.manifest)
    if built.status == "present":
        print("it was there before")


def list_datasets(
    *, store: StoreOption = None, config: ConfigOption = None, sets: SetOption = None, as_json: JsonOption = False
) -> None:
    """List the datasets of a store."""
    from gim.datasets.manifest import dataset_ids, read_dataset
    from gim.runtime.opening import open_store

    with closing(open_store(load_settings(sets, config, store=store))) as opened:
        rows = [_summary(read_dataset(opened, dataset_id)) for dataset_id in dataset_ids(opened)]
    if as_json:
        print(json.dumps({"datasets": rows}))
    else:
        shown = ("dataset", "videos", "pairs", "held_out_pairs", "num_bytes", "recipes")
        print_rows([{field: row[field] for field in shown} for row in rows])


def show(
    dataset_id: _DatasetArgument,
    *,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a dataset is made of: its videos with their licences, and what was left out and why."""
    from gim.datasets.manifest import read_dataset
    from gim.runtime.opening import open_store

    with closing(open_store(load_settings(sets, config, store=store))) as opened:
        manifest = read_dataset(opened, dataset_id)
    if as_json:
        print(json.dumps(asdict(manifest)))
        return
    _print_summary(manifest)
    rows = [
        {
            "video": video.video_id,
            "split": video.split.replace("_", " "),
            "pairs": video.num_pairs,
            "shards": len(video.shards),
            "recipe": video.recipe_id,
            "licence": video.licence,
            "from": video.source,
        }
        for video in manifest.videos
    ]
    print_rows(rows)
    for video in manifest.excluded:
        print(printable(f"left out: {video.video_id} {video.recipe_id} {video.reason}: {video.detail}"))


def check(
    dataset_id: _DatasetArgument,
    *,
    sizes_only: Annotated[bool, typer.Option("--sizes-only", help="Do not read the shards.")] = False,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> int:
    """Check that every shard of a dataset is there as it was listed. Exit code 1 when one is not."""
    from gim.datasets.manifest import read_dataset
    from gim.datasets.verify import dataset_faults
    from gim.runtime.opening import open_store

    with closing(open_store(load_settings(sets, config, store=store))) as opened:
        manifest = read_dataset(opened, dataset_id)
        faults = list(dataset_faults(opened, manifest, "sizes" if sizes_only else "hashes"))
    if as_json:
        print(json.dumps({"dataset": dataset_id, "faults": [asdict(fault) for fault in faults]}))
    else:
        for fault in faults:
            print(f"{fault.video_id}: {fault.why}")
        num_shards = sum(len(video.shards) for video in manifest.videos)
        print(f"{dataset_id}: {len(faults)} faults in {num_shards} shards of {len(manifest.videos)} videos")
    return 1 if faults else 0


def _summary(manifest: "DatasetManifest") -> dict[str, Any]:
    return {
        "dataset": manifest.dataset_id,
        "videos": len(manifest.videos),
        "held_out_videos": sum(video.split == "held_out" for video in manifest.videos),
        "pairs": manifest.num_pairs,
        "held_out_pairs": manifest.num_held_out_pairs,
        "num_bytes": sum(shard.num_bytes for video in manifest.videos for shard in video.shards),
        "recipes": manifest.recipe_ids,
        "where": list(manifest.where),
        "teachers": [teacher.matcher for teacher in manifest.teachers],
        "left_out": dict(sorted(Counter(video.reason for video in manifest.excluded).items())),
    }


def _print_summary(manifest: "DatasetManifest") -> None:
    summary = _summary(manifest)
    print(
        f"{manifest.dataset_id}: {manifest.num_pairs} pairs for training, {manifest.num_held_out_pairs} held out, "
        f"of {summary['videos']} videos ({summary['num_bytes'] / 1e6:.1f} MB)"
    )
    for teacher in manifest.teachers:
        weights = ", ".join(f"{item.name} ({item.licence})" for item in (*teacher.weights, *teacher.segmenter_weights))
        print(printable(f"labelled by {teacher.matcher} ({teacher.licence}){f' with {weights}' if weights else ''}"))
    if manifest.excluded:
        print(f"left out: {_counted(manifest)}")


def _counted(manifest: "DatasetManifest") -> str:
    return ", ".join(f"{count} {reason}" for reason, count in _summary(manifest)["left_out"].items())
