"""`gim run`: videos in, training pairs in the store, a summary out."""

import json
import shlex
import sys
from collections import Counter
from contextlib import closing
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gim.cli._options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    MatchersOption,
    MaxMemoryOption,
    RecipeOption,
    SetOption,
    StoreOption,
    check_report_path,
    load_settings,
)
from gim.cli._terminal import say_error
from gim.errors import GimError, InvalidInput
from gim.settings import Settings

if TYPE_CHECKING:
    from gim.runtime.run import RunResult, VideoSummary

_REPORTED_PACKAGES = ("gim-pipeline", "numpy", "opencv-python-headless", "av", "poselib")
_FIELDS = (
    "source", "video_id", "status", "frames_sampled", "pairs_labelled", "pairs_kept", "correspondences",
    "median_interval_seconds", "seconds", "rejected",
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add `gim run`."""
    app.command("run")(run_sources)


def run_sources(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="File, folder, URL, YouTube id, playlist, channel, search (ytsearch5:words), or a text file of these.",
        ),
    ],
    *,
    store: StoreOption = None,
    matchers: MatchersOption = None,
    recipe: RecipeOption = None,
    jobs: Annotated[int | None, typer.Option(help="Processes.", metavar="N", show_default="1")] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads of each process.", metavar="N", show_default="all cores, shared out")
    ] = None,
    trim_start: Annotated[float | None, typer.Option(help="Seconds to leave out at the start.", metavar="S")] = None,
    trim_end: Annotated[float | None, typer.Option(help="Seconds to leave out at the end.", metavar="S")] = None,
    device: DeviceOption = None,
    max_memory: MaxMemoryOption = None,
    report: Annotated[Path | None, typer.Option(help="Write the HTML report here.", metavar="FILE")] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary, errors only.")] = False,
) -> int:
    """Turn videos into long-baseline training pairs. The same command continues what was interrupted."""
    from gim.cli._fetching import fetch_weights
    from gim.cli._progress import RunProgress
    from gim.runtime.opening import is_remote
    from gim.runtime.run import run_videos
    from gim.runtime.trained import with_runs
    from gim.runtime.wiring import weight_names

    settings = load_settings(
        sets,
        config,
        recipe,
        store=store,
        matchers=matchers,
        run__jobs=jobs,
        run__threads=threads,
        sampling__trim_start_seconds=trim_start,
        sampling__trim_end_seconds=trim_end,
        inference__device=device,
        inference__max_memory_gib=max_memory,
    )
    if is_remote(settings):
        raise InvalidInput(f"store {settings.store}: a run works on a folder; `gim publish` asks a cluster for videos")
    check_report_path(report)
    settings = with_runs(settings)
    fetch_weights(weight_names(settings), settings.weights, quiet=quiet, plain_lines=not as_json)
    with RunProgress(quiet=quiet, plain_lines=not as_json) as progress:
        result = run_videos(sources, settings, progress.update)
    is_stored = any(video.video_id for video in result.videos)  # not where every source was refused
    fault = _try_report(result, settings, report) if report and is_stored else None
    written = report if is_stored and fault is None else None
    if as_json:
        print(json.dumps({"videos": [as_summary(video) for video in result.videos]}))
    elif not quiet:
        _print_summary(result, settings.store if is_stored else "", written)
    # What an interruption left undone is told once, by the last line; so is what stopped several videos alike.
    told = [video for video in result.videos if not (result.interrupted and video.status == "unfinished")]
    for error in dict.fromkeys(video.error for video in told if video.error):
        say_error(error)
    if fault is not None:
        say_error(str(fault))
    return result.exit_code or (fault.exit_code if fault is not None else 0)


def as_summary(video: "VideoSummary") -> dict[str, Any]:
    """One video of `--json`; `error` is there only where something failed."""
    fields = asdict(video)
    return {name: fields[name] for name in _FIELDS} | ({"error": video.error} if video.error else {})


def _try_report(result: "RunResult", settings: Settings, out: Path) -> GimError | None:
    """Write the report; what stopped it is returned, since what was labelled is to be told all the same."""
    try:
        _write_report(result, settings, out)
    except GimError as error:
        return error
    return None


def _write_report(result: "RunResult", settings: Settings, out: Path) -> None:
    from gim.adapters.store_file import FileStore
    from gim.report.build import build_report
    from gim.report.results import FailedVideo, RunFacts, load_results

    facts = RunFacts(
        command=shlex.join(["gim", *sys.argv[1:]]),
        wall_seconds=result.elapsed_seconds,
        seconds={video.video_id: video.seconds for video in result.videos if video.video_id},
        versions={name: version(name) for name in _REPORTED_PACKAGES},
        failed=[FailedVideo(video.source, video.error) for video in result.videos if video.error],
    )
    with closing(FileStore(Path(settings.store), create=False)) as store:
        found = [
            load_results(store, [video.video_id], video.recipe_id)[0] for video in result.videos if video.recipe_id
        ]
        build_report(store, found, out, run=facts)


def _print_summary(result: "RunResult", store: str, report: Path | None) -> None:
    from rich.table import Table

    from gim.cli._terminal import cell, print_table

    table = Table("video", "status", "frames", "pairs", "correspondences", "interval", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for column in table.columns[2:]:
        column.justify = "right"
    for video in result.videos:
        table.add_row(
            cell(video.source.rstrip("/").rpartition("/")[2]),
            cell(f"{video.status}: {video.reason}" if video.reason else video.status),
            str(video.frames_sampled),
            str(video.pairs_kept),
            str(video.correspondences),
            "" if video.median_interval_seconds is None else f"{video.median_interval_seconds:.2f} s",
        )
    print_table(table)
    if len(result.videos) > 1:
        print(_totals(result))
    print(f"{result.elapsed_seconds:.1f} s, {f'store: {store}' if store else 'nothing was stored'}")
    if report:
        print(f"report: {report}")


def _totals(result: "RunResult") -> str:
    """How many videos came out how."""
    counts = Counter(video.status for video in result.videos)
    outcomes = ", ".join(f"{number} {status}" for status, number in counts.most_common())
    return f"{len(result.videos)} videos ({outcomes}), {sum(video.pairs_kept for video in result.videos)} pairs"
