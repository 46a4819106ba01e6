"""A secret that is set is never said again: not by what fails because of it, nor by what lists the settings."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gim.adapters.kafka.bus import KafkaBus
from gim.adapters.kafka.config import KafkaConfig
from gim.adapters.kafka.topics import ensure_topics
from gim.adapters.s3.config import S3Config
from gim.cli.main import run_command
from gim.settings import Settings
from gim.wire import topics
from gim.wire.v1 import events_pb2
from tests.architecture.tree import ROOT
from tests.integration.faulty_server import Page, serving
from tests.s3_buckets import bucket_on
from tests.servers import S3Server

SECRET = "hunter2-Zq7/+9xK="  # with what URLs and base64 spell in another way
NOBODY = "127.0.0.1:9"


@dataclass
class Said:
    """All that a process left behind."""

    code: int
    text: str
    folder: Path

    def assert_silent_on(self, *secrets: str) -> None:
        left = [self.text, *(path.read_bytes().decode("latin-1") for path in self.folder.rglob("*") if path.is_file())]
        for secret in secrets:
            assert not [text for text in left if secret in text]

    def assert_one_error(self) -> None:
        assert self.code in (2, 3), self.text
        assert "Traceback" not in self.text
        assert len([line for line in self.text.splitlines() if "error" in line.lower()]) == 1, self.text


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    path = tmp_path / "secrets" / "key"
    path.parent.mkdir()
    path.write_text(f"{SECRET}\n")
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "work"
    path.mkdir()
    return path


def environment_of(sets: Mapping[str, str], folder: Path) -> dict[str, str]:
    given = {f"GIM_{name.replace('.', '__').upper()}": value for name, value in sets.items()}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIM_")}
    return {**kept, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), **given}


def run_gim(folder: Path, sets: Mapping[str, str], *arguments: str) -> Said:
    command = [sys.executable, "-m", "gim", *arguments]
    environment = environment_of(sets, folder)
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    return Said(done.returncode, done.stdout + done.stderr, folder)


def run_service(name: str, folder: Path, sets: Mapping[str, str], *, until: str) -> Said:
    """What a service says from its start to its end, which is asked for as soon as it says `until`."""
    script = str(ROOT / "services" / name / "main.py")
    environment = environment_of({"service.http_port": "0", **sets}, folder)
    process = subprocess.Popen(
        [sys.executable, script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if until in line:
                process.terminate()
        process.wait(120)
    finally:
        process.kill()
        process.stdout.close()
    return Said(process.returncode, "".join(lines), folder)


def s3_sets(server: S3Server, bucket: str, secret_file: str, **changes: str) -> dict[str, str]:
    given = {
        "store": f"s3://{bucket}",
        "s3.endpoint": server.endpoint,
        "s3.access_key": server.access_key,
        "s3.secret_key_file": secret_file,
    }
    return given | {name.replace("__", "."): value for name, value in changes.items()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "the secret key is not that of the access key"),
        ({"s3__access_key": "nobody-here"}, "does not know this access key"),
        ({"s3__endpoint": f"http://{NOBODY}", "s3__max_attempts": "1"}, "connection failed"),
        ({"s3__endpoint": "http://u:hunter2-Zq7@h:1"}, "expected http://HOST:PORT"),
    ],
)
def test_a_store_that_cannot_be_used(
    minio_server: S3Server, unique: str, secret_file: str, folder: Path, changes: dict[str, str], message: str
) -> None:
    said = run_gim(folder, s3_sets(minio_server, unique, secret_file, **changes), "ls")

    said.assert_one_error()
    assert message in said.text
    said.assert_silent_on(SECRET, "hunter2")


def test_a_bucket_that_is_not_there(minio_server: S3Server, unique: str, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "key").write_text(minio_server.secret_key)

    said = run_gim(folder, s3_sets(minio_server, unique, str(tmp_path / "key")), "ls")

    said.assert_one_error()
    assert "no such bucket" in said.text
    said.assert_silent_on(minio_server.secret_key)


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_listed_settings_hide_secrets_and_name_their_files(
    secret_file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: tuple[str, ...]
) -> None:
    monkeypatch.setenv("GIM_S3__SECRET_KEY", SECRET)
    monkeypatch.setenv("GIM_S3__SECRET_KEY_FILE", secret_file)
    monkeypatch.setenv("GIM_S3__ENDPOINT", "http://user:hunter2-password@localhost:9000")
    monkeypatch.setenv("GIM_TELEMETRY__OTLP_ENDPOINT", "http://user:hunter2-token@collector:4317")

    assert run_command(["ls", "settings", *as_json]) == 0

    shown = "".join(capsys.readouterr())
    assert "s3.secret_key" in shown
    assert "***" in shown
    assert SECRET not in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    "path", ["s3.secret_kye", "s3.secret_key.value", "s4.secret_key", "kafka.sasl_password", "secret_key"]
)
def test_a_mistyped_setting_is_named_without_its_value(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["ls", "settings", "--set", f"{path}={SECRET}"]) == 2

    shown = "".join(capsys.readouterr())
    assert path in shown
    assert SECRET not in shown


def test_nothing_shows_a_secret_when_it_is_printed(secret_file: str) -> None:
    settings = replace(Settings(), s3=S3Config(secret_key=SECRET), kafka=KafkaConfig(sasl_password_file=secret_file))
    for shown in (repr(settings), str(settings), f"{settings.s3}", json.dumps(settings.redacted(), default=str)):
        assert SECRET not in shown


def test_a_service_whose_kafka_is_away(minio_server: S3Server, unique: str, secret_file: str, folder: Path) -> None:
    sets = s3_sets(minio_server, unique, secret_file) | {
        "kafka.bootstrap_servers": NOBODY,
        "kafka.security_protocol": "SASL_PLAINTEXT",
        "kafka.sasl_username": "gim-propagator",
        "kafka.sasl_password_file": secret_file,
        "kafka.request_timeout_seconds": "2",
    }

    said = run_service("propagator", folder, sets, until='"waiting"')

    assert said.code == 0
    assert "kafka.bootstrap_servers" in said.text  # it does say what it was set to
    said.assert_silent_on(SECRET)


def test_a_service_whose_store_refuses_it(
    kafka_servers: tuple[str, ...], minio_server: S3Server, unique: str, secret_file: str, folder: Path
) -> None:
    sets = s3_sets(minio_server, unique, secret_file) | {
        "kafka.bootstrap_servers": ",".join(kafka_servers),
        "kafka.prefix": unique,
    }

    said = run_service("matcher", folder, sets, until="never")

    assert said.code == 2
    assert "the secret key is not that of the access key" in said.text
    said.assert_silent_on(SECRET)


@pytest.fixture
def kafka(kafka_servers: tuple[str, ...], unique: str) -> Iterator[KafkaConfig]:
    config = KafkaConfig(bootstrap_servers=kafka_servers, prefix=f"{unique}.", partitions=1, replication_factor=1)
    ensure_topics(config, topics.ALL)
    yield config
    from kafka import KafkaAdminClient

    admin = KafkaAdminClient(bootstrap_servers=list(kafka_servers))
    admin.delete_topics([name for name in admin.list_topics() if name.startswith(config.prefix)])
    admin.close()


def test_a_signed_url_that_fails(kafka: KafkaConfig, minio_server: S3Server, folder: Path) -> None:
    """What opens a URL is in its query: its dead letter and the log say which URL, and not that."""
    token = uuid.uuid4().hex
    secret_key = minio_server.secret_key
    key = folder.parent / "key"
    key.write_text(secret_key)
    with serving() as server, bucket_on(minio_server) as bucket, closing(KafkaBus(kafka, client_id="test")) as bus:
        path = f"/clip.mp4?X-Amz-Signature={token}"
        server.pages[path] = Page(answers=[(403, {})] * 9)
        event = events_pb2.VideoRequested(source=server.url(path))
        bus.publish(topics.INGEST, "key", event.SerializeToString())
        bus.flush()
        sets = s3_sets(minio_server, bucket, str(key)) | {
            "kafka.bootstrap_servers": ",".join(kafka.bootstrap_servers),
            "kafka.prefix": kafka.prefix,
            "source.allow_private_addresses": "true",
            "source.allow_unknown_licence": "true",
        }

        said = run_service("downloader", folder, sets, until="message_dead")

        (letter,) = list(bus.read(topics.INGEST + topics.DEAD_SUFFIX))
    assert said.code == 0, said.text
    assert "the server answered 403" in said.text
    assert "/clip.mp4" in said.text
    said.assert_silent_on(token, secret_key)
    assert token not in json.dumps(dict(letter.headers))
    assert len(server.requests) == 1
