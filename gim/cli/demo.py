"""`gim demo`: a page where two images are dropped and matched by several matchers side by side."""

from typing import Annotated

import typer

from gim.cli._options import ConfigOption, SetOption, load_settings
from gim.errors import InvalidInput


def register(app: typer.Typer) -> None:
    """Add `gim demo`."""
    app.command("demo")(serve_page)


def serve_page(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; the default is this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 7860,
    matchers: Annotated[
        str | None,
        typer.Option(help="Matchers to offer, joined by commas.", metavar="A,B", show_default="all that run here"),
    ] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Serve a page that matches two images by matchers side by side. Needs the extra `demo`."""
    from gim.demo.server import is_loopback, serve

    settings = load_settings(sets, config)
    names = [name.strip() for name in (matchers or "").split(",") if name.strip()]

    def say(address: str) -> None:
        print(f"{address} (Ctrl-C ends it)", flush=True)
        if not is_loopback(host):
            print("whoever reaches this address can use the page: it asks for no password", flush=True)

    try:
        serve(settings, names, host, port, say)
    except ImportError as error:
        raise InvalidInput(
            f"gim demo needs {error.name or 'gradio'}, not installed: pip install 'gim-pipeline[demo]', or `make demo`"
        ) from error
