"""`gim dataset`: fixed, hashed lists of training pairs: build, list, show, check, look for leaks."""

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
    from gim.datasets.leakage import LeakSearch
    from gim.datasets.manifest import DatasetManifest, PosedSet
    from gim.ports.store import Store

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
    posed: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=FOLDER[,OPTION=VALUE]",
            help="A posed set, repeatable: megadepth, scannet, colmap, or posed: pairs.txt and depth maps.",
        ),
    ] = None,
    posed_only: Annotated[
        bool | None, typer.Option("--posed-only", help="Without any video.", show_default=False)
    ] = None,
    keep_clear_of: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BENCHMARK",
            help="Leave out videos that show its images; a name in the store, or a folder of images. Repeatable.",
        ),
    ] = None,
    ablation: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Of the paper's Table 2, repeatable; see docs/training.md.")
    ] = None,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fix which pairs are a dataset: every shard with its hash, every video with its licence, every posed set's lists.

    A posed set is named by its kind, or by the option name=...; settings say where it lies on other machines:
    dataset.posed_roots.NAME.
    """
    from dataclasses import replace

    from gim.datasets.build import build_dataset
    from gim.runtime.opening import open_store
    from gim.training.recipe_files import ablation_sets

    changes = [text for named in ablation or () for text in ablation_sets(named)]
    if other := [text for text in changes if not text.startswith("dataset.")]:
        raise InvalidInput(f"--ablation: {other[0].partition('=')[0]} is of the run: `gim train --ablation`")
    given: dict[str, Any] = {
        "name": name,
        "recipes": tuple(recipe or ()) or None,
        "videos": tuple(video or ()) or None,
        "where": tuple(where or ()) or None,
        "held_out_share": held_out_share,
        "permissive_only": permissive_only,
        "min_pairs": min_pairs,
        "posed": tuple(posed or ()) or None,
        "posed_only": posed_only,
        "keep_clear_of": tuple(keep_clear_of or ()) or None,
    }
    settings = load_settings([*changes, *(sets or ())], config, store=store)
    chosen = replace(settings.dataset, **{field: value for field, value in given.items() if value is not None})
    with closing(open_store(settings)) as opened:
        built = build_dataset(opened, chosen)
    if built.status == "too_small":
        left_out = _counted(built.manifest)
        num_pairs = built.manifest.num_pairs + built.manifest.num_posed_pairs("train")
        raise InvalidInput(
            f"{num_pairs} pairs for training, at least {max(chosen.min_pairs, 1)} are asked for"
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
        shown = ("dataset", "videos", "pairs", "held_out_pairs", "num_bytes", "recipes", "posed")
        posed = [{**row, "posed": " ".join(f"{name}:{count}" for name, count in row["posed"].items())} for row in rows]
        print_rows([{field: row[field] for field in shown} for row in posed])


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
    print_rows([_posed_row(posed_set) for posed_set in manifest.posed])
    for video in manifest.excluded:
        print(printable(f"left out: {video.video_id} {video.recipe_id} {video.reason}: {video.detail}"))


def check(
    dataset_id: _DatasetArgument,
    *,
    sizes_only: Annotated[bool, typer.Option("--sizes-only", help="Do not read the shards.")] = False,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BENCHMARK",
            help="Find videos that show its images, instead; a name in the store, or a folder of images. Repeatable.",
        ),
    ] = None,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> int:
    """Check that all parts of a dataset are there as listed, or, --against, that it shows no benchmark's images.

    Exit code 1 when something is wrong.
    """
    from gim.datasets.manifest import read_dataset
    from gim.datasets.verify import dataset_faults, posed_faults
    from gim.runtime.opening import open_store

    settings = load_settings(sets, config, store=store)
    with closing(open_store(settings)) as opened:
        manifest = read_dataset(opened, dataset_id)
        if against:
            return _check_leaks(opened, manifest, against, as_json=as_json)
        faults = list(dataset_faults(opened, manifest, "sizes" if sizes_only else "hashes"))
    faults += posed_faults(manifest, settings.dataset.posed_roots)
    if as_json:
        print(json.dumps({"dataset": dataset_id, "faults": [asdict(fault) for fault in faults]}))
    else:
        for fault in faults:
            print(f"{fault.video_id}: {fault.why}")
        num_shards = sum(len(video.shards) for video in manifest.videos)
        num_scenes = sum(len(posed_set.scenes) for posed_set in manifest.posed)
        scenes = f" and {num_scenes} posed scenes" if num_scenes else ""
        print(f"{dataset_id}: {len(faults)} faults in {num_shards} shards of {len(manifest.videos)} videos{scenes}")
    return 1 if faults else 0


def _check_leaks(store: "Store", manifest: "DatasetManifest", benchmarks: list[str], *, as_json: bool) -> int:
    """Print which videos show images of benchmarks. Returns the exit code."""
    from gim.datasets.leakage import find_leaked_videos

    results = [(video.video_id, video.recipe_id) for video in manifest.videos]
    search = find_leaked_videos(store, results, benchmarks)
    if as_json:
        print(json.dumps({"dataset": manifest.dataset_id, **asdict(search)}))
    else:
        _print_leaks(manifest, search)
    return 1 if search.leaked or search.unseen else 0


def _print_leaks(manifest: "DatasetManifest", search: "LeakSearch") -> None:
    splits = {video.video_id: video.split for video in manifest.videos}
    for leak in search.leaked:
        print(printable(f"{leak.video_id} ({splits[leak.video_id].replace('_', ' ')}): {leak.detail}"))
    for unseen in search.unseen:
        print(f"{unseen.video_id}: cannot be compared: {unseen.why}")
    print(
        f"{manifest.dataset_id}: {len(search.leaked)} of {len(manifest.videos)} videos show images of "
        f"{', '.join(search.benchmark_ids)}; {search.num_images} images, {search.num_frames} frames looked at"
    )


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
        "posed": {posed_set.name: posed_set.num_pairs("train") for posed_set in manifest.posed},
        "left_out": dict(sorted(Counter(video.reason for video in manifest.excluded).items())),
    }


def _print_summary(manifest: "DatasetManifest") -> None:
    summary = _summary(manifest)
    print(
        f"{manifest.dataset_id}: {manifest.num_pairs} pairs for training, {manifest.num_held_out_pairs} held out, "
        f"of {summary['videos']} videos ({summary['num_bytes'] / 1e6:.1f} MB)"
    )
    for posed_set in manifest.posed:
        row = _posed_row(posed_set)
        print(
            f"posed set {posed_set.name} ({posed_set.kind}): {row['pairs']} pairs for training, "
            f"{row['held out']} held out, of {row['scenes']} scenes"
        )
    if manifest.clear_of:
        print(f"shows no image of {', '.join(manifest.clear_of)}")
    for teacher in manifest.teachers:
        weights = ", ".join(f"{item.name} ({item.licence})" for item in (*teacher.weights, *teacher.segmenter_weights))
        print(printable(f"labelled by {teacher.matcher} ({teacher.licence}){f' with {weights}' if weights else ''}"))
    if manifest.excluded:
        print(f"left out: {_counted(manifest)}")


def _posed_row(posed_set: "PosedSet") -> dict[str, Any]:
    return {
        "posed set": posed_set.name,
        "kind": posed_set.kind,
        "scenes": len(posed_set.scenes),
        "pairs": posed_set.num_pairs("train"),
        "held out": posed_set.num_pairs("held_out"),
        "options": " ".join(f"{name}={value}" for name, value in posed_set.options.items() if value not in ("", [])),
    }


def _counted(manifest: "DatasetManifest") -> str:
    return ", ".join(f"{count} {reason}" for reason, count in _summary(manifest)["left_out"].items())
