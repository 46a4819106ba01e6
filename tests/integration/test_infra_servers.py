"""Development servers, for real: brought up once, found again, taken down, and never another's."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import infra.minio
import infra.versitygw
from gim.adapters.liveness import ProcessIdentity, is_dead
from infra.answers import http_status
from infra.ports import choose_port
from infra.state import ROOT, read_json, read_state, write_json
from tests.servers import needs_tool

_PATIENT_SECONDS = 120.0


@pytest.fixture(autouse=True)
def tools_are_there():
    for name in ("minio", "mc", "versitygw"):
        needs_tool(name)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """A folder for the state of servers; they are stopped at the end."""
    yield tmp_path / "run"
    infra_command(tmp_path / "run", "down")


def infra_command(run: Path, *arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra", "--run", str(run), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300, **options)


def pid_of(run: Path, server: str) -> int | None:
    record = read_json(run / server / "process.json")
    if record is None or is_dead(ProcessIdentity(**record["process"])):
        return None
    return record["process"]["pid"]


def wait_until(condition) -> None:
    until = time.monotonic() + _PATIENT_SECONDS
    while not condition():
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.02)


def test_servers_are_brought_up_once_found_again_and_taken_down(run):
    assert infra_command(run, "status", "minio", "versitygw").returncode == 1
    done = infra_command(run, "up", "minio", "versitygw")
    assert done.returncode == 0, done.stderr
    states = {name: read_state(name, run) for name in ("minio", "versitygw")}
    assert http_status(f"{states['minio']['endpoint']}/minio/health/live") == 200
    assert http_status(states["versitygw"]["endpoint"]) == 403
    pids = {name: pid_of(run, name) for name in states}

    again = infra_command(run, "up", "minio", "versitygw")
    assert (again.returncode, again.stdout) == (0, "")
    assert {name: pid_of(run, name) for name in states} == pids
    shown = infra_command(run, "status", "minio", "versitygw")
    assert shown.returncode == 0
    assert f"pid {pids['minio']}" in shown.stdout
    assert infra_command(run, "status", "minio", "kafka").returncode == 1

    assert infra_command(run, "down", "minio").returncode == 0
    assert read_state("minio", run) is None
    assert pid_of(run, "minio") is None
    assert pid_of(run, "versitygw") == pids["versitygw"]
    back = infra_command(run, "up", "minio")
    assert back.returncode == 0, back.stderr
    assert read_state("minio", run) == states["minio"]  # the same address and passwords: the data are the same

    infra_command(run, "down", "--clean")
    assert [path.name for path in run.iterdir()] == ["locks"]


def test_callers_at_the_same_time_start_one_server(run):
    command = [sys.executable, "-m", "infra", "--run", str(run), "up", "versitygw"]
    callers = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [caller.communicate(timeout=300)[0] for caller in callers]
    assert [caller.returncode for caller in callers] == [0, 0, 0, 0]
    assert "".join(said).count("up at") == 1


def test_passwords_are_not_in_what_is_said_logged_or_listed(run):
    done = infra_command(run, "up", "minio", "versitygw")
    said = done.stdout + done.stderr + infra_command(run, "status", "minio", "versitygw").stdout
    for name in ("minio", "versitygw"):
        secret = read_state(name, run)["secret_key"]
        assert secret not in said
        assert secret not in (run / name / "log").read_text(errors="replace")
        assert secret.encode() not in Path(f"/proc/{pid_of(run, name)}/cmdline").read_bytes()
        assert {path.name for path in (run / name).iterdir() if path.is_file() and path.stat().st_mode & 0o077} <= {
            "log",
            "stays",
        }


def test_a_port_that_somebody_else_has_is_left_to_them(run, tmp_path):
    with infra.versitygw.start(tmp_path / "other") as other:
        write_json(run / "versitygw" / "process.json", record(os.getpid(), "long ago", other.ports))
        assert infra_command(run, "up", "versitygw").returncode == 0
        assert read_state("versitygw", run)["endpoint"] != other.endpoint
        assert other.is_ready


def record(pid: int, started: str, ports: dict[str, int]) -> dict:
    from gim.adapters.liveness import this_process

    return {"ports": ports, "process": {"host": this_process().host, "pid": pid, "started": started}}


def test_a_process_that_has_a_servers_old_number_is_not_touched(run):
    # Once a machine has been started again, any process may have the number in the record: here, one that sleeps.
    with subprocess.Popen(["sleep", "600"]) as innocent:
        write_json(run / "minio" / "process.json", record(innocent.pid, "1", {"s3": choose_port()}))
        write_json(run / "minio" / "state.json", {"endpoint": "http://127.0.0.1:1", "region": "", "access_key": ""})
        assert infra_command(run, "down", "minio").returncode == 0
        assert innocent.poll() is None
        write_json(run / "minio" / "process.json", record(innocent.pid, "1", {"s3": choose_port()}))
        assert infra_command(run, "up", "minio").returncode == 0
        assert innocent.poll() is None
        assert pid_of(run, "minio") not in (None, innocent.pid)
        innocent.kill()


def test_a_server_started_by_hand_counts_and_is_left_alone(run, tmp_path):
    with infra.minio.start(tmp_path / "by-hand") as server:
        write_json(run / "minio" / "state.json", server.state())
        assert infra_command(run, "up", "minio").stdout == ""
        assert "by hand" in infra_command(run, "status", "minio").stdout
        assert "left running" in infra_command(run, "down", "--clean", "minio").stdout
        assert server.is_ready
        assert read_state("minio", run) == server.state()


def test_what_a_program_needed_is_stopped_after_it_and_what_ran_before_goes_on(run):
    infra_command(run, "up", "versitygw")
    before = pid_of(run, "versitygw")
    code = "import json; from infra.state import read_state; print(json.dumps([read_state(n) for n in ('minio', 'versitygw')])); exit(7)"  # noqa: E501
    done = infra_command(run, "during", "minio", "versitygw", "--", sys.executable, "-c", code)
    assert done.returncode == 7, done.stderr
    minio, versitygw = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("[")))
    assert minio["secret_key"]
    assert versitygw == read_state("versitygw", run)
    assert pid_of(run, "minio") is None
    assert read_state("minio", run) is None
    assert pid_of(run, "versitygw") == before


def test_the_last_of_several_programs_stops_what_the_first_started(run, tmp_path):
    command = [sys.executable, "-m", "infra", "--run", str(run), "during", "versitygw", "--"]
    wait = "import sys; print('began', flush=True); sys.stdin.read()"
    with (
        subprocess.Popen(
            [*command, sys.executable, "-c", wait], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as first,
        subprocess.Popen(
            [*command, sys.executable, "-c", wait], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as second,
    ):
        for program in (first, second):
            assert any(line == "began\n" for line in program.stdout)
        first.communicate(timeout=120)
        assert pid_of(run, "versitygw") is not None
        second.communicate(timeout=120)
    assert pid_of(run, "versitygw") is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_program_that_is_ended_early_leaves_no_server_for_good(run, number):
    command = [sys.executable, "-m", "infra", "--run", str(run), "during", "versitygw", "--", "sleep", "600"]
    with subprocess.Popen(command, cwd=ROOT) as ended:
        wait_until(lambda: read_state("versitygw", run) is not None)
        children = Path(f"/proc/{ended.pid}/task/{ended.pid}/children")
        wait_until(lambda: any(_is_sleep(child) for child in children.read_text().split()))
        sleeping = next(int(child) for child in children.read_text().split() if _is_sleep(child))
        ended.send_signal(number)
    if number == signal.SIGKILL:  # nothing can be done at once, so the next one does
        assert pid_of(run, "versitygw") is not None
        os.kill(sleeping, signal.SIGKILL)
        infra_command(run, "down", "--unused", "versitygw")
    assert pid_of(run, "versitygw") is None
    assert not _is_sleep(str(sleeping))


def _is_sleep(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep\0")
    except OSError:
        return False


def test_a_server_that_is_killed_comes_back_with_its_data_and_address(own_minio):
    marker = own_minio.folder / "data" / "a-bucket"
    marker.mkdir()
    state = own_minio.state()
    own_minio.kill()
    assert own_minio.pid is None
    assert not own_minio.is_ready
    own_minio.restart()
    assert own_minio.state() == state
    assert marker.is_dir()


def test_a_server_that_is_paused_answers_nobody_until_it_goes_on(own_minio):
    own_minio.pause()
    assert http_status(f"{own_minio.endpoint}/minio/health/live", timeout_seconds=0.5) is None
    own_minio.resume()
    wait_until(lambda: own_minio.is_ready)


_OWNER = """
import sys
from pathlib import Path
import infra.versitygw
server = infra.versitygw.start(Path(sys.argv[1]))
print(server.pid, flush=True)
sys.stdin.read()
"""


def test_a_server_of_ones_own_dies_with_its_owner_however_that_ends(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(tmp_path / "own")], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        pid = int(owner.stdout.readline())
        assert pid_of(tmp_path, "own") == pid
        owner.kill()
    wait_until(lambda: pid_of(tmp_path, "own") is None)


def test_a_server_that_cannot_start_says_its_last_words(tmp_path):
    server = infra.minio.Minio(tmp_path / "minio", ports={"s3": choose_port()})
    write_json(tmp_path / "minio" / "credentials.json", {"access_key": "a", "secret_key": "b"})  # too short for it
    with pytest.raises(Exception, match=r"minio ended with code (?s:.*)length should be at least"):
        server.bring_up()


def test_unknown_names_are_refused_in_one_line(run):
    done = infra_command(run, "up", "redis")
    assert done.returncode == 1
    assert done.stderr == "error: unknown: redis; known: kafka, minio, versitygw, alertmanager, prometheus\n"


def test_what_failed_is_told_and_the_rest_is_brought_up(run):
    write_json(run / "minio" / "credentials.json", {"access_key": "a", "secret_key": "b"})  # too short for it
    done = infra_command(run, "up", "minio", "versitygw")
    assert done.returncode == 1
    assert done.stderr.startswith("error: minio: minio ended with code 1 at its start; the end of ")
    assert read_state("minio", run) is None
    assert read_state("versitygw", run) is not None
