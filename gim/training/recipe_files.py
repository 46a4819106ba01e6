"""Recipes of training and the paper's ablations: files of numbers beside this one. Imports no torch."""

from functools import cache
from importlib import resources
from typing import Any

from gim import toml_files
from gim.assignments import flatten
from gim.errors import ConfigError
from gim.spelling import did_you_mean
from gim.training.config import TrainingConfig

_FOLDER = resources.files("gim.training")


def training_recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return toml_files.names_in(_FOLDER / "recipes")


def read_training_recipe(recipe: str) -> list[tuple[str, Any]]:
    """The settings of a recipe: (path below `train`, value).

    Args:
        recipe: a name, or the path of a TOML file.

    Raises:
        ConfigError: there is none of that name; the file cannot be read, or is not TOML.
    """
    document = toml_files.read_given(recipe, _FOLDER / "recipes", "training recipe")
    document.pop("name", None)
    return list(flatten(document, TrainingConfig))


@cache
def ablations() -> dict[str, tuple[tuple[str, Any], ...]]:
    """The paper's ablations: name -> (path of a setting, value)."""
    anything: Any = Any
    document = toml_files.read_name(_FOLDER, "ablations")
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
