"""`gim evaluate aachen` and `gim evaluate inloc`: the cameras of photographs in known places."""

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gim.cli._options import ConfigOption, DeviceOption, JsonOption, MatcherOption, SetOption, load_settings
from gim.cli._terminal import print_rows

if TYPE_CHECKING:
    from gim.localisation.config import LocalisationConfig
    from gim.localisation.result import LocalisationResult
    from gim.localisation.workplace import Workplace
    from gim.settings import Settings

_RetrievalOption = Annotated[
    Path | None,
    typer.Option(
        "--retrieval",
        help="Pairs of a query and a database image a line, most similar first.",
        metavar="PAIRS.TXT",
        show_default="DIR/pairs-query-*.txt",
    ),
]
_TruthOption = Annotated[
    Path | None,
    typer.Option("--truth", help="Known poses, NAME QW QX QY QZ TX TY TZ a line: recall is printed.", metavar="FILE"),
]
_OutOption = Annotated[
    Path, typer.Option("--out", help="For features, matches, the model and the submission.", metavar="FOLDER")
]
_MaxSideOption = Annotated[
    int | None,
    typer.Option("--max-side", help="Larger images are shrunk to it, pixels; 0: none.", min=0, show_default="1600"),
]
_OUT = Path("gim-localisation")


def add_commands(evaluate: typer.Typer) -> None:
    """Add `aachen` and `inloc` to `gim evaluate`."""
    evaluate.command("aachen")(evaluate_aachen)
    evaluate.command("inloc")(evaluate_inloc)


def evaluate_aachen(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Aachen Day-Night v1.1, laid out as for hloc.")],
    *,
    matcher: MatcherOption = "rootsift",
    retrieval: _RetrievalOption = None,
    truth: _TruthOption = None,
    out: _OutOption = _OUT,
    max_side: _MaxSideOption = None,
    covisible: Annotated[
        int | None,
        typer.Option("--covisible", help="Database images each one is matched with.", min=1, show_default="20"),
    ] = None,
    clusters: Annotated[
        bool,
        typer.Option("--clusters", help="One pose per group of retrieved images that see the same; the best wins."),
    ] = False,
    device: DeviceOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Localise the queries of Aachen Day-Night v1.1 and write the submission. Goes on where it was stopped."""
    from gim.localisation.aachen import Aachen, localise_aachen
    from gim.localisation.config import AACHEN
    from gim.runtime.trained import with_run

    started = time.monotonic()
    settings, matcher = with_run(load_settings(sets, config, inference__device=device), matcher)
    numbers = _given(AACHEN, max_side_px=max_side, covisible=covisible, clusters=clusters)
    dataset = Aachen.read(folder, retrieval)
    known = dataset.truth(truth)
    with _workplace("aachen", folder, dataset.images, matcher, settings, numbers, out, as_json=as_json) as workplace:
        result = localise_aachen(dataset, workplace, known)
    _print_result("aachen", matcher, result, time.monotonic() - started, as_json=as_json)


def evaluate_inloc(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="InLoc, laid out as for hloc.")],
    *,
    matcher: MatcherOption = "rootsift",
    retrieval: _RetrievalOption = None,
    truth: _TruthOption = None,
    out: _OutOption = _OUT,
    max_side: _MaxSideOption = None,
    device: DeviceOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Localise the queries of InLoc and write the submission. Goes on where it was stopped."""
    from gim.localisation.config import INLOC
    from gim.localisation.inloc import InLoc, localise_inloc
    from gim.runtime.trained import with_run

    started = time.monotonic()
    settings, matcher = with_run(load_settings(sets, config, inference__device=device), matcher)
    numbers = _given(INLOC, max_side_px=max_side)
    dataset = InLoc.read(folder, retrieval)
    known = dataset.truth(truth)
    with _workplace("inloc", folder, folder, matcher, settings, numbers, out, as_json=as_json) as workplace:
        result = localise_inloc(dataset, workplace, known)
    _print_result("inloc", matcher, result, time.monotonic() - started, as_json=as_json)


def _given(defaults: "LocalisationConfig", **flags: int | bool | None) -> "LocalisationConfig":
    """The defaults with what the command line says."""
    return dataclasses.replace(defaults, **{name: value for name, value in flags.items() if value is not None})  # type: ignore[arg-type]


@contextmanager
def _workplace(
    benchmark: str,
    root: Path,
    images: Path,
    matcher: str,
    settings: "Settings",
    numbers: "LocalisationConfig",
    out: Path,
    *,
    as_json: bool,
) -> "Iterator[Workplace]":
    """A matcher, loaded, and its folder of this benchmark."""
    from gim.cli._loading import loaded_matcher
    from gim.cli._step_bars import step_bars
    from gim.localisation.workplace import Workplace, alone_in, work_folder
    from gim.runtime.threads import one_thread_each

    loaded = loaded_matcher(matcher, settings, plain_lines=not as_json)
    place = work_folder(out, benchmark, root, loaded, numbers)
    threads = settings.run.threads or os.cpu_count() or 1
    with alone_in(place), one_thread_each(), ThreadPoolExecutor(threads) as executor, step_bars() as progress:
        yield Workplace(loaded, images, place, numbers, executor, progress)


def _print_result(benchmark: str, matcher: str, result: "LocalisationResult", seconds: float, *, as_json: bool) -> None:
    facts = {
        "queries": len(result.localisations),
        "localised": len(result.localisations) - len(result.failures),
        "failures": len(result.failures),
        "stand_ins": result.num_stand_ins,
    }
    if as_json:
        more = {"failed": result.failures, "notes": list(result.notes), "seconds": round(seconds, 3)}
        shares = {} if result.recall is None else {"recall": result.recall}
        named = {"benchmark": benchmark, "matcher": matcher}
        print(json.dumps({**named, **facts, **shares, **more, "submission": str(result.submission)}))
        return
    print_rows([{"benchmark": benchmark, **facts, "seconds": f"{seconds:.0f}"}])
    _print_words(result, print)


def _print_words(result: "LocalisationResult", say: Callable[[str], None]) -> None:
    for name, reason in result.failures.items():
        say(f"failed: {name}: {reason}")
    for note in result.notes:
        say(f"note: {note}")
    say(f"submission: {result.submission}")
    if result.recall is None:
        say("scores come from the server: upload it at https://www.visuallocalization.net, or give --truth FILE")
        return
    say("recall, percent of the queries whose pose is known:")
    print_rows(
        [
            {"queries": group, **{bound: f"{share:.1f}" for bound, share in shares.items()}}
            for group, shares in result.recall.items()
        ]
    )
