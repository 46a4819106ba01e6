"""Runs in several processes, and runs that are killed: what they lose, and with what they go on."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from tests.unit.training.checkpoints.processes import INTERVAL, NUM_KILLS, NUM_STEPS


@pytest.fixture(scope="module")
def happened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happened, and under "said" what was printed: of all runs at once, since torch takes seconds to start."""
    command = [sys.executable, "-W", "error", "-m", "tests.unit.training.checkpoints.processes"]
    folder = tmp_path_factory.mktemp("processes")
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return {**json.loads(done.stdout), "said": done.stderr.splitlines()}


def losses_in(log: Sequence[str]) -> list[tuple[int, str]]:
    return [(int(line.split()[1]), line.split()[2]) for line in log if line.startswith("loss")]


def test_a_run_killed_ten_times_has_the_losses_of_one_that_is_not(happened):
    killed, reference = happened["killed"], happened["reference"]
    assert killed["codes"] == [-9] * NUM_KILLS + [0]
    found = losses_in(killed["log"])
    assert {step for step, _ in found} == set(range(NUM_STEPS))
    assert all(loss == reference[step] for step, loss in found)  # in every bit
    assert len(found) > NUM_STEPS  # some were computed twice


def test_a_kill_loses_no_more_than_the_interval_on_its_way(happened):
    newest_saved = last_step = 0
    starts = []
    for line in happened["killed"]["log"]:
        word, step = line.split()[0], int(line.split()[1])
        if word == "start":
            starts.append(step)
            assert step % INTERVAL == 0
            assert step >= newest_saved
            newest_due = last_step // INTERVAL * INTERVAL
            assert step in (newest_due, newest_due - INTERVAL)  # the latter while the newest was being written
        last_step = step + 1 if word == "loss" else last_step
        newest_saved = step if word == "saved" else newest_saved
    assert len(starts) == NUM_KILLS + 1
    assert len(set(starts)) > 2


def test_a_run_that_is_told_to_stop_keeps_its_very_step(happened):
    stopped = happened["stopped"]
    starts = [int(line.split()[1]) for line in stopped["log"] if line.startswith("start")]
    assert stopped["codes"] == [0, 0]
    assert stopped["steps"][-1] == starts[1] > 0
    assert losses_in(stopped["log"]) == list(enumerate(happened["reference"][:20]))


def test_a_run_goes_on_in_another_number_of_processes(happened):
    ranks = happened["one and two"]
    assert ranks["codes"] == [0, 0, 0, 0, 0]
    assert ranks["positions"]["30"] == {f"lane {lane}": 10 * lane + 30 for lane in range(4)}
    first, second = (losses_in(log) for log in ranks["losses"])
    assert [step for step, _ in first] == list(range(30))
    assert second == [pair for pair in first if not 10 <= pair[0] < 20]
    for step, loss in first:
        # Lanes are added up in another order, so not in every bit.
        assert float.fromhex(loss) == pytest.approx(float.fromhex(happened["reference"][step]), rel=1e-5)


def test_processes_tell_each_other_what_they_have_to(happened):
    first, second = happened["talk"]["heard"]
    for heard in (first, second):
        assert heard["sum"] == [3.0, 1.0]
        assert heard["any"] == [True, False]
        assert heard["first"] == {"step": 10}
    assert (first["gather"], second["gather"]) == ([0, 1], None)
    assert happened["talk"]["codes"] == [0, 0]


def test_a_process_that_loses_another_ends_with_one_line(happened):
    for how in ("lost", "silent"):
        assert happened[how]["codes"] == [3, 9]
        assert happened[how]["seconds"] < 15
    lines = [line for line in happened["said"] if line.startswith("Unavailable: rank 0 of 2 has lost another one (")]
    assert len(lines) == 2
    assert all("restart goes on from the last checkpoint" in line for line in lines)
    assert len(happened["said"]) == 2
