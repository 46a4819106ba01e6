"""`gim report`: the HTML page over videos of a store, made again at any time."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from gim.cli._options import ConfigOption, SetOption, StoreOption, check_report_path, load_settings
from gim.errors import InvalidInput


def register(app: typer.Typer) -> None:
    """Add `gim report`."""
    app.command("report")(make_report)


def make_report(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The HTML file; replaced if it exists.")],
    videos: Annotated[list[str] | None, typer.Argument(metavar="[VIDEO_ID]...", help="All by default.")] = None,
    *,
    recipe_id: Annotated[str | None, typer.Option(help="Which result, where a video has several.")] = None,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Write one self-contained HTML page over videos of a store."""
    from gim.report.build import write_report
    from gim.runtime.listing import list_videos
    from gim.runtime.opening import open_store

    check_report_path(out)
    settings = load_settings(sets, config, store=store)
    with closing(open_store(settings)) as opened:
        finished = [row.video_id for row in list_videos(opened) if recipe_id in (None, row.recipe_id)]
        chosen = videos or list(dict.fromkeys(finished))
        if not chosen:
            raise InvalidInput(f"store {settings.store} holds no result to report on: run `gim run` first")
        print(write_report(opened, chosen, recipe_id, out))
