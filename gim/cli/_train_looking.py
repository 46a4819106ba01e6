"""`gim train inspect` and `gim train page`: looks inside a run that is stored."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from gim.cli._options import (
    ConfigOption,
    DeviceOption,
    SetOption,
    StoreOption,
    check_file_path,
    check_report_path,
    load_settings,
)
from gim.cli._terminal import say_note
from gim.errors import InvalidInput

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Its id, or run:ID; see `gim ls runs`.")]


def inspect(
    run: RunArgument,
    step: Annotated[int, typer.Argument(min=1, metavar="STEP", help="Of the optimiser; the first one is 1.")],
    *,
    lane: Annotated[int | None, typer.Option(min=0, help="One micro-batch of the step only: sooner made.")] = None,
    bad: Annotated[bool, typer.Option("--bad", help="What was dumped of the step because it was no number.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="The HTML file.", metavar="FILE", show_default="RUN-STEP.html")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where each pair's picture is put too, as JPEG.", metavar="FOLDER")
    ] = None,
    store: StoreOption = None,
    device: DeviceOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Show the very pairs that a step of a run was computed from, and what was taught of them."""
    from gim.matchers.network import ModelResources
    from gim.runtime.opening import open_store
    from gim.runtime.threads import one_thread_each
    from gim.training.looking.batches import BatchRequest
    from gim.training.looking.inspection import inspect_bad, inspect_step
    from gim.training.looking.runs import record_of

    check_file_path(out, "page", "HTML file", "step.html")
    if folder is not None and folder.exists() and not folder.is_dir():
        raise InvalidInput(f"--folder {folder}: a file; name a folder for pictures")
    if bad and lane is not None:
        raise InvalidInput("--bad shows all that was dumped of a step: leave out --lane")
    settings = load_settings(sets, config, store=store, inference__device=device)
    with closing(open_store(settings)) as opened, one_thread_each():
        record = record_of(opened, run)
        request = BatchRequest(
            store=opened,
            record=record,
            step=step,
            lane=lane,
            posed_roots=settings.dataset.posed_roots,
            resources=ModelResources(settings.inference, settings.weights),
            say=say_note,
        )
        page_file = out or Path(f"{record.run_id}-{step:08d}{'-bad' if bad else ''}.html")
        (inspect_bad if bad else inspect_step)(request, page_file, folder=folder)
    print(page_file)


def page(
    run: RunArgument,
    *,
    out: Annotated[Path | None, typer.Option(help="The HTML file.", metavar="FILE", show_default="RUN.html")] = None,
    store: StoreOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Write one self-contained HTML page of a run: curves, pictures, checkpoints, settings."""
    from gim.runtime.opening import open_store
    from gim.training.looking.page import write_run_page

    check_report_path(out)
    settings = load_settings(sets, config, store=store)
    with closing(open_store(settings)) as opened:
        print(write_run_page(opened, run, out or Path(f"{run.removeprefix('run:')}.html")))
