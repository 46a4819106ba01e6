"""MinIO's users and their policies: made what was stated, and told what was changed. Takes nothing away.

The one place where a server's own interface is used. No service works through it: another server's users are made by
whoever administers it, from what `gim access s3` prints.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from minio import MinioAdmin
from minio.error import MinioAdminException, S3Error

from gim.adapters.s3.client import Client
from gim.adapters.s3.config import S3Config
from gim.adapters.s3.errors import FAILURES, Request, code_of, translated
from gim.errors import ConfigError, GimError, Unavailable

if TYPE_CHECKING:
    from minio.credentials.providers import Provider

_WRONG_KEY = {"InvalidAccessKeyId", "SignatureDoesNotMatch"}
_ABSENT = {"XMinioAdminNoSuchUser", "XMinioAdminNoSuchPolicy"}
_APPLIED = "XMinioAdminPolicyChangeAlreadyApplied"
_SHUT = "disabled"


@dataclass(frozen=True, slots=True)
class User:
    """One user, and all that it may do."""

    access_key: str
    secret_key: str = field(repr=False)
    policy_name: str
    policy: dict[str, Any]


class Administration:
    """MinIO as its administrator reaches it."""

    def __init__(self, config: S3Config, bucket: str) -> None:
        """Prepare to talk; nothing is sent yet.

        Args:
            config: the server, and the keys of its administrator.
            bucket: the one that the users are for.

        Raises:
            ConfigError: the settings are malformed.
        """
        self._config = config
        self._bucket = bucket
        self._client = Client(config, bucket)
        address = urlsplit(config.endpoint)
        self._admin = MinioAdmin(
            endpoint=address.netloc,
            credentials=cast("Provider", self._client._provider),  # noqa: SLF001 - the keys that it has read
            region=config.region,
            secure=address.scheme == "https",
            http_client=self._client.pool,
        )

    def put(self, user: User) -> list[str]:
        """Make a user what was stated.

        A user that was disabled stays so. Policies that somebody else attached stay.

        Returns:
            What was changed, in words; nothing where all was so already.

        Raises:
            ConfigError: these keys may not administer, or the server is no MinIO.
            Unavailable: it cannot be reached.
        """
        changed = []
        found = self._look(lambda: self._admin.user_info(user.access_key))
        if found is None:
            self._ask(lambda: self._admin.user_add(user.access_key, user.secret_key))
            changed.append("made")
        elif found.get("status") == _SHUT:
            return []
        elif not self._is_key(user):
            self._ask(lambda: self._admin.user_add(user.access_key, user.secret_key))
            changed.append("key changed")
        policy = self._look(lambda: self._admin.policy_info(user.policy_name))
        if policy is None or _canonical(policy) != _canonical(user.policy):
            self._ask(lambda: self._admin.policy_add(user.policy_name, policy=user.policy))
            changed.append("policy made" if policy is None else "policy changed")
        if user.policy_name not in (found or {}).get("policyName", "").split(","):
            with suppress(_AppliedAlready):  # by another that does the same at this moment
                self._ask(lambda: self._admin.attach_policy([user.policy_name], user=user.access_key))
            changed.append("policy attached")
        return changed

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _is_key(self, user: User) -> bool:
        """Whether the server takes this secret key for the user's: what it may do with it does not matter."""
        config = replace(self._config, access_key=user.access_key, secret_key=user.secret_key)
        client = Client(replace(config, access_key_file="", secret_key_file=""), self._bucket)
        try:
            client.page("", "", 1)
        except S3Error as error:
            return code_of(error) not in _WRONG_KEY
        except FAILURES as error:
            raise translated(error, self._request) from error
        finally:
            client.close()
        return True

    def _look(self, question: Callable[[], str]) -> Any:
        """The answer, or None where there is no such user or policy."""
        try:
            return json.loads(self._ask(question))
        except _Absent:
            return None
        except ValueError as error:
            raise ConfigError(f"{self._where}: it does not answer as MinIO does: check s3.endpoint") from error

    def _ask(self, question: Callable[[], str]) -> str:
        try:
            return question()
        except MinioAdminException as error:
            raise self._refused(error) from error
        except FAILURES as error:
            raise translated(error, self._request) from error

    def _refused(self, error: MinioAdminException) -> GimError:
        status, code = int(error._code), ""  # noqa: SLF001 - they have no other names
        with suppress(ValueError, AttributeError):
            code = json.loads(error._body).get("Code", "")  # noqa: SLF001
        if code in _ABSENT:
            return _Absent(code)
        if code == _APPLIED:
            return _AppliedAlready(code)
        said = code or f"HTTP {status}"
        if status in {401, 403}:
            return ConfigError(f"{self._where}: these keys may not administer it ({said}): give those of its root")
        if status == 429 or status >= 500:
            return Unavailable(f"{self._where}: refuses for now ({said})")
        return ConfigError(f"{self._where}: its users cannot be changed ({said}): is it MinIO?")

    @property
    def _request(self) -> Request:
        return Request(self._where, "make", "users")

    @property
    def _where(self) -> str:
        return f"s3://{self._bucket} at {self._config.endpoint}"


class _Absent(GimError):
    """There is no such user or policy."""


class _AppliedAlready(GimError):
    """The policy is attached already."""


def _canonical(document: Any) -> Any:
    """A policy without what does not matter: the order of names, and whether one name is a list."""
    if isinstance(document, dict):
        return {name: _canonical(value) for name, value in document.items()}
    if isinstance(document, str):
        return [document]
    if isinstance(document, list) and all(isinstance(item, str) for item in document):
        return sorted(document)
    return [_canonical(item) for item in document] if isinstance(document, list) else document
