"""What is written about servers: whole, private, and where it was asked for."""

import stat
import subprocess
import sys

from infra.server import credentials
from infra.state import ROOT, read_json, read_state, write_json


def test_nothing_is_known_of_a_server_that_never_ran(tmp_path):
    assert read_state("kafka", tmp_path) is None


def test_a_state_is_read_as_it_was_written_and_by_nobody_else(tmp_path):
    path = tmp_path / "minio" / "state.json"
    write_json(path, {"secret_key": "s"})
    write_json(path, {"secret_key": "t"})
    assert read_state("minio", tmp_path) == {"secret_key": "t"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_passwords_are_made_once_and_differ_between_servers(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first = credentials(tmp_path / "one")
    assert credentials(tmp_path / "one") == first
    assert credentials(tmp_path / "two")["secret_key"] != first["secret_key"]
    assert stat.S_IMODE((tmp_path / "one" / "credentials.json").stat().st_mode) == 0o600
    assert read_json(tmp_path / "one" / "credentials.json") == first


def test_the_environment_says_where_servers_are(tmp_path):
    code = "from infra.state import RUN, TOOLS; print(RUN, TOOLS)"
    environment = {"INFRA_RUN": str(tmp_path / "r"), "INFRA_TOOLS": str(tmp_path / "t")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(tmp_path / "r"), str(tmp_path / "t")]


def test_the_command_line_needs_nothing_that_would_have_to_be_installed():
    # -S: without site-packages, as a bare Python is.
    done = subprocess.run(
        [sys.executable, "-S", "-m", "infra", "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "during" in done.stdout
