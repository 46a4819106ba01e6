"""The Secrets of a cluster, made where they are missing: random keys and passwords, and certificates of an authority.

Runs inside a pod. What is there is left as it is, so it can be repeated, and somebody's own Secrets of these names are
used instead. Two pods at once do no harm: of each Secret, the first that is made stays.
"""

import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gim.adapters.certificates import Authority, issue_certificate, make_authority
from gim.adapters.kubernetes import PodAccount, Secret, SecretsApi
from gim.errors import ConfigError, CorruptObject, KeyMissing

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LABELS = {"app.kubernetes.io/part-of": "gim", "app.kubernetes.io/name": "secrets"}
_RANDOM_BYTES = 30  # 40 characters: as many as AWS gives
_LOGIN_USER = "admin"

_TLS = "tls-"  # before the name of whom a certificate is of
_AUTHORITY = f"{_TLS}authority"
_COMMON_NAME = "gim-"  # the same: the user that Kafka's access rules name
_EVERYWHERE = "localhost"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one Secret."""

    name: str
    is_made: bool  # False: it was there already


def open_secrets(environ: Mapping[str, str] = os.environ, folder: Path = _ACCOUNT) -> tuple[SecretsApi, str]:
    """The Secrets of the cluster that this process is a pod of, and its namespace.

    Args:
        environ: where Kubernetes says its address.
        folder: where it mounts the token of the service account.

    Raises:
        ConfigError: this is no pod, or one without a token.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port.isdigit():
        raise ConfigError("no pod of a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set")
    try:
        token, namespace = ((folder / name).read_text(encoding="ascii").strip() for name in ("token", "namespace"))
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", "") or "not a text"
        raise ConfigError(
            f"{folder}: {said}: give the pod a service account, and automountServiceAccountToken: true"
        ) from error
    account = PodAccount(host, int(port), namespace, str(folder / "ca.crt"), token)
    return SecretsApi(account, _LABELS), namespace


def make_secrets(api: SecretsApi, keys: Iterable[str], logins: Iterable[str]) -> Iterator[Outcome]:
    """Make what is missing, and tell of each as it is done.

    Args:
        api: of the cluster.
        keys: names of Secrets with `access-key`, the Secret's own name, and `secret-key`.
        logins: names of Secrets with `user` and `password`.

    Raises:
        ConfigError, Unavailable: see `SecretsApi.create`.
    """
    for name in keys:
        yield _put(api, Secret(name, {"access-key": name, "secret-key": secrets.token_urlsafe(_RANDOM_BYTES)}))
    for name in logins:
        yield _put(api, Secret(name, {"user": _LOGIN_USER, "password": secrets.token_urlsafe(_RANDOM_BYTES)}))


def make_certificates(api: SecretsApi, namespace: str, wanted: Sequence[str]) -> Iterator[Outcome]:
    """Make the Secret `tls-NAME` for each name where it is missing, and the authority of them all.

    A certificate is of the user `gim-NAME` and for the hosts that are given, also as `HOST.NAMESPACE` and
    `HOST.NAMESPACE.svc`. It serves both ends of a connection.

    Args:
        api: of the cluster.
        namespace: of the hosts.
        wanted: `NAME` or `NAME=HOST,HOST`.

    Raises:
        ConfigError, Unavailable: see `SecretsApi`, `gim.adapters.certificates`.
        CorruptObject: the authority's Secret holds none.
    """
    made, authority = _authority(api)
    yield made
    for text in wanted:
        name, _, listed = text.partition("=")
        hosts = [spelled for host in filter(None, listed.split(",")) for spelled in _spellings(host, namespace)]
        pair = issue_certificate(authority, f"{_COMMON_NAME}{name}", hosts)
        yield _put(api, Secret(f"{_TLS}{name}", _tls_values(pair, authority), "kubernetes.io/tls"))


def _authority(api: SecretsApi) -> tuple[Outcome, Authority]:
    """The one that is there, or a new one; another pod may make it at the same moment."""
    try:
        return Outcome(_AUTHORITY, is_made=False), _read_authority(api)
    except KeyMissing:
        made = make_authority()
        values = {"tls.crt": made.certificate, "tls.key": made.key}
        if api.create(Secret(_AUTHORITY, values, "kubernetes.io/tls")):
            return Outcome(_AUTHORITY, is_made=True), made
        return Outcome(_AUTHORITY, is_made=False), _read_authority(api)


def _read_authority(api: SecretsApi) -> Authority:
    found = api.read(_AUTHORITY)
    try:
        return Authority(found["tls.crt"], found["tls.key"])
    except KeyError as error:
        raise CorruptObject(
            f"Secret {_AUTHORITY} has no {error.args[0]}: an authority is tls.crt and tls.key"
        ) from None


def _tls_values(pair: tuple[str, str], authority: Authority) -> dict[str, str]:
    certificate, key = pair
    # The names that cert-manager gives, so that its Secrets fit too: Kafka wants key and certificate in one file.
    return {
        "tls.crt": certificate,
        "tls.key": key,
        "ca.crt": authority.certificate,
        "tls-combined.pem": f"{key}{certificate}",
    }


def _spellings(host: str, namespace: str) -> list[str]:
    return [host] if host == _EVERYWHERE else [host, f"{host}.{namespace}", f"{host}.{namespace}.svc"]


def _put(api: SecretsApi, secret: Secret) -> Outcome:
    return Outcome(secret.name, is_made=api.create(secret))
