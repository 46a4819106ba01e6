"""One service process from its settings to its exit code: what every `services/<name>/main.py` runs.

It outlives what is away: Kafka or the store may come and go, it waits and says so. It ends with an exit code when its
settings are wrong, when it is refused (both 2), or when it was told to stop (0).
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from gim.adapters.telemetry_prometheus import PrometheusTelemetry
from gim.adapters.tracing_otel import open_tracing
from gim.errors import ConfigError, GimError, Unavailable
from gim.ports.bus import Bus
from gim.ports.store import Store
from gim.ports.tracing import Tracing
from gim.runtime.blas import prefer_wide_kernels
from gim.runtime.handling import Handler
from gim.runtime.http_status import Status, StatusServer
from gim.runtime.interrupt import AbandonableStage, Interruption, StageAbandoned
from gim.runtime.logs import LogFormat, logging_everything, service_log
from gim.runtime.observed_store import ObservedStore
from gim.runtime.opening import is_remote, open_bus, open_store
from gim.runtime.outcome import Begun, Outcome
from gim.runtime.outcome_metrics import tell_outcome
from gim.runtime.pressure import Pressure
from gim.runtime.retry import Patience, RetryPolicy
from gim.runtime.secrets import secrets_of
from gim.runtime.service_parts import Parts, Work
from gim.runtime.threads import beating, network_threads, one_thread_each
from gim.runtime.worker import serve
from gim.settings import Settings
from gim.stages.purged import PurgeGuard

_LAG_SECONDS = 10.0
_SETUP_PAUSE_SECONDS = 3.0
_SILENT_SECONDS = 60.0  # without a beat of the loop, then the process is taken for dead


def run_service(name: str, build: Callable[[Parts], Work], arguments: Sequence[str] | None = None) -> int:
    """Run a service until SIGTERM; returns its exit code.

    Args:
        name: of the service, for logs, metrics and traces.
        build: makes its stages; called once everything they need is there.
        arguments: `--config FILE` and `--set section.field=value`; those of the process by default.
    """

    def work(settings: Settings, log: FilteringBoundLogger) -> int:
        interruption = Interruption(settings.service.grace_seconds)
        with interruption.listening():
            try:
                _Service(name, settings, interruption, log).run(build)
            except StageAbandoned:
                log.warning("handed_back", message="the time of grace is over: the message in hand goes to another")
            except Unavailable:
                if not interruption.requested():
                    raise
        log.info("service_ended")
        return 0

    return run_job(name, work, arguments)


def run_job(
    name: str, work: Callable[[Settings, FilteringBoundLogger], int], arguments: Sequence[str] | None = None
) -> int:
    """Run what ends by itself, with the settings and the log of a service; returns its exit code.

    Args:
        name: of the job.
        work: given settings and log; its value is the exit code.
        arguments: as of `run_service`.
    """
    prefer_wide_kernels()
    parsed = _parser(name).parse_args(arguments)
    log = _log(name, "json")
    try:
        settings = Settings.load(parsed.sets, parsed.config)
        log = _log(name, settings.service.log_format, secrets_of(settings))
    except GimError as error:
        return _say_stopped(log, error)
    with logging_everything(log):
        try:
            return work(settings, log)
        except GimError as error:
            return _say_stopped(log, error)


def _say_stopped(log: FilteringBoundLogger, error: GimError) -> int:
    log.error("service_stopped", error=type(error).__name__, message=str(error))
    return error.exit_code


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=name, description=f"The {name} service; settings also come from GIM_*.")
    given = os.environ.get("GIM_CONFIG")
    parser.add_argument("--config", type=Path, default=Path(given) if given else None, metavar="FILE")
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="SECTION.FIELD=VALUE")
    return parser


def _log(name: str, log_format: LogFormat, secrets: Sequence[str] = ()) -> FilteringBoundLogger:
    return service_log(sys.stdout, log_format, service=name, secrets=secrets)


@dataclass
class _Service:
    """What is open while a service runs."""

    name: str
    settings: Settings
    interruption: Interruption
    log: FilteringBoundLogger
    status: Status = field(default_factory=lambda: Status(limit_seconds=_SILENT_SECONDS))
    has_worked: bool = field(default=False, init=False)  # everything it needs was there once

    def __post_init__(self) -> None:
        self.telemetry = PrometheusTelemetry(
            self.name, in_hand_seconds=self.status.in_hand_seconds, known={"matcher": self.settings.matchers}
        )
        policy = RetryPolicy(max_deliveries=self.settings.service.max_deliveries)
        self.patience = Patience(policy, self.interruption.requested, self._say_waiting)

    def run(self, build: Callable[[Parts], Work]) -> None:
        """Work until it is asked to end; begin anew while others still make what it needs: bucket, keys, topics."""
        service = self.settings.service
        server = StatusServer(self.status, service.http_host, service.http_port, metrics=self.telemetry.exposition)
        with closing(server):
            self.log.info("service_started", http_port=server.port, settings=_changed(self.settings))
            deadline = time.monotonic() + service.setup_seconds
            while True:
                try:
                    return self._work(build)
                except ConfigError as error:
                    if self.has_worked or self.interruption.requested() or time.monotonic() > deadline:
                        raise
                    self._say_waiting("setup", error)
                time.sleep(_SETUP_PAUSE_SECONDS)

    def _work(self, build: Callable[[Parts], Work]) -> None:
        """Open everything, work, and close it in the opposite order."""
        settings = self.settings
        with ExitStack() as stack:
            work_dir = self._work_dir(stack)
            tracing: Tracing = stack.enter_context(closing(open_tracing(settings.telemetry, self.name)))
            with self._beating():
                # A folder may be made; a bucket is made by an administrator, since a service's key may not.
                is_new_allowed = not is_remote(settings)
                opened = self.patience.call("work", lambda: open_store(settings, create=is_new_allowed))
                store = ObservedStore(stack.enter_context(closing(opened)), self.telemetry)
                bus = stack.enter_context(
                    closing(self.patience.call("bus", lambda: open_bus(settings, client_id=f"gim-{self.name}")))
                )
                threads = settings.run.threads or len(os.sched_getaffinity(0))
                executor = stack.enter_context(ThreadPoolExecutor(threads, thread_name_prefix="stage"))
                stack.enter_context(one_thread_each())
                stack.enter_context(network_threads(threads))
                parts = Parts(settings, store, bus, self.telemetry, tracing, executor, threads, work_dir, self.log)
                work = self.patience.call("work", lambda: build(parts))
                for companion in work.beside:
                    stack.enter_context(companion)
            stack.enter_context(beating(lambda: self._tell_lag(work, bus), _LAG_SECONDS, "lag"))
            stack.callback(self.status.not_ready, "draining")
            self._serve(work, bus, store, tracing)

    def _serve(self, work: Work, bus: Bus, store: Store, tracing: Tracing) -> None:
        gate = _Gate(work.pressure, self.telemetry.set_level, self.log)
        limits = {stage.group: stage.max_seconds for stage in work.stages}

        def observe(told: Begun | Outcome) -> None:
            if isinstance(told, Begun):
                self.status.in_hand(time.monotonic(), limits[told.group])
            else:
                self.status.in_hand(None)
                tell_outcome(self.telemetry, told)

        def beat() -> None:
            self.has_worked = True
            self.status.beat()
            if not self.interruption.requested():
                self.status.ready()

        handler = Handler(
            bus,
            self.patience,
            self.telemetry,
            tracing,
            self.log,
            observe,
            purges=PurgeGuard(store),
            attempting=lambda stage: self.status.in_hand(time.monotonic(), stage.max_seconds),
        )
        stages = [AbandonableStage(stage, self.interruption) for stage in work.stages]
        serve(stages, handler, may_begin=gate.is_open, beat=beat)

    @contextmanager
    def _beating(self) -> Iterator[None]:
        """Say that the process lives while it waits for its servers and loads its models."""
        with beating(self.status.beat, _SILENT_SECONDS / 4, "starting"):
            yield

    def _work_dir(self, stack: ExitStack) -> Path:
        given = self.settings.service.work_dir
        if not given:
            return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"gim-{self.name}-")))
        path = Path(given)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"service.work_dir {path}: {error.strerror}") from error
        return path

    def _tell_lag(self, work: Work, bus: Bus) -> None:
        for topic, group in (*((stage.topic, stage.group) for stage in work.stages), *work.feeds):
            try:
                self.telemetry.set_level("bus_lag", bus.lag(topic, group), topic=topic, group=group)
            except GimError:  # the loop itself meets it, and says so
                return

    def _say_waiting(self, what: str, error: BaseException) -> None:
        self.status.beat()
        self.status.not_ready(str(error))
        self.log.warning("waiting", waits_for=what, error=type(error).__name__, message=str(error))


class _Gate:
    """Asks whether another message may be begun, and says when the answer changes."""

    def __init__(
        self, pressure: Pressure | None, set_level: Callable[[str, float], None], log: FilteringBoundLogger
    ) -> None:
        self._pressure, self._set_level, self._log = pressure, set_level, log
        self._is_open = True

    def is_open(self) -> bool:
        why = self._pressure.why_wait() if self._pressure else ""
        if (not why) is not self._is_open:
            self._is_open = not why
            self._set_level("paused", 0 if self._is_open else 1)
            self._log.info("resumed" if self._is_open else "paused", **({"message": why} if why else {}))
        return self._is_open


def _changed(settings: Settings) -> dict[str, object]:
    """What differs from the defaults, secrets left out."""
    usual = Settings().redacted()
    return {path: value for path, value in settings.redacted().items() if value != usual.get(path)}
