"""`gim evaluate zeb` killed, interrupted, or spread over processes: no pair twice, and the same files in the end."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from gim.cli.main import run_command
from gim.evaluation import passes
from tests.integration import chunked_gim
from tests.zeb_folder import NUM_PAIRS, write_zeb

ROOT = Path(__file__).resolve().parents[2]
FOLDERS, SCENES = ("gl3d", "scenenet"), ("attic", "hall")
NUM_CHUNKS = len(SCENES) * NUM_PAIRS // chunked_gim.PAIRS  # of a dataset
ALL = 2 * NUM_CHUNKS * len(FOLDERS)  # objects of both passes


@pytest.fixture(autouse=True, scope="module")
def _small_chunks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "CHUNK", chunked_gim.PAIRS)
        yield


@pytest.fixture(scope="module")
def zeb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_zeb(tmp_path_factory.mktemp("zeb"), FOLDERS, scenes=SCENES)


@pytest.fixture(scope="module")
def undisturbed(zeb: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The result files of one run without any trouble."""
    place = tmp_path_factory.mktemp("undisturbed")
    assert run_command(words(zeb, place)) == 0
    return results(place)


def words(zeb: Path, place: Path, *more: str) -> list[str]:
    given = ["--store", str(place / "store"), "--out", str(place / "out"), "--set", "run.threads=1"]
    return ["evaluate", "zeb", str(zeb), *given, *more]


def command(zeb: Path, place: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", chunked_gim.__name__, *words(zeb, place, *more)]


def results(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (place / "out").iterdir()}


def kept(place: Path) -> dict[str, int]:
    """What the store holds of both passes, with the time at which it was written."""
    root = place / "store" / "predictions"
    return {str(path.relative_to(root)): path.stat().st_mtime_ns for path in root.rglob("*.npz")}


def caught_at(process: "subprocess.Popen[str]", place: Path, number: int) -> None:
    """Wait until so many objects are kept, or it is over."""
    until = time.monotonic() + 120
    while len(kept(place)) < number and process.poll() is None and time.monotonic() < until:
        time.sleep(0.002)


@pytest.fixture
def start(zeb: Path, tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []

    def begin(*more: str) -> "subprocess.Popen[str]":
        given = command(zeb, tmp_path, *more)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(given, cwd=ROOT, start_new_session=True, **pipes))  # type: ignore[call-overload]
        return started[-1]

    yield begin
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def children(process: "subprocess.Popen[str]") -> list[int]:
    """Its workers, the tracker of multiprocessing left out."""
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def goes_on(zeb: Path, place: Path, undisturbed: dict[str, bytes]) -> None:
    """Run it again to its end: what was kept stays untouched, and the files are those of an undisturbed run."""
    before = kept(place)
    assert 0 < len(before) < ALL, "it was over before it could be disturbed"
    assert run_command(words(zeb, place)) == 0
    after = kept(place)
    assert before.items() <= after.items()
    assert len(after) == ALL
    assert results(place) == undisturbed


def test_killed_at_any_point_it_goes_on_from_there(
    zeb: Path, tmp_path: Path, undisturbed: dict[str, bytes], start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    process = start()
    caught_at(process, tmp_path, random.randint(1, ALL // 2))
    process.kill()
    process.wait()
    goes_on(zeb, tmp_path, undisturbed)


def test_a_killed_worker_is_said_and_the_same_command_goes_on(
    zeb: Path, tmp_path: Path, undisturbed: dict[str, bytes], start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    process = start("--workers", "2")
    caught_at(process, tmp_path, random.randint(1, ALL // 4))
    workers = children(process)
    os.kill(random.choice(workers), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "error: a process of the evaluation was killed; the same command goes on from there" in said
    assert "Traceback" not in said
    assert gone(workers)
    goes_on(zeb, tmp_path, undisturbed)


@pytest.mark.slow
def test_workers_end_with_their_parent(
    zeb: Path, tmp_path: Path, undisturbed: dict[str, bytes], start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    process = start("--workers", "2")
    caught_at(process, tmp_path, 2)
    workers = children(process)
    process.kill()
    assert gone(workers)
    process.wait()
    goes_on(zeb, tmp_path, undisturbed)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_stops_soon_and_the_same_command_goes_on(
    zeb: Path,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
    start: Callable[..., "subprocess.Popen[str]"],
    workers: str,
) -> None:
    process = start("--workers", workers)
    caught_at(process, tmp_path, 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of its processes
    out, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.endswith("error: interrupted: the same command continues where this one stopped\n")
    assert "Traceback" not in said
    assert out == ""
    goes_on(zeb, tmp_path, undisturbed)


@pytest.mark.slow
def test_shards_of_several_processes_are_put_together(
    zeb: Path, tmp_path: Path, undisturbed: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    shares = [command(zeb, tmp_path, "--shard", f"{index}/3", "--json") for index in range(3)]
    running = [subprocess.Popen(share, cwd=ROOT, stdout=subprocess.PIPE, text=True) for share in shares]
    said = [json.loads(process.communicate(timeout=120)[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert said[0]["missing"] == said[1]["missing"]
    before = kept(tmp_path)
    assert len(before) == ALL
    capsys.readouterr()
    assert run_command(words(zeb, tmp_path, "--json")) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == len(FOLDERS) * len(SCENES) * NUM_PAIRS
    assert kept(tmp_path) == before
    assert results(tmp_path) == undisturbed


def gone(pids: Sequence[int]) -> bool:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if not any(_is_running(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def _is_running(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
