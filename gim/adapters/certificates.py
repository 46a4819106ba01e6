"""Certificates of an authority of one's own, made by the `openssl` program. For names inside a cluster."""

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gim.errors import ConfigError

_AUTHORITY_DAYS = 3650
_DAYS = 730  # as long as a certificate may be left alone; see k8s/README.md for how to replace it earlier
_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-sha256"]
_LIMIT_SECONDS = 60.0

_AUTHORITY_FORM = """
[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
CN = gim
[extensions]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
_FORM = """
[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
CN = {common_name}
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
{names}
"""


@dataclass(frozen=True, slots=True)
class Authority:
    """Who signs: a certificate and its private key, both PEM."""

    certificate: str
    key: str = field(repr=False)


def make_authority() -> Authority:
    """A new authority, good for ten years.

    Raises:
        ConfigError: there is no `openssl` of version 3, or it fails.
    """
    with tempfile.TemporaryDirectory(prefix="gim-authority-") as name:
        folder = Path(name)
        return Authority(*_request(folder, _AUTHORITY_FORM, ["-days", str(_AUTHORITY_DAYS)]))


def issue_certificate(authority: Authority, common_name: str, hosts: Sequence[str]) -> tuple[str, str]:
    """A certificate and its private key (PKCS #8), both PEM, good for two years, as a server and as a client.

    Args:
        authority: who signs it.
        common_name: whose it is.
        hosts: names of the server; none for one that is a client only.

    Raises:
        ConfigError: there is no `openssl` of version 3, or it fails.
    """
    names = f"subjectAltName = {', '.join(f'DNS:{host}' for host in hosts)}" if hosts else ""
    with tempfile.TemporaryDirectory(prefix="gim-certificate-") as name:  # readable by nobody else
        folder = Path(name)
        (folder / "authority.crt").write_text(authority.certificate, encoding="ascii")
        (folder / "authority.key").write_text(authority.key, encoding="ascii")
        signed = ["-CA", "authority.crt", "-CAkey", "authority.key", "-days", str(_DAYS)]
        return _request(folder, _FORM.format(common_name=common_name, names=names), signed)


def _request(folder: Path, form: str, options: Sequence[str]) -> tuple[str, str]:
    (folder / "form").write_text(form, encoding="ascii")
    command = ["openssl", "req", "-x509", *_NEW_KEY, "-config", "form", "-keyout", "made.key", "-out", "made.crt"]
    try:
        done = subprocess.run(  # noqa: S603 - its arguments are these
            [*command, *options], cwd=folder, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        said = getattr(error, "strerror", None) or "takes too long"
        raise ConfigError(f"openssl: {said}: version 3 of the program makes the certificates") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.split())
        raise ConfigError(f"openssl cannot make a certificate: {said}")
    return (folder / "made.crt").read_text(encoding="ascii"), (folder / "made.key").read_text(encoding="ascii")
