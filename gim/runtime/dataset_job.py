"""The trainer service where it only makes the dataset that its settings describe (`trainer.dataset_only`)."""

from collections import Counter
from contextlib import closing

from structlog.typing import FilteringBoundLogger

from gim.datasets.build import BuiltDataset, build_dataset
from gim.datasets.config import DatasetConfig
from gim.errors import GimError
from gim.runtime.opening import open_store
from gim.settings import Settings


def run_dataset_job(settings: Settings, log: FilteringBoundLogger) -> int:
    """Make the dataset of these settings in the store that they name, and say in the log what came of it.

    To run it again is harmless: where nothing has changed it finds its dataset there.

    Args:
        settings: name the store, and what belongs to the dataset.
        log: told of the dataset, of every video left out, and of what went wrong.

    Returns:
        The exit code: 0, also when there is nothing to do; 2 for wrong settings, 3 when the store is away: try again.
    """
    config = settings.dataset
    log.info("dataset_begun", store=settings.store, name=config.name)
    try:
        with closing(open_store(settings)) as store:
            built = build_dataset(store, config)
    except GimError as error:
        log.warning("dataset_failed", error=type(error).__name__, message=" ".join(str(error).split()))
        return error.exit_code
    log_dataset(log, built, config)
    return 0


def log_dataset(log: FilteringBoundLogger, built: BuiltDataset, config: DatasetConfig) -> None:
    """Say what came of a build: a line for every video left out, and one for the dataset."""
    manifest = built.manifest
    for video in manifest.excluded:
        log.info("video_left_out", video=video.video_id, recipe=video.recipe_id, reason=video.reason, why=video.detail)
    facts = {
        "videos": len(manifest.videos),
        "pairs": manifest.num_pairs,
        "held_out_pairs": manifest.num_held_out_pairs,
        "left_out": dict(sorted(Counter(video.reason for video in manifest.excluded).items())),
    }
    if built.status == "too_small":
        log.info("dataset_too_small", min_pairs=config.min_pairs, **facts)
    else:
        log.info(f"dataset_{built.status}", dataset=manifest.dataset_id, **facts)
