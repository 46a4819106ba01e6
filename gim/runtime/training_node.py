"""The trainer service as it is deployed: one process, or the ranks of one machine among several."""

import os
import sys
from collections.abc import Mapping, Sequence

from structlog.typing import FilteringBoundLogger

from gim.runtime.training_job import run_training_job
from gim.settings import Settings
from gim.training.node import node_of


def run_training_node(
    settings: Settings,
    log: FilteringBoundLogger,
    *,
    environment: Mapping[str, str] = os.environ,
    command: Sequence[str] = (),
) -> int:
    """Train in this process, or start the ranks that torchrun's variables ask for: each runs this same program.

    Args:
        settings: as of `run_training_job`; `train.loop.timeout_seconds` is what machines wait for each other, and
            `service.grace_seconds` what ranks have after SIGTERM.
        log: told of this machine and of how its ranks ended.
        environment: torchrun's variables, see `gim.training.node`.
        command: of a rank; by default that of this process.

    Returns:
        The exit code: as of `run_training_job`, of the ranks where there are some.

    Raises:
        GimError: as of `run_training_job`; the variables make no sense; another machine does not come.
    """
    node = node_of(environment)
    if node is None:
        return run_training_job(settings, log, environment=environment)
    from gim.training.torchrun import run_ranks  # noqa: PLC0415 - torch on use

    where = f"{node.address}:{node.port}"
    log.info("node_started", node=node.node_rank, nodes=node.num_nodes, first=where)
    code = run_ranks(
        node,
        command or [sys.executable, *sys.argv],
        wait_seconds=settings.train.loop.timeout_seconds,
        grace_seconds=settings.service.grace_seconds,
        say=lambda line: log.info("waiting", waits_for="node", message=line),
    )
    log.info("node_ended", node=node.node_rank, exit_code=code)
    return code
