"""`gim purge`: take a video out of the store with every trace."""

import json
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gim.cli._options import ConfigOption, JsonOption, SetOption, StoreOption, load_settings
from gim.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gim.runtime.purge import PurgeResult


def register(app: typer.Typer) -> None:
    """Add `gim purge`."""
    app.command("purge")(purge)


def purge(
    video_ids: Annotated[list[str], typer.Argument(metavar="VIDEO_ID...", help="See `gim ls`.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove every trace of videos from the store: source, frames, labels, pairs, aliases, downloads, logs of runs."""
    from gim.adapters.store_file import FileStore
    from gim.runtime.purge import preview_purge, purge_video

    root = Path(load_settings(sets, config, store=store).store)
    with closing(FileStore(root, create=False)) as opened:
        results = [preview_purge(opened, root, video_id) for video_id in dict.fromkeys(video_ids)]
        if not dry_run:
            if not yes:
                _ask(results)
            results = [purge_video(opened, root, result.video_id) for result in results]
    if as_json:
        print(json.dumps({"dry_run": dry_run, "videos": [asdict(result) for result in results]}))
    else:
        for result in results:
            _print_result(result, done=not dry_run)


def _ask(results: "Sequence[PurgeResult]") -> None:
    if not sys.stdin.isatty():
        raise InvalidInput("a purge is for good: add --yes, or --dry-run to see what would be removed")
    number, size = sum(len(result.removed) for result in results), sum(result.num_bytes for result in results)
    if not typer.confirm(f"remove {number} objects ({_size(size)}) of {len(results)} videos for good?"):
        raise InvalidInput("nothing was removed")


def _print_result(result: "PurgeResult", *, done: bool) -> None:
    for trace in result.removed:
        print(f"{trace.num_bytes:>12} {trace.name}")
    if result.purged_before:
        print(f"{result.video_id}: nothing is left of it; purged at {result.purged_before}")
        return
    verb = "removed" if done else "would be removed"
    print(f"{result.video_id}: {len(result.removed)} objects {verb}, {_size(result.num_bytes)}")
    if result.datasets:
        print(f"datasets that name it, left as they are: {', '.join(result.datasets)}")
    if done:
        print(f"recorded in {result.record}; reports and exports outside the store are yours to remove")


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB"
