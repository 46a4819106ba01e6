"""One service process by itself: what it says and how it ends when what it needs is wrong or away. No server needed."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.cluster import ServiceProcess, wait_for
from tests.e2e.commands import ROOT, environment

SERVICES = ("downloader", "matcher", "propagator", "evaluator")


def command(name: str) -> list[str]:
    return [sys.executable, str(ROOT / "services" / name / "main.py")]


def run_service(name: str, *arguments: str, **sets: str) -> tuple[int, list[dict[str, object]]]:
    done = subprocess.run(
        [*command(name), *arguments],
        capture_output=True, text=True, check=False, timeout=120,
        env=environment(GIM_SERVICE__HTTP_PORT="0", GIM_SERVICE__HTTP_HOST="127.0.0.1", **sets),
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", [*SERVICES, "trainer"])
def test_a_wrong_setting_is_one_line_and_exit_code_2(name: str) -> None:
    code, lines = run_service(name, GIM_KAFKA__BOOTSTRAP="localhost:1")
    assert code == 2
    (line,) = lines
    assert (line["event"], line["service"], line["error"]) == ("service_stopped", name, "ConfigError")
    assert "GIM_KAFKA__BOOTSTRAP" in str(line["message"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_without_kafka_says_which_setting_names_it(name: str, tmp_path: Path) -> None:
    code, lines = run_service(name, "--set", f"store={tmp_path / 'store'}")
    assert code == 2
    assert "GIM_KAFKA__BOOTSTRAP_SERVERS" in str(lines[-1]["message"])


def test_a_secret_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    code, lines = run_service("downloader", GIM_KAFKA__SASL_PASSWORD_FILE=str(tmp_path / "absent"))
    assert code == 2
    assert str(tmp_path / "absent") in str(lines[-1]["message"])


def test_settings_come_from_a_file_and_the_environment_is_stronger(tmp_path: Path) -> None:
    (tmp_path / "gim.toml").write_text('store = "s3://from-the-file"\n[kafka]\nprefix = "weak."\n', encoding="utf-8")
    _, lines = run_service(
        "propagator", "--config", str(tmp_path / "gim.toml"), GIM_KAFKA__PREFIX="strong.", GIM_S3__ENDPOINT="http://x"
    )
    settings = lines[0]["settings"]
    assert isinstance(settings, dict)
    assert (settings["store"], settings["kafka.prefix"]) == ("s3://from-the-file", "strong.")


def test_a_service_whose_broker_is_away_lives_is_not_ready_says_so_and_ends_when_told(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        broker = f"127.0.0.1:{taken.getsockname()[1]}"
        log = tmp_path / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                command("propagator"),
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment(
                    GIM_STORE=str(tmp_path / "store"),
                    GIM_KAFKA__BOOTSTRAP_SERVERS=broker,
                    GIM_KAFKA__REQUEST_TIMEOUT_SECONDS="2",
                    GIM_SERVICE__HTTP_PORT="0",
                    GIM_SERVICE__HTTP_HOST="127.0.0.1",
                ),
            )
        service = ServiceProcess("propagator", process, log)
        try:
            (waiting, *_) = wait_for(lambda: service.events("waiting"), "word of the absent broker")
            assert broker in waiting["message"]
            assert service.ask("/healthz")[0] == 200
            status, why = service.ask("/readyz")
            assert status == 503
            assert broker in why
            assert service.kill(signal.SIGTERM) == 0
            assert service.lines()[-1]["event"] == "service_ended"
        finally:
            process.kill()
            process.wait()


_IMPORTED = """
import runpy, sys
sys.argv = ["main.py"]
runpy.run_path({path!r}, run_name="imported")
print(" ".join(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


@pytest.mark.parametrize("name", ["downloader", "propagator"])
def test_a_service_without_networks_imports_no_torch(name: str) -> None:
    program = _IMPORTED.format(path=str(ROOT / "services" / name / "main.py"))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment()
    )
    assert not {"torch", "kornia", "torchvision"} & set(done.stdout.split())
