"""`gim purge`: take a video out of the store with every trace."""

import json
import sys
from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gim.cli._options import ConfigOption, JsonOption, SetOption, StoreOption, load_settings
from gim.errors import InvalidInput
from gim.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gim.runtime.purge import PurgeResult

    _Purge = Callable[[str], PurgeResult]


def register(app: typer.Typer) -> None:
    """Add `gim purge`."""
    app.command("purge")(purge)


def purge(
    video_ids: Annotated[list[str], typer.Argument(metavar="VIDEO_ID...", help="See `gim ls`.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    grace: Annotated[
        float, typer.Option(min=0.0, metavar="S", help="On a cluster: until nothing has come back for so many seconds.")
    ] = 10.0,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove every trace of videos: source, frames, labels, pairs, aliases, downloads, logs of runs, dead letters.

    On a cluster (--store s3://BUCKET) the services go on working; the videos stay out until they are published again.
    """
    settings = load_settings(sets, config, store=store)
    with ExitStack() as leaving:
        preview, remove = _purger(settings, grace, leaving)
        results = [preview(video_id) for video_id in dict.fromkeys(video_ids)]
        if not dry_run:
            if not yes:
                _ask(results)
            results = [remove(result.video_id) for result in results]
    if as_json:
        print(json.dumps({"dry_run": dry_run, "videos": [_as_record(result) for result in results]}))
    else:
        for result in results:
            _print_result(result, done=not dry_run)


def _purger(settings: Settings, grace_seconds: float, leaving: ExitStack) -> "tuple[_Purge, _Purge]":
    """What looks, and what removes."""
    from gim.runtime.opening import is_remote, open_bus, open_store
    from gim.runtime.purge import preview_purge, purge_video
    from gim.runtime.purge_cluster import preview_purge_from_cluster, purge_from_cluster

    store = leaving.enter_context(closing(open_store(settings)))
    if not is_remote(settings):
        root = Path(settings.store)
        return partial(preview_purge, store, root), partial(purge_video, store, root)
    bus = leaving.enter_context(closing(open_bus(settings, client_id="gim-purge")))
    remove = partial(purge_from_cluster, store, bus, grace_seconds=grace_seconds)
    return partial(preview_purge_from_cluster, store, bus), remove


def _ask(results: "Sequence[PurgeResult]") -> None:
    if not sys.stdin.isatty():
        raise InvalidInput("a purge is for good: add --yes, or --dry-run to see what would be removed")
    number, size = sum(len(result.removed) for result in results), sum(result.num_bytes for result in results)
    if not typer.confirm(f"remove {number} objects ({_size(size)}) of {len(results)} videos for good?"):
        raise InvalidInput("nothing was removed")


def _as_record(result: "PurgeResult") -> dict[str, Any]:
    fields: dict[str, Any] = asdict(result)
    named: dict[str, Any] = fields.pop("made_of")
    return fields | named


def _print_result(result: "PurgeResult", *, done: bool) -> None:
    for trace in result.removed:
        print(f"{trace.num_bytes:>12} {trace.name}")
    if result.purged_before:
        print(f"{result.video_id}: nothing is left of it; purged at {result.purged_before}")
        return
    verb = "removed" if done else "would be removed"
    print(f"{result.video_id}: {len(result.removed)} objects {verb}, {_size(result.num_bytes)}")
    if result.num_letters:
        print(f"{result.num_letters} dead letters {'settled' if done else 'would be settled'}")
    for what, names in asdict(result.made_of).items():
        if names:
            print(f"{what} made with it, left as they are: {', '.join(names)}")
    if done:
        print(f"recorded in {result.record}; reports and exports outside the store are yours to remove")


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB"
