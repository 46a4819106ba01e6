"""A whole run on one machine: a file store, a bus of its own, and this process or several that drain it.

The run's bus and journals live and end with it (see `run_folder`); what it makes lies in the store. So an interrupted
run needs no repair: the same command starts a new one, which passes quickly over everything that is there.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gim.adapters.bus_sqlite import SqliteBus
from gim.adapters.store_file import FileStore
from gim.errors import ConfigError, Unavailable
from gim.runtime.interrupt import Interruption, StageAbandoned
from gim.runtime.journal import RunSnapshot, RunWatch, VideoActivity
from gim.runtime.outcome import DeadLetter
from gim.runtime.pool import WorkerPool
from gim.runtime.retry import RetryPolicy
from gim.runtime.run_folder import RunFolder, new_run
from gim.runtime.threads import beating
from gim.runtime.worker_process import BuildStages, WorkOrder, work
from gim.wire.topics import Event, topic_of

_SNAPSHOT_SECONDS = 0.5
# A person is waiting: what stays unavailable for this long is reported, and the rest of the run goes on.
EMBEDDED_POLICY = RetryPolicy(unavailable_seconds=20.0, longest_pause_seconds=5.0)


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a video has no result."""

    status: str  # failed, or unfinished
    error: str  # one line
    exit_code: int


@dataclass(frozen=True, slots=True)
class RunReport:
    """How a run ended."""

    run_id: str
    elapsed_seconds: float
    videos: dict[str, VideoActivity]  # by video id, or by source text where no id was found
    outcomes: dict[str, dict[str, int]]  # stage -> done, dead, abandoned -> messages
    dead_letters: tuple[DeadLetter, ...]
    interrupted: bool = False
    unavailable: Unavailable | None = None  # why the run could not go on

    def failures(self, subject: str) -> list[DeadLetter]:
        """Dead letters of one video, given by its id or by its source text."""
        activity = self.videos.get(subject)
        names = {subject, *activity.sources} if activity is not None else {subject}
        names |= {video_id for video_id, about in self.videos.items() if subject in about.sources}
        return [letter for letter in self.dead_letters if letter.subject in names]

    def ending(self, *subjects: str) -> Ending:
        """Why a video without a result has none; `subjects` are its names, the first with a failure counts."""
        for subject in subjects:
            for letter in self.failures(subject):
                return Ending("failed", letter.message, letter.exit_code)
        if self.unavailable is not None:
            return Ending("unfinished", str(self.unavailable), self.unavailable.exit_code)
        error = "not finished; the same command goes on where this one stopped"
        return Ending("unfinished", error, 0 if self.interrupted else 1)


def run_embedded(
    events: Sequence[tuple[str, Event]],
    *,
    store_root: Path,
    build_stages: BuildStages,
    jobs: int = 1,
    threads: int = 1,
    on_snapshot: Callable[[RunSnapshot], None] | None = None,
    policy: RetryPolicy = EMBEDDED_POLICY,
) -> RunReport:
    """Publish events and work off everything that follows from them, and nothing else.

    Args:
        events: (bus key, event), usually one `VideoRequested` per video.
        store_root: folder of the store; made if absent or empty.
        build_stages: called as `build_stages(store, telemetry, executor, threads)` in each process that works, gives
            the stages in the order of the pipeline; with `jobs` above 1 it must be picklable (a function of a module,
            or a `functools.partial` of one).
        jobs: processes; 1 works in this one.
        threads: of the executor, per process. OpenCV and BLAS are held to one thread per call meanwhile.
        on_snapshot: told about twice a second how the run stands, from another thread, and once at the end.
        policy: what is tried again. A message whose resource stays unavailable is set aside as a dead letter named
            `Unavailable`, so that one absent source does not stop the others; the next run takes it up again.

    Returns:
        The report. After Ctrl-C or SIGTERM `interrupted` is set, and the same command goes on where this one stopped.

    Raises:
        ConfigError: the folder is no store, or `jobs` or `threads` is below 1.
        Unavailable: the store cannot be opened or the events cannot be published.
        KeyboardInterrupt: a second Ctrl-C.
        GimError: what `build_stages` raised.
    """
    if jobs < 1 or threads < 1:
        raise ConfigError(f"jobs and threads must be at least 1, not {jobs} and {threads}")
    FileStore(store_root).close()
    interruption = Interruption()
    with new_run(store_root) as run, interruption.listening():
        watch = RunWatch(run.journals)
        order = WorkOrder(store_root, run.path, build_stages, threads, policy)
        _publish(events, run)
        with _reporting(watch, on_snapshot):
            unavailable = _work(order, jobs, interruption, watch)
        end = watch.snapshot()
        if on_snapshot is not None:
            on_snapshot(end)
        return RunReport(
            run.run_id,
            end.elapsed_seconds,
            end.videos,
            end.outcomes,
            end.dead_letters,
            interruption.requested(),
            unavailable,
        )


def _publish(events: Sequence[tuple[str, Event]], run: RunFolder) -> None:
    with closing(SqliteBus(run.bus, survive_power_cut=False)) as bus:
        for key, event in events:
            bus.publish(topic_of(event), key, event.SerializeToString(deterministic=True))
        bus.flush()


def _work(order: WorkOrder, jobs: int, interruption: Interruption, watch: RunWatch) -> Unavailable | None:
    """Work until the end; returns why it could not be reached, if so."""
    try:
        if jobs == 1:
            with suppress(StageAbandoned):
                work(order, interruption, watch.observe)
        else:
            with closing(SqliteBus(RunFolder(order.run_path).bus, survive_power_cut=False)) as bus:
                WorkerPool(order, bus, watch.observe).run(jobs, interruption)
    except Unavailable as error:
        return error
    return None


@contextmanager
def _reporting(watch: RunWatch, on_snapshot: Callable[[RunSnapshot], None] | None) -> Iterator[None]:
    """Tell how the run stands, from a thread, for as long as the block runs."""
    if on_snapshot is None:
        yield
        return
    with beating(lambda: on_snapshot(watch.snapshot()), _SNAPSHOT_SECONDS, "snapshots"):
        yield
