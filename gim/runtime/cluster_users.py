"""Who may do what on the servers of a cluster: every service's user, made from its access file and its keys."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from gim.adapters.secret_file import read_secret
from gim.errors import ConfigError
from gim.runtime.access import kafka_rules, read_access, s3_policy, service_names
from gim.runtime.opening import is_remote, open_store, patiently
from gim.settings import Settings

if TYPE_CHECKING:
    from gim.adapters.kafka.acls import RulesChanged
    from gim.adapters.s3.administration import User


@dataclass(frozen=True, slots=True)
class UserOutcome:
    """What became of one service's user."""

    service: str
    access_key: str
    changed: list[str]  # in words; none: all was so already


def put_users(settings: Settings, services: Path, keys: Path, *, wait_seconds: float = 0.0) -> Iterator[UserOutcome]:
    """Make the bucket, and of every service that has keys a MinIO user with its policy; tell of each as it is done.

    Args:
        settings: the store, and the keys of its administrator.
        services: where each service has its `access.toml`.
        keys: holds `SERVICE/access-key` and `SERVICE/secret-key`.
        wait_seconds: a server that is away is waited for so long.

    Raises:
        ConfigError: a key or an access file is missing, or the server refuses.
        Unavailable: the server cannot be reached.
    """
    from gim.adapters.s3.administration import Administration  # noqa: PLC0415 - on use

    if not is_remote(settings):
        raise ConfigError(f"store {settings.store}: expected s3://BUCKET: only a server has users")
    bucket = settings.store.rpartition("/")[2]
    users = {name: _user(services, keys, name, bucket) for name in _named(keys)}
    patiently(partial(open_store, settings, create=True), wait_seconds).close()
    with closing(Administration(settings.s3, bucket)) as administration:
        for service, user in users.items():
            changed = patiently(partial(administration.put, user), wait_seconds)
            yield UserOutcome(service, user.access_key, changed)


def put_rules(settings: Settings, services: Path, *, wait_seconds: float = 0.0) -> "RulesChanged":
    """Give every service, which is the user `gim-SERVICE` to the brokers, its access rules, and no others.

    Args:
        settings: the brokers, and a user that may change their rules.
        services: where each service has its `access.toml`.
        wait_seconds: brokers that are away are waited for so long.

    Raises:
        ConfigError: the brokers refuse, or know no rules at all.
        Unavailable: they cannot be reached.
    """
    from gim.adapters.kafka.acls import apply_rules  # noqa: PLC0415 - on use

    stated = [
        kafka_rules(read_access(services, name), prefix=settings.kafka.prefix) for name in service_names(services)
    ]
    rules = list(chain.from_iterable(stated))
    return patiently(partial(apply_rules, settings.kafka, rules), wait_seconds)


def _named(keys: Path) -> list[str]:
    try:
        names = sorted(path.name for path in keys.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise ConfigError(f"--keys {keys}: {error.strerror}") from error
    if not names:
        raise ConfigError(f"--keys {keys}: expected SERVICE/access-key and SERVICE/secret-key in it")
    return names


def _user(services: Path, keys: Path, name: str, bucket: str) -> "User":
    from gim.adapters.s3.administration import User  # noqa: PLC0415 - on use

    access_key, secret_key = (
        read_secret("--keys", str(keys / name / file)).strip() for file in ("access-key", "secret-key")
    )
    return User(access_key, secret_key, f"{bucket}-{name}", s3_policy(read_access(services, name), bucket))
