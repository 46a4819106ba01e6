"""The ranks of one machine, started and watched by torchrun's agent; all machines of a run meet at the first one.

The agent and not the command `torchrun`: its exit code says only that something failed, and it does not listen to
SIGTERM before its ranks run. Here the exit code is the ranks' own, which says whether another start can help.

What is lost is started again without the machines that are left: their ranks end, since they wait for the lost ones in
vain, and their agents wait for the machine's successor. Without the first one there is no place to meet, so all end,
and whoever has started them starts all of them again.
"""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import torch
from torch.distributed import DistError
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, launch_agent

from gim.errors import Unavailable
from gim.training.node import Node

STOPPED = 143  # as a process that SIGTERM has ended: start it again
_RESTARTS = 3  # of the ranks of a machine that goes on, each time that another one is lost or stopped
_POLL_SECONDS = 1.0
_CONNECT_SECONDS = 5.0
# What to say of several ranks that failed together: what no start can help, a bug, somebody who is away, told to stop.
_GRAVEST_FIRST = (2, 1, 3, STOPPED)


def run_ranks(
    node: Node,
    command: Sequence[str],
    *,
    wait_seconds: float,
    grace_seconds: float,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Start the ranks of this machine, which find those of the others, and wait until all of the run is done.

    Args:
        node: this machine among those of the run.
        command: of each rank, which finds in its environment who it is (RANK, WORLD_SIZE, MASTER_ADDR, ...).
        wait_seconds: for the other machines, at the start and after each loss.
        grace_seconds: that ranks have after SIGTERM, to end their step and store a checkpoint.
        say: told in a line what is waited for.

    Returns:
        The exit code: 0, `STOPPED`, or the gravest of those with which ranks failed.

    Raises:
        Unavailable: another machine did not come in time, or the first one is lost.
    """
    with _signals_raise():
        try:
            wait_for_first(node, wait_seconds, say)
            launch_agent(_config(node, wait_seconds, grace_seconds), command[0], list(command[1:]))
        except SignalException:  # the agent has passed it on, and has waited for its ranks
            return STOPPED
        except ChildFailedError as error:
            return exit_code_of(error.failures.values())
        except (RendezvousError, DistError) as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise Unavailable(
                f"node {node.node_rank} of {node.num_nodes} does not find the others at {node.address}:{node.port} "
                f"({said}): their own logs say why; a restart goes on from the last checkpoint"
            ) from error
    return 0


def wait_for_first(node: Node, seconds: float, say: Callable[[str], None] = lambda _: None) -> None:
    """Wait until the first machine answers; the first waits for its own name, by which the others will find it.

    Names of an Indexed Job's pods come into being some seconds after the pods. torch would ask a name server just as
    often, but without a line in the log and deaf to signals.

    Raises:
        Unavailable: it does not answer in time.
    """
    until, is_told = time.monotonic() + seconds, False
    while why_not := _why_not_there(node):
        if time.monotonic() >= until:
            raise Unavailable(f"{node.address}:{node.port}, the first node: {why_not}, for {seconds:g} s")
        if not is_told:
            is_told = True
            say(f"{node.address}:{node.port}, the first node: {why_not}")
        time.sleep(_POLL_SECONDS)


def exit_code_of(failures: Iterable[ProcessFailure]) -> int:
    """What to say of ranks that failed: the gravest of those that did so first. The others were ended for it."""
    found = sorted(failures, key=lambda failure: failure.timestamp)  # in whole seconds
    codes = {_meaning(failure.exitcode) for failure in found if failure.timestamp <= found[0].timestamp + 1}
    return next(code for code in _GRAVEST_FIRST if code in codes)


def _meaning(exit_code: int) -> int:
    if exit_code in _GRAVEST_FIRST:
        return exit_code
    return STOPPED if exit_code == -signal.SIGTERM else 1


def _why_not_there(node: Node) -> str:
    try:
        if node.is_first:
            socket.getaddrinfo(node.address, node.port)
        else:
            socket.create_connection((node.address, node.port), _CONNECT_SECONDS).close()
    except OSError as error:  # a name that does not exist, too
        return error.strerror or str(error)
    return ""


def _config(node: Node, wait_seconds: float, grace_seconds: float) -> LaunchConfig:
    num_ranks = node.num_ranks or max(torch.cuda.device_count(), 1)
    # Each rank by itself would take all cores. What is set stands.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(len(os.sched_getaffinity(0)) // num_ranks, 1)))
    # Else the first machine says only once where its ranks' store is, and the successor of a lost one waits for it in
    # vain; and a store that outlives its ranks has the addresses of those before (pytorch issue 135712).
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    return LaunchConfig(
        min_nodes=node.num_nodes,
        max_nodes=node.num_nodes,
        nproc_per_node=num_ranks,
        run_id="gim",
        role="rank",
        rdzv_backend="c10d",
        rdzv_endpoint=f"{'localhost' if node.is_first else node.address}:{node.port}",
        # The others are not guessed to be the host by what their names resolve to.
        rdzv_configs={"is_host": node.is_first, "join_timeout": int(wait_seconds)},
        # Names decide who is rank 0. Those of an Indexed Job's pods end in their index; the first one's has to be the
        # one that the others know, since its ranks are where all others connect to.
        local_addr=node.address if node.is_first else None,
        # Alone, a machine is started again as a whole: its exit code tells more than another attempt.
        max_restarts=_RESTARTS if node.num_nodes > 1 else 0,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),  # ranks write to our own stdout and stderr, and to no file
        shutdown_timeout=int(grace_seconds),
    )


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Until the agent handles signals itself, raise what it raises: as PID 1 a process ignores those it handles not."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise SignalException(f"signal {number}", signal.Signals(number))

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
