"""What the trainer does next: goes on with the run it has begun, or begins one on data that have changed.

What it trains is written down in the store before it begins, under a key made of its settings. So a trainer that was
killed goes on with the same data, though more have come since, and knows which run was its last.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from structlog.typing import FilteringBoundLogger

from gim import codecs, keys
from gim.datasets.build import build_dataset
from gim.datasets.config import DatasetConfig
from gim.datasets.manifest import read_dataset
from gim.errors import InvalidInput, KeyMissing
from gim.matchers.network import ModelResources
from gim.ports.store import Store
from gim.runtime.dataset_job import log_dataset
from gim.settings import Settings
from gim.training.checkpoints.listing import latest
from gim.training.run_record import run_id_of
from gim.training.runs import PREFIX, checkpoint_name, find_checkpoint
from gim.training.starting import start_weights

# Settings of a dataset that say where it lies and how it is looked at, not what is in it.
_NOT_OF_DATA = ("posed_roots", "verify", "damaged", "min_pairs")


@dataclass(frozen=True, slots=True)
class TrainingTurn:
    """One run of a trainer."""

    run_id: str
    dataset_id: str
    start: str  # weights that it began with, as `train.start`
    num_steps: int  # in all
    is_announced: bool = False  # its checkpoints, to the evaluators, when it was finished


def job_id_of(settings: Settings) -> str:
    """What makes two trainers the same: what they take from the store, and their recipe."""
    data = {name: value for name, value in _fields(settings.dataset).items() if name not in _NOT_OF_DATA}
    if settings.trainer.dataset:
        data = {"dataset": settings.trainer.dataset}
    return keys.config_id(settings.dataset.name, data, run_id_of(settings.train, "", ""))


def next_turn(
    store: Store, settings: Settings, resources: ModelResources, log: FilteringBoundLogger
) -> TrainingTurn | None:
    """What to train now; None where the data are too few. A turn that is finished says that there is nothing to do.

    Args:
        store: of the data and of the runs.
        settings: which data, which recipe.
        resources: where the weights lie that a run begins with.
        log: told of the dataset, or why none is made.

    Raises:
        InvalidInput, ConfigError, Unavailable: as `build_dataset`, `read_dataset` and `start_weights`.
    """
    job_id = job_id_of(settings)
    last = _read(store, job_id)
    if last is not None and not is_finished(store, last):
        obstacle = _obstacle(store, last)
        if not obstacle:
            log.info("run_goes_on", run=last.run_id, dataset=last.dataset_id, step=latest(store, last.run_id) or 0)
            return last
        log.warning("run_given_up", run=last.run_id, dataset=last.dataset_id, why=obstacle)
    dataset_id = _dataset(store, settings, log)
    if dataset_id is None:
        return None
    turn = _turn(store, settings, resources, dataset_id, last)
    if last is None or turn != replace(last, is_announced=False):
        store.put(keys.training_turn(job_id), codecs.to_json(turn))
        return turn
    return last


def _dataset(store: Store, settings: Settings, log: FilteringBoundLogger) -> str | None:
    """The dataset to train on: the one that is named, or one that is made; None where the data are too few."""
    if settings.trainer.dataset:
        return read_dataset(store, settings.trainer.dataset).dataset_id
    built = build_dataset(store, settings.dataset)
    log_dataset(log, built, settings.dataset)
    return None if built.status == "too_small" else built.manifest.dataset_id


def is_finished(store: Store, turn: TrainingTurn) -> bool:
    """Whether the run has the checkpoint of its last step."""
    return (latest(store, turn.run_id) or 0) >= turn.num_steps


def note_announced(store: Store, settings: Settings, turn: TrainingTurn) -> None:
    """Write down that evaluators know of the run's checkpoints."""
    store.put(keys.training_turn(job_id_of(settings)), codecs.to_json(replace(turn, is_announced=True)))


def _read(store: Store, job_id: str) -> TrainingTurn | None:
    try:
        return codecs.from_json(TrainingTurn, store.get(keys.training_turn(job_id)))
    except KeyMissing:
        return None


def _obstacle(store: Store, turn: TrainingTurn) -> str:
    """Why a run cannot go on; empty where it can."""
    if not store.exists(keys.training_run(turn.run_id)):
        return "it was removed, or never begun"
    try:
        dataset = read_dataset(store, turn.dataset_id)
    except InvalidInput as error:
        return str(error)
    purged = [video.video_id for video in dataset.videos if store.exists(keys.purge_mark(video.video_id))]
    return f"{purged[0]} has been purged" if purged else ""


def _turn(
    store: Store, settings: Settings, resources: ModelResources, dataset_id: str, last: TrainingTurn | None
) -> TrainingTurn:
    start = _start(store, settings, dataset_id, last)
    config = replace(settings.train, start=start)
    run_id = run_id_of(config, dataset_id, start_weights(store, start, resources).sha256)
    return TrainingTurn(run_id, dataset_id, start, config.num_steps)


def _start(store: Store, settings: Settings, dataset_id: str, last: TrainingTurn | None) -> str:
    """What a run begins with; that of the last one where nothing has changed, or where that one got nowhere."""
    if last is None:
        return settings.train.start
    if last.dataset_id == dataset_id:
        return last.start
    if not settings.trainer.start_from_last:
        return settings.train.start
    if not is_finished(store, last):
        return last.start
    return checkpoint_name(find_checkpoint(store, f"{PREFIX}{last.run_id}"))


def _fields(config: DatasetConfig) -> Mapping[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
