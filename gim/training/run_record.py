"""What a run of training is, as stored beside its checkpoints: its recipe, its data, what it began with.

A run's id is made of what shapes its weights, so the same command finds its run again. Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gim import codecs, keys
from gim.assignments import leaves
from gim.errors import InvalidInput, KeyMissing
from gim.ports.store import Store
from gim.training.config import TrainingConfig

# Settings that change how fast a run goes, where its files lie and how often it is looked at, but not its weights.
_NOT_OF_WEIGHTS = ("recipe", "source", "keep.", "reader.threads", "reader.prefetch_batches", "reader.verify",
                   "features.cache", "features.max_cache_gib", "loop.compile", "loop.timeout_seconds")  # fmt: skip
_MOST_SHOWN = 4


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Stored once, when a run begins."""

    run_id: str
    recipe: str
    dataset_id: str
    start_sha256: str  # of the weights it began with; empty: from scratch
    settings: dict[str, Any]  # the whole effective recipe, by path


def settings_of(config: TrainingConfig) -> dict[str, Any]:
    """Every setting of a run by its path."""
    return {path: list(value) if isinstance(value, tuple) else value for path, value in leaves(config)}


def run_id_of(config: TrainingConfig, dataset_id: str, start_sha256: str) -> str:
    """The id of a run: the recipe's name, and the hash of all that shapes its weights."""
    name = config.recipe.rpartition("/")[2].removesuffix(".toml")
    return keys.config_id(keys.validate_key(name), shaping(settings_of(config)), dataset_id, start_sha256)


def begin_run(store: Store, record: RunRecord) -> None:
    """Store what a run is, or check that it is what was begun under this id.

    Raises:
        InvalidInput: the run was begun with other settings, other data or other weights; the message names them.
    """
    if not check_run(store, record):
        store.put(keys.training_run(record.run_id), codecs.to_json(record))


def check_run(store: Store, record: RunRecord) -> bool:
    """Whether a run was begun under this id.

    Raises:
        InvalidInput: with other settings, other data or other weights; the message names them.
    """
    try:
        begun = codecs.from_json(RunRecord, store.get(keys.training_run(record.run_id)))
    except KeyMissing:
        return False
    if differences := _differences(begun, record):
        more = f" and {len(differences) - _MOST_SHOWN} more" if len(differences) > _MOST_SHOWN else ""
        raise InvalidInput(
            f"run {record.run_id} was begun with {', '.join(differences[:_MOST_SHOWN])}{more}: "
            "go on with those, or give this run another name by --run"
        )
    return True


def _differences(begun: RunRecord, now: RunRecord) -> list[str]:
    found = [
        f"{name} {getattr(begun, name) or 'nothing'}, not {getattr(now, name) or 'nothing'}"
        for name in ("dataset_id", "start_sha256")
        if getattr(begun, name) != getattr(now, name)
    ]
    before, after = shaping(begun.settings), shaping(now.settings)
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return found + [f"train.{path} = {before.get(path)}, not {after.get(path)}" for path in changed]


def shaping(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a run's settings that change its weights."""
    return {path: value for path, value in settings.items() if not path.startswith(_NOT_OF_WEIGHTS)}
