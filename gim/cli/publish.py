"""`gim publish`: ask a cluster for videos."""

import json
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gim.cli._options import ConfigOption, JsonOption, SetOption, load_settings
from gim.cli._terminal import printable, say_error
from gim.errors import InvalidInput


def register(app: typer.Typer) -> None:
    """Add `gim publish`."""
    app.command("publish")(publish)


def publish(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE]...", help="URL, YouTube id, playlist, channel, search (ytsearch5:words)."),
    ] = None,
    *,
    from_file: Annotated[
        Path | None, typer.Option("--from-file", metavar="LIST", help="Text with one source per line; - reads stdin.")
    ] = None,
    mounted: Annotated[
        bool, typer.Option("--mounted", help="Files are seen by the downloader under the same paths.")
    ] = False,
    config: ConfigOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> int:
    """Ask a cluster for videos; what its store has already is not fetched again, and what was purged comes back."""
    from gim.runtime.opening import open_bus
    from gim.runtime.publishing import publish_requests, read_requests, read_source_list

    settings = load_settings(sets, config)
    requests, refused = read_requests(sources or [], mounted=mounted)
    if from_file is not None:
        listed = read_source_list(_read(from_file))
        folder = Path() if str(from_file) == "-" else from_file.parent
        found, wrong = read_requests(listed, mounted=mounted, folder=folder)
        requests, refused = list(dict.fromkeys([*requests, *found])), [*refused, *wrong]
    if not requests and not refused:
        raise InvalidInput("no source given: name some, or a list of them by --from-file")
    if requests:
        with closing(open_bus(settings, client_id="gim-publish")) as bus:
            publish_requests(bus, requests)
    if as_json:
        published = [asdict(request) for request in requests]
        print(json.dumps({"published": published, "refused": [asdict(refusal) for refusal in refused]}))
    else:
        for request in requests:
            print(f"published {printable(request.source)}")
    for refusal in refused:
        say_error(refusal.error)
    return InvalidInput.exit_code if refused else 0


def _read(path: Path) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: is not a UTF-8 text with one source per line") from error
