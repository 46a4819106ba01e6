"""The Secrets of the cluster that this pod runs in, through its API and by the rights of the pod's service account.

Standard library only. No value of a Secret is ever part of a message.
"""

import base64
import binascii
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPSConnection
from typing import Any

from gim.errors import ConfigError, CorruptObject, GimError, KeyMissing, Unavailable

_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class PodAccount:
    """How a pod reaches its cluster's API, and who it is there."""

    host: str
    port: int
    namespace: str
    ca_file: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Secret:
    """A Secret to make."""

    name: str
    values: Mapping[str, str] = field(repr=False)
    kind: str = "Opaque"


class SecretsApi:
    """Makes and reads Secrets in the pod's own namespace. One connection a request: a pod makes few."""

    def __init__(self, account: PodAccount, labels: Mapping[str, str]) -> None:
        """Prepare to talk; nothing is sent yet.

        Args:
            account: of the pod.
            labels: of every Secret that is made.

        Raises:
            ConfigError: the file of the API's authority cannot be read.
        """
        self._account = account
        self._labels = dict(labels)
        try:
            self._trust = ssl.create_default_context(cafile=account.ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigError(f"{account.ca_file}: {error.strerror or error}: expected certificates as PEM") from error

    def create(self, secret: Secret) -> bool:
        """Make a Secret; False where there is one of this name, which stays as it is.

        Raises:
            ConfigError: the account may not, or the API refuses.
            Unavailable: the API cannot be reached, or refuses for now.
        """
        made = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret.name, "labels": self._labels},
            "type": secret.kind,
            "stringData": dict(secret.values),
        }
        status, answer = self._ask("POST", "", made)
        if status == 409 and answer.get("reason") == "AlreadyExists":
            return False
        if status != 201:
            raise self._refused(status, answer, f"make Secret {secret.name}")
        return True

    def read(self, name: str) -> dict[str, str]:
        """What a Secret holds.

        Raises:
            KeyMissing: there is none of this name.
            CorruptObject: it does not hold texts.
            ConfigError: the account may not, or the API refuses.
            Unavailable: the API cannot be reached, or refuses for now.
        """
        status, answer = self._ask("GET", f"/{name}", None)
        if status == 404:
            raise KeyMissing(f"there is no Secret {name} in namespace {self._account.namespace}")
        if status != 200:
            raise self._refused(status, answer, f"read Secret {name}")
        try:
            return {key: base64.b64decode(value).decode() for key, value in (answer.get("data") or {}).items()}
        except (binascii.Error, UnicodeDecodeError) as error:
            raise CorruptObject(f"Secret {name} does not hold texts") from error

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
        account = self._account
        headers = {"Authorization": f"Bearer {account.token}", "Accept": "application/json"}
        headers |= {"Content-Type": "application/json"} if body is not None else {}
        connection = HTTPSConnection(account.host, account.port, timeout=_TIMEOUT_SECONDS, context=self._trust)
        try:
            place = f"/api/v1/namespaces/{account.namespace}/secrets{path}"
            connection.request(method, place, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except ssl.SSLCertVerificationError as error:
            raise ConfigError(f"{self._where}: its certificate is not of {account.ca_file}") from error
        except (OSError, HTTPException) as error:
            raise Unavailable(f"{self._where}: the connection failed ({_reason(error)})") from error
        except ValueError:  # not JSON, as of something in between
            answer = {}
        finally:
            connection.close()
        return response.status, answer if isinstance(answer, dict) else {}

    def _refused(self, status: int, answer: Mapping[str, Any], wish: str) -> GimError:
        said = answer.get("reason") or f"HTTP {status}"
        if status == 429 or status >= 500:
            return Unavailable(f"{self._where}: refuses for now ({said}); could not {wish}")
        if status == 401:
            return ConfigError(f"{self._where}: does not know the pod's service account; could not {wish}")
        if status == 403:
            # It names the account and the right, and nothing of what was sent.
            return ConfigError(f"{self._where}: may not {wish}: {answer.get('message') or said}")
        return ConfigError(f"{self._where}: could not {wish}: {said}")

    @property
    def _where(self) -> str:
        return f"Kubernetes API at {self._account.host}:{self._account.port}"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
