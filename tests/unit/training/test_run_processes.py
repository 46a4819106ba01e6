"""Whole runs that are killed, told to stop, or shared by several processes have the losses of an undisturbed one."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training.run_processes import INTERVAL, NUM_KILLS, NUM_RANKED, NUM_STEPS


def what_happened(kind: str, folder: Path) -> dict[str, Any]:
    """In all runs of a kind: one process for all, since torch takes seconds to start."""
    command = [sys.executable, "-W", "error", "-m", "tests.unit.training.run_processes", str(folder), kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return what_happened("interrupted", tmp_path_factory.mktemp("interrupted"))


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return what_happened("ranked", tmp_path_factory.mktemp("ranked"))


def numbers_in(log: Sequence[str], word: str) -> list[tuple[int, float]]:
    """(step, number) of the lines of a kind."""
    return [(int(line.split()[1]), float.fromhex(line.split()[2])) for line in log if line.startswith(word)]


def points_in(log: Sequence[str]) -> dict[int, dict[str, float]]:
    """Points of the training's curves by step."""
    return {int(line.split()[1]): json.loads(line.split(maxsplit=2)[2]) for line in log if line.startswith("point")}


@pytest.mark.slow
def test_a_run_killed_at_ten_random_moments_has_the_losses_of_one_that_is_not(interrupted):
    reference = dict(numbers_in(interrupted["reference"]["log"], "loss"))
    killed = interrupted["killed"]
    assert killed["codes"] == [-9] * NUM_KILLS + [0]
    found = numbers_in(killed["log"], "loss")
    assert {step for step, _ in found} == set(range(1, NUM_STEPS + 1))
    assert all(loss == reference[step] for step, loss in found)  # in every bit; asked for: 1e-6
    assert len(found) > NUM_STEPS  # some were computed twice


@pytest.mark.slow
def test_a_kill_loses_one_interval_and_what_is_still_being_written(interrupted):
    newest_saved = last_step = 0
    starts, is_started = [], False
    for line in interrupted["killed"]["log"]:
        word, *rest = line.split()
        if word == "loss" and is_started:
            starts.append(begun := int(rest[0]) - 1)
            newest_due = last_step // INTERVAL * INTERVAL
            assert begun in (newest_due, newest_due - INTERVAL)  # the latter while the newest was being written
            assert begun >= newest_saved
        is_started = word == "start"
        last_step = int(rest[0]) if word == "loss" else last_step
        newest_saved = int(rest[0]) if word == "saved" else newest_saved
    assert len(starts) == NUM_KILLS + 1
    assert len(set(starts)) > 2


@pytest.mark.slow
def test_a_run_that_is_told_to_stop_keeps_its_very_step(interrupted):
    stopped = interrupted["stopped"]
    assert stopped["codes"] == [0, 0]
    assert [line for line in stopped["log"] if line.startswith("end")] == ["end stopped", "end finished"]
    found = numbers_in(stopped["log"], "loss")
    assert found == numbers_in(interrupted["reference"]["log"], "loss")  # no step twice
    second_start = len(stopped["log"]) - stopped["log"][::-1].index("start") - 1
    assert stopped["steps"][-1] == len(numbers_in(stopped["log"][:second_start], "loss")) < NUM_STEPS


@pytest.mark.parametrize("by", ["two", "two, one, two"])
def test_two_processes_equal_one_with_accumulation(ranked, by):
    one, other = ranked["one"], ranked[by]
    assert set(other["codes"]) == {0}
    assert [len(set(line.split()[3].split(","))) for line in one["logs"][0] if "loss" in line].count(2) > 3  # mixed
    losses = dict(numbers_in(one["logs"][0], "loss"))
    of_ranks = [dict(numbers_in(log, "loss")) for log in other["logs"]]
    for step, loss in losses.items():
        found = [of_rank[step] for of_rank in of_ranks if step in of_rank]
        assert sum(found) / len(found) == pytest.approx(loss, abs=1e-5)
    assert len(losses) == NUM_RANKED
    for name, values in one["weights"].items():
        assert other["weights"][name] == pytest.approx(values, abs=1e-5), name


@pytest.mark.parametrize("by", ["two", "two, one, two"])
def test_the_curves_of_two_processes_are_those_of_one(ranked, by):
    one, found = (points_in(ranked[who]["logs"][0]) for who in ("one", by))
    assert list(one) == list(found) == [3, 6, NUM_RANKED]
    assert {"video/labels", "homography/dense", "gradient_norm", "lr"} < one[3].keys()
    for step, values in one.items():
        assert found[step].keys() == values.keys()
        for name in values.keys() - {"pairs_per_second", "data_wait_share"}:
            assert found[step][name] == pytest.approx(values[name], abs=1e-5), name


@pytest.mark.parametrize("by", ["two", "two, one, two"])
def test_any_number_of_processes_validates_on_the_same_pairs(ranked, by):
    one = numbers_in(ranked["one"]["logs"][0], "validated")
    assert [step for step, _ in one] == [5, NUM_RANKED]
    found = numbers_in(ranked[by]["logs"][0], "validated")
    assert [step for step, _ in found] == [5, NUM_RANKED]
    assert [loss for _, loss in found] == pytest.approx([loss for _, loss in one], abs=1e-5)


@pytest.mark.slow
def test_running_statistics_of_two_processes_do_not_show_where_the_run_was_stopped(tmp_path):
    whole, stopped = what_happened("statistics", tmp_path).values()
    assert set(whole["codes"] + stopped["codes"]) == {0}
    assert {"own.trunk.1.running_mean", "own.trunk.1.running_var"} < whole["weights"].keys()
    for name, values in whole["weights"].items():
        assert stopped["weights"][name] == pytest.approx(values, abs=1e-6), name
    validated = [numbers_in(happened["logs"][0], "validated") for happened in (whole, stopped)]
    assert validated[1] == [(step, pytest.approx(loss, abs=1e-6)) for step, loss in validated[0]]
