"""Documents in TOML: a person's own by its path, those of the package by their names."""

import tomllib
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from gim.errors import ConfigError
from gim.spelling import did_you_mean

_SUFFIX = ".toml"


def is_path(given: str) -> bool:
    """Whether somebody means a file of their own, and not a name."""
    return "/" in given or given.endswith(_SUFFIX)


def names_in(folder: Traversable) -> list[str]:
    """The names of the documents in a folder of the package."""
    return sorted(entry.name.removesuffix(_SUFFIX) for entry in folder.iterdir() if entry.name.endswith(_SUFFIX))


def read_path(path: Path, what: str) -> dict[str, Any]:
    """A document by its path.

    Args:
        path: of the file.
        what: it is, for the message.

    Raises:
        ConfigError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{what} {path}: {error.strerror or error}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"{what} {path}: not TOML ({error})") from error


def read_name(folder: Traversable, name: str) -> dict[str, Any]:
    """A document of the package, which is there."""
    return tomllib.loads((folder / f"{name}{_SUFFIX}").read_text(encoding="utf-8"))


def read_given(given: str, folder: Traversable, what: str) -> dict[str, Any]:
    """A document by its path, or one of the package by its name.

    Args:
        given: the path or the name.
        folder: where the package has its own.
        what: it is, for the message.

    Raises:
        ConfigError: there is none of that name; the file cannot be read, or is not TOML.
    """
    if is_path(given):
        return read_path(Path(given), what)
    names = names_in(folder)
    if given not in names:
        raise ConfigError(
            f"unknown {what} {given!r}{did_you_mean(given, names)}: one of {', '.join(names)}, "
            "or the path of a .toml file"
        )
    return read_name(folder, given)
