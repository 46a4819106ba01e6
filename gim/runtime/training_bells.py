"""Tells the evaluators of checkpoints: one `CheckpointReady` each, once its manifest is in the store.

The store is the truth, so a bell that is lost costs nothing but time: it is rung again when the trainer starts again,
and an evaluator finds what it has done.
"""

from collections.abc import Callable, Iterable
from contextlib import closing

from structlog.typing import FilteringBoundLogger

from gim.errors import GimError, Unavailable
from gim.ports.bus import Bus
from gim.ports.store import Store
from gim.runtime.opening import open_bus
from gim.settings import Settings
from gim.training.checkpoints.listing import read_manifest, stored_steps
from gim.wire import topics
from gim.wire.v1 import events_pb2


class TrainingBells:
    """The bells of one run's checkpoints. A connection lasts as long as a ringing: there are hours between two."""

    def __init__(
        self, store: Store, run_id: str, *, open_bus: Callable[[], Bus] | None, log: FilteringBoundLogger
    ) -> None:
        """Ring nothing yet.

        Args:
            store: of the checkpoints.
            run_id: of the run.
            open_bus: makes the connection; None: there is nobody to tell.
            log: told of every bell.
        """
        self._store, self._run_id, self._open, self._log = store, run_id, open_bus, log
        self._rung: set[int] = set()  # by this process

    @property
    def has_bus(self) -> bool:
        """Whether there is somebody to tell."""
        return self._open is not None

    def ring_stored(self) -> None:
        """Tell of every checkpoint that is stored and of which this process has not told.

        Raises:
            Unavailable: the bus is away; the same again does no harm.
            ConfigError: it has no such topic, or refuses who we are.
        """
        self.ring(step for step in stored_steps(self._store, self._run_id) if step not in self._rung)

    def ring(self, steps: Iterable[int]) -> None:
        """Tell of checkpoints.

        Raises:
            Unavailable, ConfigError: as of `ring_stored`.
        """
        events = [self._event(step) for step in steps]
        if self._open is None or not events:
            return
        with closing(self._open()) as bus:
            for event in events:
                headers = {"gim-type": event.DESCRIPTOR.full_name, "gim-producer": "trainer"}
                bus.publish(topics.CHECKPOINTS, event.run_id, event.SerializeToString(deterministic=True), headers)
            bus.flush()
        self._rung |= {event.step for event in events}
        self._log.info("checkpoints_announced", run=self._run_id, steps=[event.step for event in events])

    def try_ring(self, steps: Iterable[int] | None = None) -> None:
        """Tell of checkpoints, by default as `ring_stored`; or say why not, since training must not stop for that."""
        try:
            self.ring_stored() if steps is None else self.ring(steps)
        except GimError as error:
            self._log.warning("bells_not_rung", run=self._run_id, error=type(error).__name__, message=str(error))

    def _event(self, step: int) -> events_pb2.CheckpointReady:
        manifest = read_manifest(self._store, self._run_id, step)
        return events_pb2.CheckpointReady(
            run_id=self._run_id,
            step=step,
            matcher=manifest.matcher,
            checkpoint=manifest.files[0].key,
            dataset_id=manifest.dataset_id,
        )


def bus_opener(settings: Settings) -> Callable[[], Bus] | None:
    """What connects to the bus of the settings; None where they name none."""
    if not settings.kafka.bootstrap_servers:
        return None
    return lambda: open_bus(settings, client_id="gim-trainer")


def check_bus(opener: Callable[[], Bus] | None, log: FilteringBoundLogger) -> None:
    """Find out before hours of training whether the bus knows us; one that is away may come back meanwhile.

    Raises:
        ConfigError: the brokers refuse who we are, or the settings say too little.
    """
    if opener is None:
        log.info("no_bus", message="kafka.bootstrap_servers is not set: no evaluator is told of checkpoints")
        return
    try:
        opener().close()
    except Unavailable as error:
        log.warning("waiting", waits_for="bus", error=type(error).__name__, message=str(error))
