"""Options that several commands share, and the settings they make together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from gim.errors import InvalidInput
from gim.settings import Settings

StoreOption = Annotated[
    str | None,
    typer.Option("--store", help="Folder of the store, or s3://BUCKET.", metavar="STORE", show_default="gim-data"),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting, repeatable; see `gim ls settings`.", metavar="SECTION.FIELD=VALUE"),
]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="Settings file, TOML.", metavar="FILE")]
RecipeOption = Annotated[
    str | None,
    typer.Option("--recipe", help="Name or TOML file; see `gim ls recipes`.", metavar="NAME", show_default="standard"),
]
MatcherOption = Annotated[
    str, typer.Option("--matcher", help="See `gim ls matchers`; or run:ID, see `gim ls runs`.", metavar="NAME")
]
MatchersOption = Annotated[
    str | None,
    typer.Option("--matchers", help="Matchers, joined by commas.", metavar="A,B", show_default="rootsift"),
]
DeviceOption = Annotated[
    str | None,
    typer.Option("--device", help="Where networks run: cuda, cuda:N, mps, cpu.", metavar="D", show_default="auto"),
]
MaxMemoryOption = Annotated[
    float | None,
    typer.Option("--max-memory", help="Of the device, for networks; batches are halved to fit.", metavar="GIB"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def load_settings(
    sets: Sequence[str] | None,
    config: Path | None = None,
    recipe: str | None = None,
    *,
    training_recipe: str | None = None,
    **flags: object,
) -> Settings:
    """The settings of one command line; a flag (`store=...`, `run__jobs=...`) is the strongest layer.

    Raises:
        ConfigError: see `Settings.load`.
    """
    given = [f"{name.replace('__', '.')}={value}" for name, value in flags.items() if value is not None]
    return Settings.load([*(sets or ()), *given], config, recipe, training_recipe=training_recipe)


def check_report_path(path: Path | None) -> None:
    """`check_file_path` of a page."""
    check_file_path(path, "report", "HTML file", "report.html")


def check_file_path(path: Path | None, what: str, kind: str, example: str) -> None:
    """Refuse, before any work, a place where no file can be written.

    Args:
        path: where one is asked for; None: nowhere.
        what: it is called in messages.
        kind: of file.
        example: a name it could have.

    Raises:
        InvalidInput: it is a folder, or lies below a file.
    """
    if path is None:
        return
    if path.is_dir():
        raise InvalidInput(f"{what} {path}: a folder; name the {kind}, like {path / example}")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir():
        raise InvalidInput(f"{what} {path}: {above} is a file, not a folder")
