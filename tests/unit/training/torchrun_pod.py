"""What a pod runs, without a cluster and without training: an agent that starts ranks, or one rank. Not a test.

    python -m tests.unit.training.torchrun_pod FOLDER [rank]

torchrun's variables say who it is. A rank notes itself in FOLDER/ranks, then goes round with the others until a file
FOLDER/finish is there, or until one of them is told to stop; with FOLDER/fail, the last rank ends with the code in it.
"""

import os
import sys
import time
from pathlib import Path

from gim.errors import GimError
from gim.runtime.interrupt import Interruption
from gim.training.node import node_of

STOPPED = 143


def run_pod(folder: Path) -> int:
    from gim.training.torchrun import run_ranks

    node = node_of(os.environ)
    assert node is not None
    command = [sys.executable, "-m", "tests.unit.training.torchrun_pod", str(folder), "rank"]
    return run_ranks(node, command, wait_seconds=120, grace_seconds=20, say=_say)


def run_rank(folder: Path) -> int:
    from gim.training.distributed import connected

    interruption = Interruption()
    with connected(os.environ, timeout_seconds=60) as ranks, interruption.listening():
        with (folder / "ranks").open("a") as noted:
            noted.write(f"{ranks.rank} of {ranks.world_size} in {os.environ['GROUP_RANK']}: {os.getpid()}\n")
        while not ranks.from_first((folder / "finish").exists()):
            if ranks.any(interruption.requested()):
                ranks.barrier()
                return STOPPED
            if ranks.rank == ranks.world_size - 1 and (folder / "fail").exists():
                os._exit(int((folder / "fail").read_text()))
            time.sleep(0.05)
        ranks.barrier()
    return 0


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    try:
        sys.exit((run_rank if "rank" in sys.argv[2:] else run_pod)(Path(sys.argv[1])))
    except GimError as error:
        _say(str(error))
        sys.exit(error.exit_code)
