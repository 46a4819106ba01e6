"""Recipes of training and the paper's ablations: files of numbers beside this one. Imports no torch."""

import tomllib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from gim.assignments import flatten
from gim.errors import ConfigError
from gim.spelling import did_you_mean
from gim.training.config import TrainingConfig

_FOLDER = resources.files("gim.training")


def training_recipe_names() -> list[str]:
    """The recipes that come with the package."""
    names = (entry.name for entry in (_FOLDER / "recipes").iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def read_training_recipe(recipe: str) -> list[tuple[str, Any]]:
    """The settings of a recipe: (path below `train`, value).

    Args:
        recipe: a name, or the path of a TOML file.

    Raises:
        ConfigError: there is none of that name; the file cannot be read, or is not TOML.
    """
    names = training_recipe_names()
    if "/" in recipe or recipe.endswith(".toml"):
        document = _document(Path(recipe))
    elif recipe in names:
        document = tomllib.loads((_FOLDER / "recipes" / f"{recipe}.toml").read_text(encoding="utf-8"))
    else:
        raise ConfigError(
            f"unknown training recipe {recipe!r}{did_you_mean(recipe, names)}: one of {', '.join(names)}, "
            "or the path of a .toml file"
        )
    document.pop("name", None)
    return list(flatten(document, TrainingConfig))


@cache
def ablations() -> dict[str, tuple[tuple[str, Any], ...]]:
    """The paper's ablations: name -> (path of a setting, value)."""
    anything: Any = Any
    document = tomllib.loads((_FOLDER / "ablations.toml").read_text(encoding="utf-8"))
    return {name: tuple(flatten(changes, anything)) for name, changes in document.items()}


def ablation_sets(name: str) -> list[str]:
    """An ablation as texts that `--set` takes.

    Raises:
        ConfigError: there is none of that name.
    """
    known = ablations()
    if name not in known:
        raise ConfigError(f"unknown ablation {name!r}{did_you_mean(name, known)}: one of {', '.join(known)}")
    return [f"{path}={','.join(value) if isinstance(value, list) else value}" for path, value in known[name]]


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"training recipe {path}: {error.strerror or error}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"training recipe {path}: not TOML ({error})") from error
