"""What the Kafka client is given of the settings, and what becomes of its errors; no broker."""

import logging
import ssl
from pathlib import Path

import pytest
from kafka import errors as kafka_errors
from kafka.record import util

from gim.adapters.kafka.client import client_arguments, translated
from gim.adapters.kafka.config import KafkaConfig
from gim.errors import ConfigError, InvalidInput, Unavailable

HERE = KafkaConfig(bootstrap_servers=("here:9092", "there:9092"))


def test_checksums_are_computed_by_native_code() -> None:
    import crc32c

    assert util.calc_crc32c.__defaults__ == (crc32c.crc32c,)  # in Python it takes up to a hundred times as long
    assert util.calc_crc32c(memoryview(b"123456789")) == 0xE3069283


def test_no_servers_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"set kafka\.bootstrap_servers"):
        client_arguments(KafkaConfig(), "x")


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text("wal-nut 7\nsomething else\n", encoding="utf-8")
    return file


def sasl(file: Path | str, username: str = "alice") -> KafkaConfig:
    return KafkaConfig(
        bootstrap_servers=("here:9092",),
        security_protocol="SASL_PLAINTEXT",
        sasl_username=username,
        sasl_password_file=str(file),
    )


def test_password_is_the_first_line_of_its_file_and_does_not_show_itself(password_file: Path) -> None:
    arguments = client_arguments(sasl(password_file), "x")
    assert arguments["sasl_plain_password"] == "wal-nut 7"
    assert arguments["sasl_plain_password"].encode() == b"wal-nut 7"
    assert "wal-nut" not in repr(arguments)
    assert "wal-nut" not in f"{arguments}"
    assert arguments["sasl_plain_username"] == "alice"


def test_the_bytes_of_a_login_are_not_logged_at_any_level(password_file: Path) -> None:
    client_arguments(sasl(password_file), "x")
    for name in ("kafka.net.connection", "kafka.protocol.parser"):
        assert not logging.getLogger(name).isEnabledFor(logging.DEBUG)


@pytest.mark.parametrize(("content", "username"), [(None, "alice"), ("", "alice"), ("\nx", "alice"), ("x", "")])
def test_password_that_is_not_there_is_refused(tmp_path: Path, content: str | None, username: str) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="sasl_password_file") as raised:
        client_arguments(sasl(file, username), "x")
    assert "\n" not in str(raised.value)


def test_certificates_are_read_from_files_and_their_faults_named(tmp_path: Path) -> None:
    base = {"bootstrap_servers": ("here:9092",), "security_protocol": "SSL"}
    context = client_arguments(KafkaConfig(**base), "x")["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    (tmp_path / "no.pem").write_text("no certificate", encoding="utf-8")
    for file in ("missing.pem", "no.pem"):
        for setting in ("ca_file", "cert_file"):
            with pytest.raises(ConfigError, match=rf"kafka\.{setting}.*{file}") as raised:
                client_arguments(KafkaConfig(**base, **{setting: str(tmp_path / file)}), "x")
            assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (kafka_errors.KafkaTimeoutError("Unable to bootstrap\nmore"), Unavailable),
        (kafka_errors.NodeNotReadyError("1"), Unavailable),
        (kafka_errors.NotEnoughReplicasError(), Unavailable),
        (kafka_errors.SaslAuthenticationFailedError("no"), ConfigError),
        (kafka_errors.TopicAuthorizationFailedError({"t"}), ConfigError),
        (kafka_errors.MessageSizeTooLargeError("big"), InvalidInput),
    ],
)
def test_errors_become_ours_in_one_line_that_names_the_servers(error: Exception, kind: type[Exception]) -> None:
    problem = translated(error, HERE)
    assert type(problem) is kind
    assert "here:9092,there:9092" in str(problem)
    assert type(error).__name__ in str(problem) or str(error.description) in str(problem)
    assert "\n" not in str(problem)
