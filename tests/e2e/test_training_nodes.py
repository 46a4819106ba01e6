"""The trainer on several nodes, each a process that runs what its image runs: the first makes the dataset, all train,
and a node that is lost is waited for.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gim.adapters.store_file import FileStore
from gim.datasets.manifest import dataset_ids
from gim.runtime.training_job import STOPPED
from gim.training.checkpoints.listing import stored_steps
from tests.e2e.commands import ROOT, environment
from tests.e2e.test_training_services import STEPS, tiny_recipe
from tests.labelled_clip import label_clip
from tests.unit.training.checkpoints.processes import free_port

pytestmark = [pytest.mark.slow, pytest.mark.shared]
SECONDS = 300.0


class Node:
    """One node's process; its log."""

    def __init__(self, folder: Path, number: int, port: int, **more: str) -> None:
        self._log = folder / f"node{number}.log"
        variables = {
            "PET_NNODES": "2",
            "PET_NPROC_PER_NODE": "1",
            "PET_NODE_RANK": str(number),
            "PET_MASTER_ADDR": "127.0.0.1",
            "PET_MASTER_PORT": str(port),
            "GIM_SERVICE__HTTP_PORT": "0",
            "GIM_RUN__THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "services/trainer/main.py")],
                stdout=log, stderr=log, env=environment(**variables, **more),
            )  # fmt: skip

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [line for line in self._log.read_text().splitlines() if line.startswith("{")]
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def wait_for(self, found: Callable[[], bool]) -> None:
        until = time.monotonic() + SECONDS
        while not found():
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, self._log.read_text()
            time.sleep(0.1)

    def ended(self) -> int:
        return self.process.wait(SECONDS)


def test_two_nodes_train_as_one_and_go_on_when_one_was_lost(tmp_path: Path, shared_data: Path) -> None:
    labelled = label_clip(tmp_path)
    settings = {"GIM_STORE": str(labelled.root), **tiny_recipe(shared_data, tmp_path)}
    port, nodes = free_port(), {}

    def start(number: int) -> None:
        nodes[number] = Node(tmp_path, number, port, **settings)

    try:
        start(0)
        start(1)
        first = nodes[0]
        first.wait_for(lambda: bool(first.events("progress")))
        nodes[1].process.send_signal(signal.SIGTERM)
        assert nodes[1].ended() == STOPPED
        first.wait_for(lambda: bool(first.events("run_stopped")))
        (stop,) = first.events("run_stopped")
        assert 0 < stop["step"] < STEPS
        with closing(FileStore(labelled.root, create=False)) as store:
            assert stored_steps(store, stop["run"])[-1] == stop["step"]  # nothing of what was done is lost

        start(1)
        assert (first.ended(), nodes[1].ended()) == (0, 0)
        assert [event["step"] for event in first.events("run_goes_on")] == [stop["step"]]
        assert not nodes[1].events("dataset_built")
        with closing(FileStore(labelled.root, create=False)) as store:
            assert stored_steps(store, stop["run"])[-1] == STEPS
            assert len(dataset_ids(store)) == 1
    finally:
        for node in nodes.values():
            node.process.kill()
