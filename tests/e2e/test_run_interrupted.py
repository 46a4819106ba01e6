"""`gim run` killed, interrupted and repeated on one rendered clip: the bytes are always those of an undisturbed run."""

import json
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.commands import error_lines, kill_after, leftovers, objects_of, run_gim, start_gim, wait_until
from tests.synthetic import small_clip

pytestmark = pytest.mark.slow

NUM_KILLS = 20
# Several segments and shards, so that there are moments between them.
SETS = ("--set", "sampling.segment_samples=6", "--set", "propagation.shard_pairs=4")


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody disturbs, to compare with."""

    clip: Path
    objects: dict[str, bytes]
    seconds: float

    def command(self, store: Path, *more: str) -> list[str]:
        return ["run", str(self.clip), "--store", str(store), "--quiet", *SETS, *more]

    def assert_equal(self, store: Path) -> None:
        found = objects_of(store)
        assert found.keys() == self.objects.keys()
        assert [key for key in found if found[key] != self.objects[key]] == []
        assert leftovers(store) == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    small_clip(folder / "clip.mp4", kind="terrain", duration_seconds=4.0, still_seconds=1.0, size=(320, 180), fps=10)
    started = time.monotonic()
    done = run_gim("run", folder / "clip.mp4", "--store", folder / "store", "--quiet", *SETS)
    seconds = time.monotonic() - started
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    objects = objects_of(folder / "store")
    assert sum(key.endswith(".tar") for key in objects) >= 3
    assert sum(key.startswith("labels/") for key in objects) >= 3
    return Undisturbed(folder / "clip.mp4", objects, seconds)


def test_killed_at_random_moments_and_started_again_the_run_leaves_the_same_bytes(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    dice = random.Random(2402)
    num_killed, num_half_done, expected_seconds = 0, 0, undisturbed.seconds
    for attempt in range(3 * NUM_KILLS):
        store, jobs = tmp_path / f"store-{attempt}", str(1 + attempt % 2)
        moment = dice.uniform(0.15, 1.05) * expected_seconds
        process = start_gim(*undisturbed.command(store, "--jobs", jobs))
        if kill_after(process, moment):
            num_killed += 1
            num_half_done += store.exists() and 0 < len(objects_of(store)) < len(undisturbed.objects)
        else:  # it was done: the machine is quicker now than it was for the undisturbed run
            expected_seconds = min(expected_seconds, moment)
        done = run_gim(*undisturbed.command(store, "--jobs", jobs))
        assert (done.returncode, done.stderr) == (0, ""), f"killed after {moment:.2f} s"
        undisturbed.assert_equal(store)
        if num_killed == NUM_KILLS:
            break
    assert num_killed == NUM_KILLS
    assert num_half_done > NUM_KILLS // 4


def test_killed_again_and_again_on_one_store_the_run_ends_with_the_same_bytes(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    dice, store = random.Random(11095), tmp_path / "store"
    for _ in range(6):
        kill_after(start_gim(*undisturbed.command(store)), dice.uniform(0.3, 0.9) * undisturbed.seconds)
    assert run_gim(*undisturbed.command(store)).returncode == 0
    undisturbed.assert_equal(store)


@pytest.mark.parametrize(
    "flags", [("--threads", "1"), ("--threads", "2"), ("--jobs", "2"), ("--jobs", "2", "--threads", "2")]
)
def test_threads_and_processes_change_no_byte(undisturbed: Undisturbed, tmp_path: Path, flags: tuple[str, ...]) -> None:
    done = run_gim(*undisturbed.command(tmp_path / "store", *flags))
    assert (done.returncode, done.stderr) == (0, "")
    undisturbed.assert_equal(tmp_path / "store")


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("until", ["frames", "labels"])
def test_ctrl_c_ends_with_130_and_the_same_command_completes(
    undisturbed: Undisturbed, tmp_path: Path, jobs: str, until: str
) -> None:
    store = tmp_path / "store"
    with start_gim(*undisturbed.command(store, "--jobs", jobs)) as process:
        wait_until(lambda: any((store / until).rglob("*")) if (store / until).is_dir() else False)
        started = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # to every process, as a terminal does
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert time.monotonic() - started < 15.0
    assert out == ""
    assert any("the same command continues" in line for line in error_lines(errors))
    assert leftovers(store) == []
    done = run_gim(*undisturbed.command(store, "--jobs", jobs, "--json"))
    assert done.returncode == 0
    undisturbed.assert_equal(store)


def test_the_same_command_again_does_nothing_and_says_the_same(undisturbed: Undisturbed, tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = [part for part in undisturbed.command(store, "--json") if part != "--quiet"]
    first, again = (json.loads(run_gim(*command).stdout)["videos"][0] for _ in range(2))
    steps = first.pop("seconds"), again.pop("seconds")
    assert first == again
    assert "matching" in steps[0]
    assert not {"decode", "features", "matching", "fitting", "shards"} & set(steps[1])
    undisturbed.assert_equal(store)
