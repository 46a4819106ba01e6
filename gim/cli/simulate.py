"""`gim simulate`: what a cluster would do, before there is one."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gim.cli._options import JsonOption
from gim.cli._terminal import print_rows
from gim.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from gim.simulation.plan import Plan
    from gim.simulation.result import PartResult, Result

_MOMENTS = 9  # rows of the table over time
_BYTES = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


@dataclass(frozen=True, slots=True)
class _Run:
    """One simulation."""

    plan: "Plan"
    result: "Result"


def register(app: typer.Typer) -> None:
    """Add `gim simulate`."""
    app.command("simulate")(simulate_plan)


def simulate_plan(
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="cpu or gpu, or a TOML file: docs/simulation.md.")],
    *,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="Any number of the plan, repeatable."),
    ] = None,
    gpus: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Once with each of these numbers of GPUs.", show_default=False)
    ] = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="Give all other stages the pods and partitions that the matchers need.")
    ] = False,
    videos_per_day: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Once with each of these numbers of videos asked for, and what all stages need for them.",
            show_default=False,
        ),
    ] = None,
    measured: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take stage times from a run: its metrics, or its telemetry journal."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Simulate the pipeline: videos a day, lag, idle GPUs, cost, and which part saturates first."""
    from gim.simulation.limits import fitted, sized
    from gim.simulation.plan import with_gpus
    from gim.simulation.plan_files import read_plan
    from gim.simulation.result import simulate

    if videos_per_day is not None and (fit or gpus is not None):
        raise InvalidInput("--videos-per-day sizes all stages: leave --gpus and --fit away")
    videos, numbers = _numbers("--videos-per-day", videos_per_day), _numbers("--gpus", gpus)
    changed = read_plan(plan, sets or ())
    times: dict[str, tuple[Any, Any]] = {}
    if measured is not None:
        changed, times = _measured(changed, measured)
    changed.check()
    if videos:
        plans = [sized(changed, number) for number in videos]
    else:
        plans = [with_gpus(changed, number) for number in numbers] or [changed]
        plans = list(map(fitted, plans)) if fit else plans
    runs = [_Run(each, simulate(each)) for each in plans]
    if as_json:
        print(json.dumps(_document(runs, times), allow_nan=False))
        return
    if times:
        print_rows([{"measured": path, "plan": before, "now": after} for path, (before, after) in times.items()])
        print()
    if videos:
        _print_sizes(runs)
    elif len(runs) > 1:
        _print_overview(runs)
    else:
        _print_run(runs[0])


def _numbers(option: str, text: str | None) -> list[int]:
    if text is None:
        return []
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise InvalidInput(f"{option} {text}: expected whole numbers joined by commas, like 10,100,1000")
    return [int(part) for part in parts]


def _measured(plan: "Plan", file: Path) -> tuple["Plan", dict[str, tuple[Any, Any]]]:
    from gim.simulation.measured import changed_times, read_measured, with_measured

    try:
        work = read_measured(file.read_text(encoding="utf-8"))
        changed = with_measured(plan, work)
    except (InvalidInput, UnicodeDecodeError) as error:
        raise InvalidInput(f"--measured {file}: {error}") from error
    except OSError as error:
        kind = InvalidInput if isinstance(error, (FileNotFoundError, IsADirectoryError)) else Unavailable
        raise kind(f"--measured {file}: {error.strerror or error}") from error
    return changed, changed_times(plan, changed)


def _document(runs: list[_Run], times: dict[str, tuple[Any, Any]]) -> dict[str, Any]:
    return {
        "measured": {path: {"plan": before, "now": after} for path, (before, after) in times.items()},
        "runs": [{"plan": dict(run.plan.leaves()), "result": asdict(run.result)} for run in runs],
    }


# --- one plan


