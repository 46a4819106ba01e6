"""Frames of HTTP/2 written by hand, and TLS: peers that do not behave, and peers that are not who they should be."""

import shutil
import socket
import struct
import subprocess
from contextlib import suppress
from dataclasses import replace

import pytest

from gim.errors import ConfigError, GimError, Unavailable
from gim.rpc.client import MatcherClient
from gim.rpc.server import serving
from tests.integration.rpc_serving import LOCAL, Gated, textured
from tests.requirements import lacks

TINY = textured(8, 8)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS, PING, GOAWAY = 1, 4, 6, 7
ENHANCE_YOUR_CALM = 11


def frame(kind, payload=b"", *, flags=0, stream=0):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def frames(connection):
    """What the peer sends, until it hangs up."""
    received = b""
    with suppress(OSError):
        while data := connection.recv(65536):
            received += data
            while len(received) >= 9 and len(received) >= 9 + (length := int.from_bytes(received[:3])):
                yield received[3], received[9 : 9 + length]
                received = received[9 + length :]


@pytest.fixture(scope="module")
def address():
    with serving([Gated()], None, LOCAL) as address:
        yield address


def connected(address):
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=60)


def assert_serves(address, config=LOCAL):
    with MatcherClient(address, config) as client:
        assert len(client.match(TINY, TINY).points) == 1


def test_a_flood_of_pings_ends_with_being_sent_away(address):
    with connected(address) as connection:
        connection.sendall(PREFACE + frame(SETTINGS))
        with suppress(OSError):  # it hangs up in the middle
            for _ in range(100):
                connection.sendall(100 * frame(PING, b"12345678"))
        ended = [payload for kind, payload in frames(connection) if kind == GOAWAY]
    assert int.from_bytes(ended[-1][4:8]) == ENHANCE_YOUR_CALM
    assert b"too_many_pings" in ended[-1]
    assert_serves(address)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(1000),
        PREFACE + b"\xff" * 1000,
        PREFACE + frame(SETTINGS) + frame(HEADERS, b"\xff" * 50, flags=4, stream=1),
        PREFACE + frame(SETTINGS, bytes(5)),
    ],
    ids=["http1", "zeros", "garbage", "headers", "settings"],
)
def test_what_is_no_http2_is_hung_up_on(address, sent):
    with connected(address) as connection:
        connection.sendall(sent)
        list(frames(connection))  # to its end, within the socket's time limit
    assert_serves(address)


def test_connections_that_say_nothing_keep_nobody_from_being_served(address):
    idle = [connected(address) for _ in range(200)]
    try:
        assert_serves(address)
    finally:
        for connection in idle:
            connection.close()


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Two authorities that know nothing of each other, with a server and a client each."""
    if shutil.which("openssl") is None:
        lacks("servers", "no openssl on PATH: apt-get install openssl")
    folder = tmp_path_factory.mktemp("certificates")
    for authority in ("ours", "theirs"):
        issue(folder, authority, authority)
        for name in ("server", "client"):
            issue(folder, f"{authority}-{name}", authority)
    return folder


def issue(folder, name, authority):
    """`name`.pem and `name`.key, signed by `authority`; by itself where it is the authority."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key"]
    command = ["openssl", "req", "-x509", "-days", "2", *key, "-out", f"{name}.pem", "-subj", f"/CN={name}"]
    if name != authority:
        command += ["-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-addext", "basicConstraints=CA:FALSE"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def files(folder, certificate="", authority=""):
    """The settings of one side."""
    return replace(
        LOCAL,
        cert_file=str(folder / f"{certificate}.pem") if certificate else "",
        key_file=str(folder / f"{certificate}.key") if certificate else "",
        ca_file=str(folder / f"{authority}.pem") if authority else "",
        retry_seconds=0.0,
    )


def refused_with(address, config):
    with MatcherClient(address, config) as client, pytest.raises(GimError) as raised:
        client.match(TINY, TINY, timeout_seconds=60)
    return raised.value


def test_tls_is_spoken_with_who_trusts_the_server_and_with_nobody_else(certificates):
    with serving([Gated()], None, files(certificates, "ours-server")) as address:
        assert_serves(address, files(certificates, authority="ours"))
        assert_serves(address, files(certificates, "ours-client", "ours"))
        error = refused_with(address, files(certificates, authority="theirs"))
        assert type(error) is ConfigError
        assert "rpc.ca_file" in str(error)
        assert isinstance(refused_with(address, LOCAL_ONCE), Unavailable)
        assert_serves(address, files(certificates, authority="ours"))


LOCAL_ONCE = replace(LOCAL, retry_seconds=0.0)


def test_mutual_tls_refuses_no_certificate_and_one_of_others(certificates):
    with serving([Gated()], None, files(certificates, "ours-server", "ours")) as address:
        assert_serves(address, files(certificates, "ours-client", "ours"))
        for config in (files(certificates, authority="ours"), files(certificates, "theirs-client", "ours")):
            assert isinstance(refused_with(address, config), (ConfigError, Unavailable))
        assert_serves(address, files(certificates, "ours-client", "ours"))


def test_a_client_with_tls_refuses_a_server_without(certificates, address):
    error = refused_with(address, files(certificates, authority="ours"))
    assert isinstance(error, (ConfigError, Unavailable))


def test_a_rotated_certificate_is_taken_up_and_a_half_written_one_is_not(certificates, tmp_path):
    for suffix in ("pem", "key"):
        shutil.copy(certificates / f"theirs-server.{suffix}", tmp_path / f"server.{suffix}")
    config = replace(LOCAL, cert_file=str(tmp_path / "server.pem"), key_file=str(tmp_path / "server.key"))
    with serving([Gated()], None, config) as address:
        assert_serves(address, files(certificates, authority="theirs"))
        shutil.copy(certificates / "ours-server.pem", tmp_path / "server.pem")  # and not yet its key
        assert_serves(address, files(certificates, authority="theirs"))
        shutil.copy(certificates / "ours-server.key", tmp_path / "server.key")
        assert_serves(address, files(certificates, authority="ours"))
        assert isinstance(refused_with(address, files(certificates, authority="theirs")), ConfigError)


def test_certificates_that_are_missing_or_do_not_fit_are_named(certificates, tmp_path):
    good = files(certificates, "ours-server")
    (tmp_path / "not.pem").write_text("hello")
    wrong = [
        (replace(good, key_file=""), "needs rpc.key_file"),
        (replace(good, cert_file=str(tmp_path / "gone.pem")), "gone.pem"),
        (replace(good, key_file=str(certificates / "theirs-server.key")), "mismatch"),
        (replace(good, ca_file=str(tmp_path / "not.pem")), "not a PEM file"),
        (replace(good, ca_file=str(tmp_path / "gone.pem")), "rpc.ca_file .*gone.pem: No such file"),
        (replace(LOCAL, ca_file=str(certificates / "ours.pem")), "need rpc.cert_file"),
    ]
    for config, words in wrong:
        with pytest.raises(ConfigError, match=words), serving([Gated()], None, config):
            pass
    with pytest.raises(ConfigError, match=r"need rpc\.ca_file"):
        MatcherClient("h:1", good)


def test_a_port_that_is_taken_is_said(address):
    taken = replace(LOCAL, port=int(address.rpartition(":")[2]))
    with pytest.raises(Unavailable, match="cannot listen on"), serving([Gated()], None, taken):
        pass
