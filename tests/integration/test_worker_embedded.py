"""Whole runs on real processes: one or several, with bad input, deaths, absences and interruptions."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import pytest
from threadpoolctl import threadpool_info

from gim.adapters.store_file import FileStore
from gim.errors import ConfigError, UnknownMatcher
from gim.ports.store import Store
from gim.ports.telemetry import Telemetry
from gim.runtime.embedded import RunReport, run_embedded
from gim.runtime.journal import RunSnapshot
from gim.runtime.retry import RetryPolicy
from gim.stages.base import Stage
from tests.integration.pipeline import build, requests, video_id_of
from tests.small_disk import run_on_small_disk

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def root() -> Iterator[Path]:
    """An empty folder, in memory where the system has such a place: these tests are not about the disk."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def objects(root: Path, prefix: str = "") -> dict[str, bytes]:
    store = FileStore(root, create=False)
    found = {key: store.get(key) for key in store.list(prefix)}
    store.close()
    return found


def run(root: Path, *sources: str, jobs: int = 1, **more: object) -> RunReport:
    return run_embedded(requests(*sources), store_root=root, build_stages=build, jobs=jobs, **more)  # type: ignore[arg-type]


def workers_of(parent: int) -> list[int]:
    """Process ids of the workers that a process started."""
    children = [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return [pid for pid in children if b"worker_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.02)


@pytest.mark.parametrize("jobs", [1, 2])
def test_run_works_off_all_videos_and_says_what_failed(root: Path, jobs: int) -> None:
    sources = ["a:20", "b:3:bad", "c:4:bug", "d:15"]
    report = run(root / "store", *sources, jobs=jobs)
    assert not report.interrupted
    assert report.unavailable is None
    assert report.outcomes == {
        "split": {"done": 3, "dead": 1},
        "mark": {"done": 38, "dead": 1},
        "join": {"done": 38},
    }
    assert {(letter.subject, letter.error) for letter in report.dead_letters} == {
        ("b:3:bad", "InvalidInput"),
        (video_id_of("c:4:bug"), "ZeroDivisionError"),
    }
    assert [letter.message for letter in report.failures("b:3:bad")] == ["b:3:bad: not a video"]
    assert [letter.stage for letter in report.failures("c:4:bug")] == ["mark"]
    assert report.failures("a:20") == report.failures(video_id_of("a:20")) == []
    activity = report.videos[video_id_of("a:20")]
    assert activity.sources == ("a:20",)
    assert activity.messages == {"split": (1, 1), "mark": (20, 20), "join": (20, 20)}
    assert activity.counters["frames_sampled{kind=key}"] == 20
    assert set(activity.seconds) == {"split", "mark"}
    assert set(objects(root / "store", "joined/")) == {f"joined/{video_id_of(source)}" for source in ("a:20", "d:15")}


def test_run_is_repeated_in_no_time_and_changes_nothing(root: Path) -> None:
    run(root, "a:10")
    before = objects(root)
    report = run(root, "a:10")
    assert objects(root) == before
    assert report.outcomes["mark"] == {"done": 10}


def test_run_takes_up_nothing_of_an_earlier_one(root: Path) -> None:
    policy = RetryPolicy(first_pause_seconds=0.01, unavailable_seconds=0.05)
    assert run(root, "a:10:away", policy=policy).outcomes["mark"] == {"dead": 10}
    report = run(root, "b:2")
    assert set(report.videos) == {video_id_of("b:2")}
    assert report.dead_letters == ()


def test_deaths_and_absences_at_some_messages_leave_the_rest_alone(root: Path) -> None:
    policy = RetryPolicy(first_pause_seconds=0.01, unavailable_seconds=20)
    healthy = ["b:2:dieonce", "c:5:awayonce", "d:30"]
    report = run(root, "a:3:poison", *healthy, jobs=2, policy=policy)
    (letter,) = report.dead_letters
    assert (letter.subject, letter.stage, letter.error) == (video_id_of("a:3:poison"), "mark", "WorkerDied")
    assert "SIGSEGV" in letter.message
    assert report.failures("a:3:poison") == [letter]
    assert len(objects(root, f"marks/{video_id_of('a:3:poison')}")) == 2
    assert set(objects(root, "joined/")) == {f"joined/{video_id_of(source)}" for source in healthy}


def test_a_thousand_messages_survive_random_kills(root: Path) -> None:
    shaken, still = root / "shaken", root / "still"
    sources = [f"{letter}:100" for letter in "abcdefghij"]
    done, kills, dice = threading.Event(), list[int](), random.Random(7)

    def kill_now_and_then() -> None:
        while not done.wait(0.25) and len(kills) < 6:
            at_work = {int(path.name.split("-")[0]) for path in shaken.glob(".run/*/journals/*.jsonl")}
            victims = sorted(at_work & set(workers_of(os.getpid())))
            if victims:
                kills.append(dice.choice(victims))
                os.kill(kills[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill_now_and_then)
    killer.start()
    report = run(shaken, *sources, jobs=4)
    done.set()
    killer.join()
    assert len(kills) >= 2
    assert report.unavailable is None
    assert report.dead_letters == ()
    run(still, *sources)
    assert objects(shaken) == objects(still)
    assert len(objects(shaken, "marks/")) == 1000


def test_snapshots_tell_how_the_run_stands(root: Path) -> None:
    snapshots: list[RunSnapshot] = []
    report = run(root, "a:150", on_snapshot=snapshots.append)
    assert snapshots[-1].outcomes == report.outcomes
    assert snapshots[-1].videos == report.videos
    marked = [sum(snapshot.outcomes.get("mark", {}).values()) for snapshot in snapshots]
    assert marked == sorted(marked)


def test_nothing_to_do_is_done_at_once(root: Path) -> None:
    report = run(root)
    assert (report.videos, report.outcomes, report.dead_letters) == ({}, {}, ())


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"threads": 0}])
def test_no_job_and_no_thread_are_refused(root: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        run(root / "store", "a:1", **wrong)
    assert not (root / "store").exists()


def build_nothing(_store: Store, _telemetry: Telemetry, _executor: Executor, _threads: int) -> list[Stage]:
    raise UnknownMatcher("no matcher 'x'")


def build_and_die(_store: Store, _telemetry: Telemetry, _executor: Executor, _threads: int) -> list[Stage]:
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def build_with_a_bug(_store: Store, _telemetry: Telemetry, _executor: Executor, _threads: int) -> list[Stage]:
    raise ZeroDivisionError


@pytest.mark.parametrize("jobs", [1, 2])
def test_error_while_building_the_stages_is_raised_as_it_is(root: Path, jobs: int) -> None:
    with pytest.raises(UnknownMatcher, match="no matcher 'x'"):
        run_embedded(requests("a:1"), store_root=root, build_stages=build_nothing, jobs=jobs)


def test_bug_while_building_the_stages_is_raised_with_its_stack(root: Path) -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run_embedded(requests("a:1"), store_root=root, build_stages=build_with_a_bug, jobs=2)


def test_workers_that_die_before_any_work_end_the_run(root: Path) -> None:
    report = run_embedded(requests("a:1"), store_root=root, build_stages=build_and_die, jobs=2)
    assert "die before they take any work (SIGKILL)" in str(report.unavailable)


def count_threads(store: Store, _telemetry: Telemetry, _executor: Executor, threads: int) -> list[Stage]:
    class Count:
        name, topic, group, max_seconds = "count", "gim.ingest.v1", "count", 1.0

        def handle(self, _event: object) -> list[tuple[str, object]]:
            pools = [str(pool["num_threads"]) for pool in threadpool_info()]
            store.put("threads", " ".join([str(threads), str(cv2.getNumThreads()), *pools]).encode())
            return []

    return [Count()]  # type: ignore[list-item]


@pytest.mark.parametrize("jobs", [1, 2])
def test_libraries_use_one_thread_and_stages_know_theirs(root: Path, jobs: int) -> None:
    before = cv2.getNumThreads()
    run_embedded(requests("a:1"), store_root=root, build_stages=count_threads, jobs=jobs, threads=5)
    threads, *libraries = objects(root)["threads"].decode().split()
    assert threads == "5"
    assert set(libraries) == {"1"}
    assert cv2.getNumThreads() == before


def test_executor_ends_with_the_run(root: Path) -> None:
    given: list[Executor] = []

    def remember(store: Store, telemetry: Telemetry, executor: Executor, threads: int) -> list[Stage]:
        given.append(executor)
        return build(store, telemetry, executor, threads)

    run_embedded(requests("a:1"), store_root=root, build_stages=remember)
    with pytest.raises(RuntimeError, match="shutdown"):
        given[0].submit(int)


MAIN = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from gim.runtime.embedded import run_embedded
from tests.integration.pipeline import build, requests
store, jobs, *sources = sys.argv[1:]
report = run_embedded(requests(*sources), store_root=Path(store), build_stages=build, jobs=int(jobs))
print(report.outcomes)
sys.exit(130 if report.interrupted else 0)
"""


def start(store: Path, jobs: int, *sources: str) -> subprocess.Popen[str]:
    program = MAIN.format(root=str(ROOT))
    return subprocess.Popen(
        [sys.executable, "-c", program, str(store), str(jobs), *sources],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_stops_soon_and_the_same_command_goes_on(root: Path, jobs: int, number: signal.Signals) -> None:
    with start(root, jobs, "a:1:slowonce") as process:
        wait_for((root / "tried" / video_id_of("a:1:slowonce")).exists)
        started = time.monotonic()
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # to every process, as a terminal does
        else:
            process.send_signal(number)
        out, errors = process.communicate(timeout=30)
        assert time.monotonic() - started < 8.0
    assert process.returncode == 130, errors
    assert errors == ""
    assert "'split': {'done': 1}" in out
    assert objects(root, "marks/") == {}
    report = run(root, "a:1:slowonce")
    assert not report.interrupted
    assert len(objects(root, "joined/")) == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_run_leaves_no_process_and_the_same_command_goes_on(root: Path, jobs: int) -> None:
    killed, still = root / "killed", root / "still"
    with start(killed, jobs, "a:100", "b:100") as process:
        wait_for((killed / "marks" / video_id_of("b:100") / "00020").exists)
        workers = workers_of(process.pid)
        assert len(workers) == (jobs if jobs > 1 else 0)
        process.kill()
        process.communicate()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    run(killed, "a:100", "b:100", jobs=jobs)
    run(still, "a:100", "b:100")
    assert objects(killed) == objects(still)


def test_folder_that_is_no_store_is_refused(root: Path) -> None:
    (root / "thesis.tex").write_text("words")
    with pytest.raises(ConfigError, match="not a store"):
        run(root, "a:1")
    assert [path.name for path in root.iterdir()] == ["thesis.tex"]


def test_store_of_another_version_is_refused(root: Path) -> None:
    run(root)
    (root / "gim-store.json").write_text('{"format": 99}')
    with pytest.raises(ConfigError, match="format 99"):
        run(root, "a:1")


FILL = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from gim.runtime.embedded import run_embedded
from gim.runtime.retry import RetryPolicy
from tests.integration.pipeline import build, requests
policy = RetryPolicy(first_pause_seconds=0.01, longest_pause_seconds=0.1, unavailable_seconds=0.5)
report = run_embedded(
    requests("a:40:large"), store_root=Path({store!r}), build_stages=build, jobs={jobs}, policy=policy
)
letters = report.dead_letters
print({{letter.error for letter in letters}}, report.unavailable or letters[0].message)
print([path for path in Path({store!r}).rglob(".tmp/*/*")])
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_full_disk_ends_the_run_with_one_clear_line(root: Path, jobs: int) -> None:
    program = FILL.format(root=str(ROOT), store=str(root / "store"), jobs=jobs)
    done = run_on_small_disk(root, "3m", f'{sys.executable} -c "$1"', program, timeout=60)
    assert done.stderr == ""
    said, leftovers = done.stdout.splitlines()
    assert "the disk is full: free some space" in said
    assert said.startswith(("{'DiskFull'} ", "set() "))
    assert leftovers == "[]"
