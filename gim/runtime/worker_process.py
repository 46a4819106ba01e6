"""One worker process of an embedded run: builds the stages, drains the run's bus, and tells its parent what it does.

Started by `gim.runtime.pool` as a fresh interpreter, so it neither runs the parent's main module again nor inherits its
threads. What parent and child say to each other is defined here.
"""

import os
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from gim.adapters.bus_sqlite import SqliteBus
from gim.adapters.store_file import FileStore
from gim.adapters.telemetry_journal import JournalTelemetry
from gim.errors import GimError
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry
from gim.runtime.interrupt import AbandonableStage, Interruption
from gim.runtime.logs import log_file
from gim.runtime.outcome import Begun, DrainReport, Outcome
from gim.runtime.retry import RetryPolicy
from gim.runtime.run_folder import RunFolder
from gim.runtime.threads import network_threads, one_thread_each
from gim.runtime.worker import drain
from gim.stages.base import Stage

BuildStages = Callable[[Store, Telemetry, Executor, int], Sequence[Stage]]


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """What a worker needs to know; `build_stages` is picklable, so a function of a module or a partial of one."""

    store_root: Path
    run_path: Path
    build_stages: BuildStages
    threads: int
    policy: RetryPolicy


@dataclass(frozen=True, slots=True)
class Ended:
    """The last word of a worker: why it stopped."""

    error: GimError | None = None  # the bus stayed away, or the stages cannot be built as asked
    crash: str = ""  # the stack of a bug outside any message


def work(order: WorkOrder, interruption: Interruption, observe: Callable[[Begun | Outcome], None]) -> DrainReport:
    """Drain the run's bus in this process until all of the run's work is done, or an interruption.

    Raises:
        StageAbandoned: a signal came while a stage was at work.
        Unavailable: the bus stayed away for longer than the policy allows.
    """
    run = RunFolder(order.run_path)
    with (
        closing(FileStore(order.store_root, create=False)) as store,
        closing(JournalTelemetry(run.new_journal())) as telemetry,
        log_file(run.log) as log,
        ThreadPoolExecutor(order.threads, thread_name_prefix="stage") as executor,
    ):
        stages = order.build_stages(store, telemetry, executor, order.threads)
        with (
            one_thread_each(),
            network_threads(order.threads),
            closing(SqliteBus(run.bus, survive_power_cut=False)) as bus,
        ):
            return drain(
                [AbandonableStage(stage, interruption) for stage in stages],
                bus,
                telemetry=telemetry,
                stop=interruption.requested,
                policy=order.policy,
                log=log,
                observe=observe,
            )


def main(descriptor: int) -> None:
    """Talk to the parent over an inherited socket, and work."""
    os.set_inheritable(descriptor, False)
    connection = Connection(descriptor)
    interruption = Interruption()
    with interruption.listening([signal.SIGTERM]):
        connection.send(_ended(connection, interruption))


def _ended(connection: Connection, interruption: Interruption) -> Ended:
    try:
        order: WorkOrder = connection.recv()
        threading.Thread(target=_die_with_parent, args=(connection,), daemon=True).start()
        work(order, interruption, connection.send)
    except KeyboardInterrupt:
        return Ended()
    except GimError as error:
        return Ended(error=error)
    except Exception:
        return Ended(crash=traceback.format_exc())
    return Ended()


def _die_with_parent(connection: Connection) -> None:
    """The parent says nothing more, so the end of the line is its end; what is in hand comes back by itself."""
    try:
        connection.recv()
    except (EOFError, OSError):
        os._exit(1)
