"""`gim evaluate report` and `gim evaluate check`: what result files say, and whether they are of the same pairs."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gim.cli._options import JsonOption, check_file_path
from gim.cli._terminal import print_rows, printable
from gim.errors import InvalidInput

if TYPE_CHECKING:
    from gim.evaluation.check_results import Checked
    from gim.evaluation.reports.contents import Contents

_UNBOUNDED = 10_000  # characters of a line that nobody looks at on a terminal
_Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATH...", help="Files '[T] METHOD DATASET VERSION.txt', own or published, or their folders."
    ),
]


def add_commands(evaluate: typer.Typer) -> None:
    """Add both to `gim evaluate`."""
    evaluate.command("report")(report)
    evaluate.command("check")(check)


def report(
    paths: _Paths,
    *,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write all numbers as one table.")] = None,
    xlsx: Annotated[Path | None, typer.Option("--xlsx", metavar="FILE", help="Write a workbook.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Write Markdown tables.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write one page, with plots.")] = None,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="ZEB_DIR", help="Draw the worst pairs on the page, from here.")
    ] = None,
    without_published: Annotated[
        bool, typer.Option("--without-published", help="Leave the printed rows of the paper out.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Put methods in one table with the paper's rows: AUC with intervals, ranks, failures, precision, differences."""
    from gim.evaluation.comparison import read_results
    from gim.evaluation.reports.contents import make_contents
    from gim.whole_file import write_whole

    started = time.monotonic()
    for place, option, example in (
        (csv, "--csv", "scores.csv"),
        (xlsx, "--xlsx", "scores.xlsx"),
        (markdown, "--markdown", "scores.md"),
        (html, "--html", "scores.html"),
    ):
        check_file_path(place, option, "file", example)
    if images is not None and html is None:
        raise InvalidInput("--images draws on the page: give --html FILE too")
    contents = make_contents(read_results(paths), with_published=not without_published)
    for place, render in _formats(csv, xlsx, markdown, html, images):
        write_whole(place, render(contents))
    if as_json:
        from gim.evaluation.reports.as_json import as_json as to_object

        seconds = round(time.monotonic() - started, 3)
        print(json.dumps({**to_object(contents), "seconds": seconds}, allow_nan=False))
    else:
        _print_report(contents)


def _formats(
    csv: Path | None, xlsx: Path | None, markdown: Path | None, html: Path | None, images: Path | None
) -> "list[tuple[Path, Callable[[Contents], str | bytes]]]":
    """Where to write what; only what is asked for is imported."""
    found: list[tuple[Path, Callable[[Contents], str | bytes]]] = []
    if csv is not None:
        from gim.evaluation.reports.as_csv import as_csv

        found.append((csv, as_csv))
    if xlsx is not None:
        from gim.evaluation.reports.as_xlsx import as_xlsx

        found.append((xlsx, as_xlsx))
    if markdown is not None:
        from gim.evaluation.reports.as_markdown import as_markdown

        found.append((markdown, as_markdown))
    if html is not None:
        from gim.evaluation.reports.page import as_page

        found.append((html, lambda contents: as_page(contents, images=images)))
    return found


def _print_report(contents: "Contents") -> None:
    from rich.console import Console

    from gim.evaluation.reports.table import as_table

    width = None if sys.stdout.isatty() else _UNBOUNDED
    console = Console(width=width, highlight=False)
    console.print(as_table(contents, console.width))


def check(paths: _Paths, *, as_json: JsonOption = False) -> int:
    """Compare which pairs result files hold, dataset by dataset. Exit code 1 when they differ."""
    from gim.evaluation.check_results import check_results

    checked = check_results(paths)
    if as_json:
        findings = [{"file": str(finding.file), "what": finding.what} for finding in checked.findings]
        found = {"same": not findings, "files": checked.files, "findings": findings, "notes": checked.notes}
        print(json.dumps(found))
    else:
        _print_checked(checked)
    return 1 if checked.findings else 0


def _print_checked(checked: "Checked") -> None:
    print_rows([{"dataset": dataset, "files": number} for dataset, number in checked.files.items()])
    for note in checked.notes:
        print(printable(f"note: {note}"))
    for finding in checked.findings:
        print(printable(f"{finding.file.name}: {finding.what}"))
    outcome = f"{len(checked.findings)} findings" if checked.findings else "the same pairs in the same order"
    print(f"{sum(checked.files.values())} files of {len(checked.files)} datasets: {outcome}")
