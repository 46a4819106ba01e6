"""The ranks of several machines as one run, each machine a process here: they meet, are lost, are stopped."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gim.errors import Unavailable
from gim.training.node import Node
from tests.architecture.tree import ROOT
from tests.unit.training.checkpoints.processes import free_port
from tests.unit.training.torchrun_pod import STOPPED

SECONDS = 120.0


@pytest.fixture(scope="module", autouse=True)
def torchrun(lacks_models):
    try:
        import torch  # noqa: F401
    except ImportError:
        lacks_models("no torch: make models")


def failure(exit_code: int, timestamp: int = 100):
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

    made = ProcessFailure(local_rank=0, pid=1, exitcode=exit_code, error_file="")
    made.timestamp = timestamp
    return made


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([143, 143], 143),
        ([3, 143], 3),  # a rank that lost another; the agent has then ended the rest
        ([1, 3], 1),
        ([-9, 3], 1),  # killed for memory
        ([3, 1, 2], 2),
        ([-15], 143),
        ([70], 1),
    ],
)
def test_a_machine_says_the_gravest_of_what_its_ranks_say(codes, expected):
    from gim.training.torchrun import exit_code_of

    assert exit_code_of([failure(code) for code in codes]) == expected


def test_ranks_that_were_killed_since_they_did_not_end_say_nothing():
    from gim.training.torchrun import exit_code_of

    assert exit_code_of([failure(-9, 130), failure(3, 100)]) == 3


def test_a_machine_waits_for_the_first_one_and_says_so_once():
    from gim.training.torchrun import wait_for_first

    said: list[str] = []
    with socket.socket() as first:
        first.bind(("127.0.0.1", 0))
        port = first.getsockname()[1]
        timer = threading.Timer(1.5, first.listen)
        timer.start()
        wait_for_first(Node(2, 1, 1, "127.0.0.1", port), 30, said.append)
        timer.join()
    assert said == [f"127.0.0.1:{port}, the first node: Connection refused"]


def test_a_first_machine_that_does_not_come_is_named():
    from gim.training.torchrun import wait_for_first

    with pytest.raises(Unavailable, match=r"nowhere\.invalid:29400, the first node: .*, for 0 s"):
        wait_for_first(Node(2, 1, 1, "nowhere.invalid"), 0)
    with pytest.raises(Unavailable, match=r"nowhere\.invalid"):  # the others would not find it either
        wait_for_first(Node(2, 0, 1, "nowhere.invalid"), 0)
    wait_for_first(Node(2, 0, 1, "localhost"), 0)


@dataclass
class Pods:
    """Machines of one run, started and lost as a cluster does it."""

    folder: Path
    num_nodes: int = 2
    ranks_each: int = 1
    port: int = field(default_factory=free_port)
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, number: int) -> None:
        variables = {
            "PET_NNODES": self.num_nodes,
            "PET_NPROC_PER_NODE": self.ranks_each,
            "PET_NODE_RANK": number,
            "PET_MASTER_ADDR": "127.0.0.1",
            "PET_MASTER_PORT": self.port,
            "OMP_NUM_THREADS": 1,
            "PYTHONPATH": ROOT,
        }
        with (self.folder / f"pod{number}").open("ab") as log:
            self.running[number] = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "tests.unit.training.torchrun_pod", str(self.folder)],
                env={**os.environ, **{name: str(value) for name, value in variables.items()}},
                stdout=log, stderr=log,
            )  # fmt: skip

    def lose(self, number: int) -> None:
        """As a machine is lost: the agent and its ranks at once, and nobody is told."""
        pids = [int(pid) for group, pid in re.findall(r"in (\d+): (\d+)", self.text()) if int(group) == number]
        self.running[number].kill()
        for pid in pids[-self.ranks_each :]:
            os.kill(pid, signal.SIGKILL)
        self.running.pop(number).wait(SECONDS)

    def ended(self, number: int) -> int:
        return self.running.pop(number).wait(SECONDS)

    def text(self) -> str:
        noted = self.folder / "ranks"
        return noted.read_text() if noted.exists() else ""

    def wait_for_ranks(self, number: int) -> None:
        """Until so many have come together, over all attempts."""
        until = time.monotonic() + SECONDS
        while len(self.text().splitlines()) < number:
            assert time.monotonic() < until, self.said()
            time.sleep(0.05)

    def said(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("pod*")))

    def finish(self) -> None:
        (self.folder / "finish").touch()


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Pods]:
    made = Pods(tmp_path)
    yield made
    for process in made.running.values():
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_lost_machine_is_waited_for_and_all_go_on_together(pods):
    pods.start(1)  # before the first one is there
    pods.start(0)
    pods.wait_for_ranks(2)
    pods.lose(1)
    pods.start(1)
    pods.wait_for_ranks(4)
    pods.running[1].terminate()  # as a node that is drained
    assert pods.ended(1) == STOPPED
    pods.start(1)
    pods.wait_for_ranks(6)
    pods.finish()
    assert (pods.ended(0), pods.ended(1)) == (0, 0), pods.said()
    # The first machine has rank 0 each time: it is the one whose metrics and log are looked at.
    assert sorted(re.findall(r"(\d of 2 in \d)", pods.text())) == ["0 of 2 in 0"] * 3 + ["1 of 2 in 1"] * 3


@pytest.mark.slow
def test_without_the_first_machine_the_others_end_and_ask_to_be_started_again(pods):
    pods.start(0)
    pods.start(1)
    pods.wait_for_ranks(2)
    pods.lose(0)
    assert pods.ended(1) == 3, pods.said()
    assert "node 1 of 2 does not find the others" in pods.said()
    pods.start(0)
    pods.start(1)
    pods.wait_for_ranks(4)
    pods.finish()
    assert (pods.ended(0), pods.ended(1)) == (0, 0), pods.said()


@pytest.mark.slow
def test_a_machine_that_waits_for_others_ends_when_it_is_told_to(pods):
    pods.start(1)
    until = time.monotonic() + SECONDS
    while "the first node: Connection refused" not in pods.said():
        assert time.monotonic() < until
        time.sleep(0.05)
    pods.running[1].terminate()
    assert pods.ended(1) == STOPPED


@pytest.mark.slow
@pytest.mark.parametrize("code", [1, 2])
def test_a_machine_by_itself_ends_with_the_code_of_its_rank(tmp_path, code):
    pods = Pods(tmp_path, num_nodes=1, ranks_each=2)
    (tmp_path / "fail").write_text(str(code))
    pods.start(0)
    assert pods.ended(0) == code, pods.said()
    assert len(pods.text().splitlines()) == 2  # one attempt
