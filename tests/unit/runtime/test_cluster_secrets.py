"""Secrets of a cluster: made where they are missing, never changed, never shown."""

import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from gim.adapters.certificates import issue_certificate, make_authority
from gim.cli.main import run_command
from gim.errors import ConfigError, CorruptObject, KeyMissing, Unavailable
from gim.runtime.cluster_secrets import make_certificates, make_secrets, open_secrets
from infra.ports import choose_port
from tests.secrets_server import NAMESPACE, SecretsServer, secrets_server


@pytest.fixture
def server(tmp_path):
    with secrets_server(tmp_path) as running:
        yield running


@pytest.fixture
def api(server):
    return open_secrets(server.environ, server.account)[0]


def made(outcomes) -> dict[str, bool]:
    return {outcome.name: outcome.is_made for outcome in outcomes}


def test_what_is_missing_is_made_with_random_values_and_what_is_there_stays(server: SecretsServer, api) -> None:
    assert made(make_secrets(api, ["s3-matcher"], ["grafana-admin"])) == {"s3-matcher": True, "grafana-admin": True}
    first = {name: server.values(name) for name in server.secrets}
    assert first["s3-matcher"]["access-key"] == "s3-matcher"
    assert len(first["s3-matcher"]["secret-key"]) == 40
    assert first["grafana-admin"]["user"] == "admin"
    assert first["grafana-admin"]["password"] != first["s3-matcher"]["secret-key"]
    assert server.secrets["s3-matcher"]["metadata"]["labels"]["app.kubernetes.io/part-of"] == "gim"

    again = made(make_secrets(api, ["s3-matcher", "s3-trainer"], ["grafana-admin"]))
    assert again == {"s3-matcher": False, "s3-trainer": True, "grafana-admin": False}
    assert {name: server.values(name) for name in first} == first


def test_of_two_pods_at_once_the_first_makes_each_secret(server: SecretsServer) -> None:
    names, start = [f"s3-{number}" for number in range(8)], threading.Barrier(2)

    def pod() -> dict[str, bool]:
        api, _ = open_secrets(server.environ, server.account)
        start.wait()
        return made(make_secrets(api, names, []))

    with ThreadPoolExecutor(2) as pool:
        one, other = (future.result() for future in [pool.submit(pod) for _ in range(2)])
    assert all(one[name] is not other[name] for name in names)
    assert sorted(server.secrets) == names


def test_the_command_says_one_line_of_each_and_no_value(server: SecretsServer, monkeypatch, capsys) -> None:
    inside = partial(open_secrets, server.environ, server.account)
    monkeypatch.setattr("gim.runtime.cluster_secrets.open_secrets", inside)
    words = ["cluster", "secrets", "--keys", "minio-root", "--keys", "s3-matcher", "--login", "grafana-admin"]
    assert run_command(words) == 0
    assert run_command(words) == 0
    assert run_command(["cluster", "certificates", "kafka=kafka"]) == 0
    said = capsys.readouterr()
    names = ["minio-root", "s3-matcher", "grafana-admin"]
    told = [f"{what}: Secret {name}" for what in ("made", "there already") for name in names]
    assert said.out.splitlines() == [*told, "made: Secret tls-authority", "made: Secret tls-kafka"]
    kept = {value for name in server.secrets for value in server.values(name).values()} - {*names, "admin"}
    assert len(kept) == 3 + 2 + 3
    assert not any(line in said.out + said.err for value in kept for line in value.splitlines())


@pytest.mark.parametrize(
    ("status", "reason", "error", "message"),
    [
        (403, "Forbidden", ConfigError, "may not make Secret s3-matcher: no right"),
        (401, "Unauthorized", ConfigError, "does not know the pod's service account"),
        (422, "Invalid", ConfigError, "could not make Secret s3-matcher: Invalid"),
        (409, "Conflict", ConfigError, "could not make Secret s3-matcher: Conflict"),
        (429, "TooManyRequests", Unavailable, "refuses for now"),
        (503, "", Unavailable, r"refuses for now \(HTTP 503\)"),
    ],
)
def test_a_refusal_is_one_line_without_values(server: SecretsServer, api, status, reason, error, message) -> None:
    server.answer = status, {"reason": reason, "message": "no right"}
    with pytest.raises(error, match=message) as raised:
        made(make_secrets(api, ["s3-matcher"], []))
    assert "\n" not in str(raised.value)
    assert not server.secrets


def test_an_api_that_is_away_is_unavailable(server: SecretsServer) -> None:
    elsewhere = {**server.environ, "KUBERNETES_SERVICE_PORT": str(choose_port())}
    api, _ = open_secrets(elsewhere, server.account)
    with pytest.raises(Unavailable, match="the connection failed"):
        made(make_secrets(api, ["s3-matcher"], []))


