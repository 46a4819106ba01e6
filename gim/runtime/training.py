"""Training on a dataset from settings: what `gim train` runs in each of its processes."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from gim.datasets.manifest import read_dataset
from gim.ports.telemetry import NullTelemetry, Telemetry
from gim.runtime.training_process import training_process
from gim.settings import Settings
from gim.training.estimates import estimate
from gim.training.projections import Estimate
from gim.training.run import RunResult, train


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who is told of a run as it goes on."""

    say: Callable[[str], None] = lambda _: None  # a line for a person
    progress: Callable[[str, int, int], None] = lambda _what, _done, _total: None  # "features", "pairs"
    values: Callable[[int, Mapping[str, float]], None] = lambda _step, _values: None  # a point of the curves
    telemetry: Telemetry = field(default_factory=NullTelemetry)
    on_saved: Callable[[int], None] = lambda _: None


def estimate_training(
    settings: Settings,
    dataset_id: str,
    *,
    price_per_device_hour: float | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Estimate:
    """What `run_training` would take, from a few measured steps; the store stays as it is.

    Raises:
        As `gim.training.estimates.estimate` and `training_process`.
    """
    with training_process(settings, environment=environment) as process:
        request = process.request(read_dataset(process.store, dataset_id))
        quiet = replace(request, draw=None, curves=None)
        return estimate(quiet, price_per_device_hour=price_per_device_hour)


def run_training(
    settings: Settings,
    dataset_id: str,
    *,
    run_id: str = "",
    is_resumed: bool = False,
    listener: Listener | None = None,
    environment: Mapping[str, str] = os.environ,
) -> RunResult:
    """Train as `settings.train` says; the first SIGTERM or Ctrl-C saves a checkpoint and ends.

    Args:
        settings: the store, the recipe, the device.
        dataset_id: of the store.
        run_id: a name for the run; empty: made of what shapes its weights.
        is_resumed: go on from the last checkpoint, if there is one.
        listener: told of what happens; only the first rank speaks.
        environment: torchrun's variables.

    Raises:
        As `gim.training.run.train` and `training_process`.
    """
    listener = listener or Listener()
    with training_process(settings, environment=environment) as process:
        told = listener if process.ranks.is_first else Listener()
        request = replace(
            process.request(read_dataset(process.store, dataset_id), run_id=run_id, say=told.say),
            is_resumed=is_resumed,
            telemetry=told.telemetry,
            on_prepared=lambda done, total: told.progress("features", done, total),
            on_point=lambda point: told.values(point.step, point.values),
            on_saved=told.on_saved,
        )
        return train(request)
