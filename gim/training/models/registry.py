"""Finds architectures by name: a file `gim/training/models/<name>.py` with a function `build` IS the registration."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gim.errors import ConfigError
from gim.spelling import did_you_mean
from gim.training.models.base import Trainable
from gim.weights.config import WeightsConfig

_FOLDER = Path(__file__).parent
_NOT_ARCHITECTURES = frozenset({"base", "registry"})


def architecture_names() -> list[str]:
    """All architectures that can be trained, ascending. Imports none of them."""
    names = (path.stem for path in _FOLDER.glob("*.py"))
    return sorted(name for name in names if not name.startswith("_") and name not in _NOT_ARCHITECTURES)


def build_trainable(architecture: str, settings: Mapping[str, Any], weights: WeightsConfig) -> Trainable:
    """An architecture with fresh weights.

    Args:
        architecture: a file of this folder.
        settings: its own, those that differ from its defaults: `train.model` of a recipe.
        weights: where frozen parts, and backbones to begin with, are found.

    Raises:
        ConfigError: no such architecture, or a setting that it does not have.
        Unavailable, LicenceRefused: weights that it needs; see `gim.weights.files.find_weights`.
    """
    names = architecture_names()
    if architecture not in names:
        raise ConfigError(
            f"train.architecture = {architecture!r}{did_you_mean(architecture, names)}: one of {', '.join(names)}"
        )
    built: Trainable = importlib.import_module(f"gim.training.models.{architecture}").build(settings, weights)
    return built
