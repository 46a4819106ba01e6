"""What a run of training has left in a store, by its id. Imports no torch."""

import re
from collections.abc import Mapping
from typing import Any

from gim import keys
from gim.assignments import assign, overlay
from gim.errors import ConfigError, InvalidInput
from gim.ports.store import Store
from gim.training.config import TrainingConfig
from gim.training.recipe_files import read_training_recipe
from gim.training.run_record import RunRecord, settings_of
from gim.training.runs import PREFIX, read_run

_PICTURE = re.compile(r"(\d{8})/(\d+)\.jpg")
_DUMP = re.compile(r"(\d{8})-(\d{4})\.pt")


def record_of(store: Store, run: str) -> RunRecord:
    """What a run is.

    Args:
        store: of the run.
        run: its id, or `run:<id>`.

    Raises:
        InvalidInput: there is no such run, or nobody has said what it is.
        CorruptObject: its record is damaged.
        Unavailable: the store cannot be reached.
    """
    found = read_run(store, run.removeprefix(PREFIX))
    if found.record is None:
        raise InvalidInput(
            f"run {found.run_id} has checkpoints, and no {keys.training_run(found.run_id)} that says what it is: they "
            "were put there by something else than `gim train`"
        )
    return found.record


def config_of(record: RunRecord) -> TrainingConfig:
    """The settings that a run was begun with.

    Raises:
        ConfigError: it has one that this version does not know.
    """
    return _filled(record.settings, f"run {record.run_id}")


def recipe_settings(recipe: str) -> dict[str, Any] | None:
    """Every setting by its path as a recipe's file has it now; None where there is no such file here."""
    try:
        return settings_of(_filled(dict(read_training_recipe(recipe)), f"recipe {recipe}"))
    except ConfigError:
        return None


def changed_settings(record: RunRecord) -> list[tuple[str, Any, Any]]:
    """What the run does otherwise than its recipe: (path, in the recipe, in the run). Empty without the file."""
    written = recipe_settings(record.recipe)
    if written is None:
        return []
    return [
        (path, written.get(path), value)
        for path, value in record.settings.items()
        if path not in ("recipe", "source") and written.get(path) != value
    ]


def stored_pictures(store: Store, run_id: str) -> dict[int, dict[int, str]]:
    """Keys of the pictures of the fixed pairs: number of the pair -> step -> key, ascending."""
    prefix = keys.training_pictures_prefix(run_id)
    found: dict[int, dict[int, str]] = {}
    for key in sorted(store.list(prefix)):
        if match := _PICTURE.fullmatch(key.removeprefix(prefix)):
            found.setdefault(int(match[2]), {})[int(match[1])] = key
    return dict(sorted(found.items()))


def stored_dumps(store: Store, run_id: str) -> dict[int, list[str]]:
    """Keys of the dumped micro-batches by step, ascending."""
    prefix = keys.training_dumps_prefix(run_id)
    found: dict[int, list[str]] = {}
    for key in sorted(store.list(prefix)):
        if match := _DUMP.fullmatch(key.removeprefix(prefix)):
            found.setdefault(int(match[1]), []).append(key)
    return found


def _filled(settings: Mapping[str, Any], origin: str) -> TrainingConfig:
    tree: dict[str, Any] = {}
    for path, value in settings.items():
        assign(tree, TrainingConfig, path, value, origin)
    return overlay(TrainingConfig(), tree)