def test_another_authority_is_not_trusted(server: SecretsServer) -> None:
    (server.account / "ca.crt").write_text(make_authority().certificate)
    api, _ = open_secrets(server.environ, server.account)
    with pytest.raises(ConfigError, match=r"its certificate is not of .*ca\.crt"):
        made(make_secrets(api, ["s3-matcher"], []))
    assert not server.secrets


def test_a_process_that_is_no_pod_is_told_so(server: SecretsServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no pod of a cluster"):
        open_secrets({}, server.account)
    with pytest.raises(ConfigError, match="automountServiceAccountToken: true"):
        open_secrets(server.environ, tmp_path / "nothing")
    (server.account / "ca.crt").write_text("none")
    with pytest.raises(ConfigError, match=r"ca\.crt: .*expected certificates as PEM"):
        open_secrets(server.environ, server.account)


def test_certificates_are_made_once_by_one_authority(server: SecretsServer, api) -> None:
    wanted = ["kafka=kafka,kafka-0.kafka-headless,localhost", "matcher"]
    assert made(make_certificates(api, NAMESPACE, wanted)) == {
        "tls-authority": True,
        "tls-kafka": True,
        "tls-matcher": True,
    }
    first = {name: server.values(name) for name in server.secrets}
    assert first["tls-kafka"]["ca.crt"] == first["tls-authority"]["tls.crt"]
    assert first["tls-kafka"]["tls-combined.pem"] == first["tls-kafka"]["tls.key"] + first["tls-kafka"]["tls.crt"]
    assert {secret["type"] for secret in server.secrets.values()} == {"kubernetes.io/tls"}

    again = made(make_certificates(api, NAMESPACE, [*wanted, "trainer"]))
    assert [name for name, is_made in again.items() if is_made] == ["tls-trainer"]
    assert {name: server.values(name) for name in first} == first
    assert server.values("tls-trainer")["ca.crt"] == first["tls-kafka"]["ca.crt"]


def test_an_authority_of_ones_own_signs(server: SecretsServer, api) -> None:
    own = make_authority()
    server.secrets["tls-authority"] = {"stringData": {"tls.crt": own.certificate, "tls.key": own.key}}
    assert made(make_certificates(api, NAMESPACE, ["minio=minio"])) == {"tls-authority": False, "tls-minio": True}
    assert server.values("tls-minio")["ca.crt"] == own.certificate

    del server.secrets["tls-authority"]["stringData"]["tls.key"]
    with pytest.raises(CorruptObject, match=r"Secret tls-authority has no tls\.key"):
        made(make_certificates(api, NAMESPACE, ["minio=minio"]))


def test_a_secret_that_is_missing_is_told(api) -> None:
    with pytest.raises(KeyMissing, match=f"no Secret other in namespace {NAMESPACE}"):
        api.read("other")


def test_both_ends_of_a_connection_prove_themselves(server: SecretsServer, api, tmp_path: Path) -> None:
    made(make_certificates(api, NAMESPACE, ["minio=minio,localhost", "matcher"]))
    for name in ("minio", "matcher"):
        (tmp_path / f"{name}.pem").write_text(server.values(f"tls-{name}")["tls-combined.pem"])
    (tmp_path / "ca.crt").write_text(server.values("tls-minio")["ca.crt"])
    serves = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "ca.crt"))
    serves.load_cert_chain(tmp_path / "minio.pem")
    serves.verify_mode = ssl.CERT_REQUIRED
    asks = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    asks.verify_flags |= ssl.VERIFY_X509_STRICT  # what newer Pythons ask for by themselves
    asks.load_cert_chain(tmp_path / "matcher.pem")

    for host in ("minio", f"minio.{NAMESPACE}", f"minio.{NAMESPACE}.svc", "localhost"):
        assert _common_name(_shake_hands(serves, asks, host)) == "gim-matcher"
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        _shake_hands(serves, asks, "kafka")


def _shake_hands(serves: ssl.SSLContext, asks: ssl.SSLContext, host: str) -> dict:
    """What the server knows of the client once both have agreed."""
    near, far = socket.socketpair()
    with ThreadPoolExecutor(1) as pool, near, far:
        served = pool.submit(lambda: serves.wrap_socket(far, server_side=True))
        with asks.wrap_socket(near, server_hostname=host), served.result() as socket_of_server:
            return socket_of_server.getpeercert()


def _common_name(certificate: dict) -> str:
    return dict(pair for part in certificate["subject"] for pair in part)["commonName"]


def test_without_openssl_it_is_said_what_is_missing(monkeypatch, tmp_path: Path) -> None:
    authority = make_authority()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="version 3 of the program makes the certificates"):
        issue_certificate(authority, "gim-matcher", [])