def _print_run(run: _Run) -> None:
    from gim.report.words import duration

    plan, result = run.plan, run.result
    if result.hours_until_done is not None:
        print(f"all {plan.videos.number} videos became pairs in {duration(3600 * result.hours_until_done)}")
    print(f"{_hours(result.video_hours_per_day)} hours of video a day{_per_gpu(result)}; {_idle(result)}")
    print(_latency(result))
    print(f"saturates first: {result.saturates_first}, at {_hours(_first_limit(result))} hours of video a day")
    for remark in result.remarks:
        print(f"- {remark}")
    print(f"\nstages, {_time(run)}")
    print_rows([_stage_row(stage) for stage in result.stages])
    print("\nparts, the first to saturate at the top")
    print_rows([_part_row(part) for part in _by_limit(result)])
    print("\nmessages not done with, and pods")
    print_rows(_moments(result))
    print(f"\nwritten to the store: {_bytes(result.stored_bytes_per_day)} a day{_until_full(result)}")
    print(f"cost: {_cost(result)}")
    if plan.source:
        print(f"times: {plan.source}")


def _time(run: _Run) -> str:
    plan = run.plan
    if plan.videos.number:
        return "until all was done" if run.result.hours_until_done is not None else f"the first {plan.hours:g} h"
    return f"{plan.hours:g} h after {plan.warm_up_hours:g} h of warm-up"


def _stage_row(stage: Any) -> dict[str, str]:
    return {
        "stage": stage.stage,
        "pods": f"{stage.pods:.1f}",
        "hours/day": _hours(stage.hours_per_day) if stage.hours_per_day else "-",
        "busy": f"{stage.busy_share:.0%}",
        "GPU idle": "-" if stage.gpu_idle_share is None else f"{stage.gpu_idle_share:.0%}",
        "lag mean": f"{stage.lag_mean:,.0f}",
        "lag max": f"{stage.lag_max:,.0f}",
        "lag end": f"{stage.lag_end:,.0f}",
        "failures": str(stage.failures),
        "redone": f"{stage.lost_share:.1%}",
        "rebalancing": f"{stage.rebalancing_share:.1%}",
    }


def _part_row(part: "PartResult") -> dict[str, str]:
    return {
        "part": part.part,
        "size": part_size(part, part.size),
        "used": "-" if part.used_share is None else f"{part.used_share:.0%}",
        "at most, hours/day": "-" if part.limit_hours_per_day is None else _hours(part.limit_hours_per_day),
        "needed": part_size(part, part.needed),
    }


def _moments(result: "Result") -> list[dict[str, str]]:
    """A few rows of the series, evenly spread, the first and the last among them."""
    hours = result.series["hours"]
    rows = []
    for place in sorted({round(number * (len(hours) - 1) / (_MOMENTS - 1)) for number in range(_MOMENTS)}):
        row = {"hour": f"{hours[place]:.1f}"}
        for stage in result.stages:
            lag, pods = result.series[f"lag {stage.stage}"][place], result.series[f"pods {stage.stage}"][place]
            row[stage.stage] = f"{lag:,.0f} ({pods:.0f})"
        rows.append(row)
    return rows


# --- several plans


def _print_overview(runs: list[_Run]) -> None:
    print_rows([overview_row(run.result) for run in runs])
    for run in runs:
        for remark in run.result.remarks:
            print(f"- {run.result.gpus:.0f} GPUs: {remark}")
    print("\nneeded, for all that the matchers' pods could label")
    parts = [{part.part: part_size(part, part.needed) for part in run.result.parts} for run in runs]
    columns = [f"{run.result.gpus:.0f} GPUs" for run in runs]
    print_rows(
        [
            {"part": name, **{column: of.get(name, "-") for column, of in zip(columns, parts, strict=True)}}
            for name in parts[0]
        ]
    )


def overview_row(result: "Result") -> dict[str, str]:
    """What came of a number of GPUs."""
    row = {
        "GPUs": f"{result.gpus:.0f}",
        "hours/day": _hours(result.video_hours_per_day),
        "per GPU": f"{result.video_hours_per_day / result.gpus:.2f}" if result.gpus else "-",
        "GPU idle": "-" if result.gpu_idle_share is None else f"{result.gpu_idle_share:.0%}",
    }
    for column, part in zip(("saturates first", "then", "and then"), _by_limit(result), strict=False):
        row[column] = "-" if part.limit_hours_per_day is None else f"{part.part}, at {_hours(part.limit_hours_per_day)}"
    return row | {"written a day": _bytes(result.stored_bytes_per_day), "cost": _cost(result)}


