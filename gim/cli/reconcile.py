"""`gim reconcile`: finish what stopped, and say what in the store belongs to nothing."""

import json
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from gim.cli._options import (
    ConfigOption,
    JsonOption,
    MatchersOption,
    RecipeOption,
    SetOption,
    StoreOption,
    load_settings,
)
from gim.cli._terminal import say_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gim.runtime.chains import StoppedVideo
    from gim.runtime.inventory import Leftover
    from gim.runtime.reconcile import ReconcileResult


def register(app: typer.Typer) -> None:
    """Add `gim reconcile`."""
    app.command("reconcile")(reconcile_store)


def reconcile_store(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Read everything and compare it with its manifest.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what belongs to nothing; make again what is damaged.")
    ] = False,
    store: StoreOption = None,
    matchers: MatchersOption = None,
    recipe: RecipeOption = None,
    jobs: Annotated[int | None, typer.Option(help="Processes.", metavar="N", show_default="1")] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary, errors only.")] = False,
) -> int:
    """Finish every video whose work stopped, with the current settings; find leftovers and damage.

    On a cluster (--store s3://BUCKET) the services do the work: what makes a video go on is published.
    """
    from gim.cli._progress import RunProgress
    from gim.runtime.opening import is_remote, open_bus, open_store
    from gim.runtime.reconcile import reconcile
    from gim.runtime.reconcile_cluster import reconcile_cluster

    settings = load_settings(sets, config, recipe, store=store, matchers=matchers, run__jobs=jobs)
    if is_remote(settings):
        with closing(open_store(settings)) as opened, closing(open_bus(settings, client_id="gim-reconcile")) as bus:
            result = reconcile_cluster(opened, bus, settings, dry_run=dry_run, prune=prune, verify=verify)
    else:
        with RunProgress(quiet=quiet or dry_run, plain_lines=not as_json) as progress:
            result = reconcile(settings, dry_run=dry_run, prune=prune, verify=verify, on_snapshot=progress.update)
    if as_json:
        print(json.dumps(asdict(result)))
    elif not quiet:
        _print_result(result, dry_run=dry_run)
    for video in result.videos:
        if video.error and not (result.interrupted and video.status == "unfinished"):
            say_error(video.error)
    return result.exit_code


def _print_result(result: "ReconcileResult", *, dry_run: bool) -> None:
    for video in result.videos:
        print(f"{video.video_id}: {_what(video, dry_run=dry_run)}")
    _print_leftovers("damaged", result.damaged, result.removed)
    _print_leftovers("belongs to nothing", result.orphans, result.removed)
    if any(item.prefix not in result.removed for item in [*result.damaged, *result.orphans]):
        print("--prune removes what belongs to nothing, and makes damaged frames and results again")
    elif not result.videos and not result.removed:
        print("nothing has stopped, nothing is left over")


def _what(video: "StoppedVideo", *, dry_run: bool) -> str:
    """What is to say of a video."""
    if video.error:
        return video.status
    if dry_run or video.status in ("queued", "rung"):
        said = {"queued": "left alone, it is in the queue; ", "rung": "published what makes it go on; "}
        return f"{said.get(video.status, '')}lacks {video.lacks}"
    return f"{video.status}, {video.num_pairs} pairs"


def _print_leftovers(title: str, leftovers: "Sequence[Leftover]", removed: "Sequence[str]") -> None:
    for item in leftovers:
        done = "removed: " if item.prefix in removed else ""
        print(f"{done}{title}: {item.prefix} ({item.num_objects} objects, {item.num_bytes / 1e6:.1f} MB): {item.why}")
