import json
import shlex
import subprocess

import pytest

from gim.settings import Settings
from infra.environment import exports
from infra.errors import InfraError


def test_a_shell_that_reads_it_has_the_settings_and_no_secret_is_printed(tmp_path):
    states = {
        "kafka": {"bootstrap_servers": ["127.0.0.1:1", "127.0.0.1:2"]},
        "minio": {"endpoint": "http://127.0.0.1:3", "region": "r", "access_key": "me", "secret_key": "very secret"},
    }
    for name, state in states.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.json").write_text(json.dumps(state))
    lines = exports(tmp_path)
    assert "very secret" not in "\n".join(lines)

    shell = "\n".join([*lines, "env -0"])
    said = subprocess.run(
        ["bash", "-c", shell], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}
    )
    environ = dict(entry.split("=", 1) for entry in said.stdout.split("\0") if entry)
    settings = Settings.load(environ=environ)
    assert settings.kafka.bootstrap_servers == ("127.0.0.1:1", "127.0.0.1:2")
    assert (settings.store, settings.s3.endpoint, settings.s3.region) == ("s3://gim", "http://127.0.0.1:3", "r")
    secret = tmp_path / "minio" / "secret-key"
    assert settings.s3.secret_key_file == str(secret)
    assert secret.read_text() == "very secret\n"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert all(shlex.split(line)[0] == "export" for line in lines)


def test_servers_that_are_not_up_are_named_with_the_way_out(tmp_path):
    with pytest.raises(InfraError, match="make servers-up"):
        exports(tmp_path)