# --- sizes


def _print_sizes(runs: list[_Run]) -> None:
    print_rows([size_row(run.plan, run.result) for run in runs])
    for run in runs:
        for remark in run.result.remarks:
            print(f"- {run.plan.videos.per_day:,.0f} videos: {remark}")


def size_row(plan: "Plan", result: "Result") -> dict[str, str]:
    """What a number of videos a day needs, and what came of it."""
    from gim.report.words import duration

    pods = {f"{name} pods": f"{matcher.most_pods:,}" for name, matcher in plan.matchers.items()}
    return {
        "videos/day": f"{plan.videos.per_day:,.0f}",
        "hours/day": _hours(result.asked_hours_per_day or 0.0),
        "downloaders": f"{plan.downloader.most_pods:,}",
        **pods,
        "GPUs": f"{sum(matcher.most_pods * matcher.gpus for matcher in plan.matchers.values()):,}",
        "propagators": f"{plan.propagator.most_pods:,}",
        "partitions": f"{plan.kafka.partitions:,}",
        "max_label_lag": f"{plan.downloader.max_label_lag:,}",
        "videos done": f"{result.videos_per_day:,.0f}",
        "to pairs, p95": duration(result.seconds_to_pairs["p95"]) if result.seconds_to_pairs else "-",
        "written a day": _bytes(result.stored_bytes_per_day),
        "cost": _cost(result),
    }


# --- words


def _by_limit(result: "Result") -> list["PartResult"]:
    return sorted(result.parts, key=lambda part: part.limit_hours_per_day or float("inf"))


def _first_limit(result: "Result") -> float:
    return min(part.limit_hours_per_day for part in result.parts if part.limit_hours_per_day is not None)


def _hours(hours: float) -> str:
    return f"{hours:,.1f}" if hours < 1000 else f"{hours:,.0f}"


def _per_gpu(result: "Result") -> str:
    return f", {result.video_hours_per_day / result.gpus:.2f} for each of {result.gpus:.0f} GPUs" if result.gpus else ""


def _idle(result: "Result") -> str:
    return "no GPUs" if result.gpu_idle_share is None else f"GPUs idle {result.gpu_idle_share:.0%} of the time"


def _latency(result: "Result") -> str:
    from gim.report.words import duration

    if not result.seconds_to_pairs:
        return "no video came to its end"
    middle, late = (duration(result.seconds_to_pairs[name]) for name in ("p50", "p95"))
    return f"from a video's being taken in to its pairs: {middle}, of one in twenty more than {late}"


def _until_full(result: "Result") -> str:
    return "" if result.days_until_full is None else f"; the store is full after {result.days_until_full:.1f} days"


def _cost(result: "Result") -> str:
    cost = result.cost
    if cost is None:
        return "no prices given"
    each = "" if cost.per_video_hour is None else f", {cost.per_video_hour:.2f} for an hour of video"
    stored = (
        f", {cost.storing_a_day_per_month:,.0f} a month for what a day writes" if cost.storing_a_day_per_month else ""
    )
    return f"{cost.gpus_per_day + cost.cores_per_day:,.0f} {cost.currency} a day{each}{stored}"


def part_size(part: "PartResult", size: float | None) -> str:
    """So much of a part, with its unit; None: without limit."""
    if size is None:
        return "no limit"
    if "bytes" in part.part:
        return f"{_bytes(size)}/s"
    unit = "/s" if part.unit == "/s" else ""
    return f"{size:,.0f}{unit}" if size >= 10 else f"{size:.2g}{unit}"


def _bytes(number: float) -> str:
    for unit, size in _BYTES:
        if number >= size:
            return f"{number / size:,.{2 if number < 10 * size else 1 if number < 100 * size else 0}f} {unit}"
    return f"{number:.0f} B"
