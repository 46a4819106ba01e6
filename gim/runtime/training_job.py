"""The trainer service, a job that ends: makes the dataset of its settings, trains on it, and tells the evaluators.

Killed at any moment and started again it goes on with the same run. Of several processes, as torchrun starts them, the
first alone makes the dataset, speaks and tells of checkpoints; the first of each machine answers over HTTP.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger

from gim.adapters.telemetry_prometheus import PrometheusTelemetry
from gim.datasets.manifest import read_dataset
from gim.runtime.dataset_job import run_dataset_job
from gim.runtime.http_status import Status, StatusServer
from gim.runtime.logs import no_log
from gim.runtime.observed_store import ObservedStore
from gim.runtime.threads import beating
from gim.settings import Settings
from gim.training.checkpoints.listing import latest

if TYPE_CHECKING:  # torch is not needed to make a dataset
    from gim.runtime.training_bells import TrainingBells
    from gim.runtime.training_process import TrainingProcess
    from gim.runtime.training_turn import TrainingTurn
    from gim.training.journal import Point
    from gim.training.run import RunRequest, RunResult

STOPPED = 143  # as a process that SIGTERM has ended: start it again
_BEAT_SECONDS = 15.0  # while the dataset is made
_TELL_SECONDS = 30.0  # between two lines about features

Train = Callable[["RunRequest"], "RunResult"]


def run_training_job(
    settings: Settings,
    log: FilteringBoundLogger,
    *,
    environment: Mapping[str, str] = os.environ,
    train: Train | None = None,
) -> int:
    """Make the dataset of these settings and train on it, unless that is done; see docs/operating.md.

    Args:
        settings: `dataset`, `train` and `trainer` say what; the rest where.
        log: told of the run as it goes on.
        environment: torchrun's variables.
        train: in place of `gim.training.run.train`.

    Returns:
        The exit code: 0 when all is done, `STOPPED` when it was told to stop and has to be started again.

    Raises:
        GimError: exit code 2, start it again when that is mended; 3, start it again.
    """
    is_first = environment.get("RANK", "0") == "0"
    job = _Job(settings, log if is_first else no_log(), is_first)
    try:
        with ExitStack() as stack:
            if environment.get("LOCAL_RANK", "0") == "0":
                job.serve(stack)
            if settings.trainer.dataset_only:
                return job.make_dataset() if is_first else 0
            return job.run(stack, environment, train)
    except KeyboardInterrupt:  # while the dataset was made; or a second signal
        log.warning("stopped_at_once", run=job.run_id)
        return STOPPED


@dataclass
class _Job:
    """What one process of the job knows while it goes on."""

    settings: Settings
    log: FilteringBoundLogger
    is_first: bool
    run_id: str = ""
    _told_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        # Ranks wait as long for one that works as an outsider should for a step.
        self.status = Status(limit_seconds=self.settings.train.loop.timeout_seconds)
        self.telemetry = PrometheusTelemetry("trainer")

    def run(self, stack: ExitStack, environment: Mapping[str, str], train: Train | None) -> int:
        """All of the job; returns its exit code."""
        from gim.runtime.training_process import training_process  # noqa: PLC0415 - torch on use
        from gim.runtime.training_turn import is_finished  # noqa: PLC0415 - torch on use

        process = stack.enter_context(
            training_process(
                self.settings,
                environment=environment,
                observed=lambda store: ObservedStore(store, self.telemetry),
            )
        )
        turn = process.ranks.from_first(self._turn(process) if self.is_first else None)
        if turn is None:
            return 0
        self.run_id = turn.run_id
        bells = self._bells(process)
        if is_finished(process.store, turn):
            self.log.info("nothing_to_train", run=turn.run_id, dataset=turn.dataset_id)
        else:
            result = self._train(process, turn, bells, train)
            if result.ended == "stopped":
                process.ranks.barrier()  # when one has ended, torchrun gives the first half a minute for its checkpoint
                return STOPPED
        if self.is_first and not turn.is_announced:
            self._announce(process, turn, bells)
        process.ranks.barrier()  # until evaluators know: another attempt needs them all
        return 0

    def make_dataset(self) -> int:
        """That part of the job alone; returns its exit code."""
        self.status.not_ready("making the dataset")
        with beating(self.status.beat, _BEAT_SECONDS, "dataset"):
            return run_dataset_job(self.settings, self.log)

    def serve(self, stack: ExitStack) -> None:
        """Answer over HTTP until the stack is closed."""
        service = self.settings.service
        server = StatusServer(self.status, service.http_host, service.http_port, metrics=self.telemetry.exposition)
        stack.callback(server.close)
        self.log.info("service_started", http_port=server.port, settings=_changed(self.settings))

    def _turn(self, process: "TrainingProcess") -> "TrainingTurn | None":
        """What to train; the first rank's to say."""
        from gim.runtime.training_bells import bus_opener, check_bus  # noqa: PLC0415 - torch on use
        from gim.runtime.training_turn import next_turn  # noqa: PLC0415 - torch on use

        self.status.not_ready("making the dataset")
        with beating(self.status.beat, _BEAT_SECONDS, "dataset"), process.interruption.abandonable():
            check_bus(bus_opener(self.settings), self.log)
            return next_turn(process.store, self.settings, process.resources, self.log)

    def _bells(self, process: "TrainingProcess") -> "TrainingBells":
        from gim.runtime.training_bells import TrainingBells, bus_opener  # noqa: PLC0415 - torch on use

        opener = bus_opener(self.settings) if self.is_first else None
        return TrainingBells(process.store, self.run_id, open_bus=opener, log=self.log)

    def _train(
        self, process: "TrainingProcess", turn: "TrainingTurn", bells: "TrainingBells", train: Train | None
    ) -> "RunResult":
        from gim.training.run import train as train_on_torch  # noqa: PLC0415 - torch on use

        self.status.ready()
        log = self.log.bind(run=turn.run_id)
        if self.settings.trainer.announce == "each":
            bells.try_ring()  # those of before, whose bells a kill may have cost
        request = replace(
            process.request(
                read_dataset(process.store, turn.dataset_id),
                replace(self.settings.train, start=turn.start),
                run_id=turn.run_id,
                say=lambda line: log.warning("note", message=line),
            ),
            is_resumed=latest(process.store, turn.run_id) is not None,
            telemetry=self.telemetry,
            is_told_to_stop=lambda: self._is_told_to_stop(process),
            on_saved=lambda step: self._on_saved(step, bells),
            on_prepared=self._on_prepared,
            on_point=self._on_point,
        )
        log.info("run_begun", dataset=turn.dataset_id, start=turn.start, steps=turn.num_steps)
        result = (train or train_on_torch)(request)
        log.info(
            "run_finished" if result.ended == "finished" else "run_stopped",
            step=result.step,
            bad_steps=result.num_bad_steps,
            skipped=result.skipped,
        )
        return result

    def _announce(self, process: "TrainingProcess", turn: "TrainingTurn", bells: "TrainingBells") -> None:
        from gim.runtime.training_turn import note_announced  # noqa: PLC0415 - torch on use

        self.status.not_ready("telling of checkpoints")
        bells.ring_stored()
        if bells.has_bus:
            note_announced(process.store, self.settings, turn)

    def _is_told_to_stop(self, process: "TrainingProcess") -> bool:
        """Asked after every step, so that it is also the run's pulse."""
        self.status.beat()
        return process.interruption.requested()

    def _on_prepared(self, done: int, total: int) -> None:
        self.status.beat()
        now = time.monotonic()
        if done == total or now - self._told_at >= _TELL_SECONDS:
            self._told_at = now
            self.log.info("features", run=self.run_id, pairs=done, of=total)

    def _on_point(self, point: "Point") -> None:
        values = {name: float(f"{value:.6g}") for name, value in point.values.items()}
        self.log.info("progress", run=self.run_id, step=point.step, pairs=point.pairs, **values)

    def _on_saved(self, step: int, bells: "TrainingBells") -> None:
        self.log.info("checkpoint_stored", run=self.run_id, step=step)
        if self.settings.trainer.announce == "each":
            bells.try_ring([step])


def _changed(settings: Settings) -> dict[str, object]:
    """What differs from the recipes and the defaults, secrets left out."""
    usual = Settings.load(environ={}, recipe=settings.recipe, training_recipe=settings.train.recipe).redacted()
    return {path: value for path, value in settings.redacted().items() if value != usual.get(path)}
