"""Least privilege, stated once: a service's `access.toml` becomes its S3 policy and its Kafka access rules.

A file says which topics its service reads and writes, which groups it joins or watches, and which keys of the store it
reads, writes, deletes and lists; everything else is denied. What is made of it here is applied by whoever administers
the servers: the policy by MinIO's `mc admin policy`, the rules by `kafka-acls` or `gim.adapters.kafka.acls`.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gim.adapters.kafka.access_rule import AccessRule, Operation, Resource
from gim.errors import ConfigError

_FILE = "access.toml"
_ANY = "*"  # at the end of a name: all that begin so


@dataclass(frozen=True, slots=True)
class TopicAccess:
    """What a service may do on the bus; names without `kafka.prefix`, a `*` at the end stands for any ending."""

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()  # consumer groups it joins
    watched_groups: tuple[str, ...] = ()  # groups whose lag it asks for
    watched_topics: tuple[str, ...] = ()  # topics whose end it asks for, on behalf of those groups
    create: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """What a service may do in the store, as beginnings of keys; an empty one is every key, a `*` any characters."""

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    list: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """All that one service may do."""

    service: str
    topics: TopicAccess
    store: StoreAccess


def service_names(folder: Path) -> list[str]:
    """Every service of a folder that has an access file.

    Raises:
        ConfigError: none has.
    """
    names = sorted(path.parent.name for path in folder.glob(f"*/{_FILE}"))
    if not names:
        raise ConfigError(f"{folder}: holds no NAME/{_FILE}; name the folder of the services by --services")
    return names


def read_access(folder: Path, service: str) -> Access:
    """What a service's access file says.

    Args:
        folder: of the services.
        service: name of a folder in it.

    Raises:
        ConfigError: no such service, or a file that is not as it should be; the message names the entry.
    """
    if service not in service_names(folder):
        raise ConfigError(f"unknown service {service!r}: one of {', '.join(service_names(folder))}")
    path = folder / service / _FILE
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    unknown = sorted(set(document) - {"topics", "store"})
    if unknown:
        raise ConfigError(f"{path}: unknown table {unknown[0]!r}: expected topics, store")
    topics = TopicAccess(**_names(path, "topics", document.get("topics", {}), TopicAccess))
    store = StoreAccess(**_names(path, "store", document.get("store", {}), StoreAccess))
    return Access(service, topics, store)


def s3_policy(access: Access, bucket: str) -> dict[str, Any]:
    """The policy to attach to a service's key, as AWS and MinIO read it."""
    store, objects = access.store, f"arn:aws:s3:::{bucket}/"
    statements: list[dict[str, Any]] = [_allow(["s3:GetBucketLocation"], [f"arn:aws:s3:::{bucket}"])]
    for actions, prefixes in (
        (["s3:GetObject"], store.read),
        # A large object goes up in parts; a part that fails is taken back.
        (["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"], store.write),
        (["s3:DeleteObject"], store.delete),
    ):
        if prefixes:
            statements.append(_allow(actions, [f"{objects}{prefix}*" for prefix in prefixes]))
    if store.list:
        listing = _allow(["s3:ListBucket"], [f"arn:aws:s3:::{bucket}"])
        if "" not in store.list:
            listing["Condition"] = {"StringLike": {"s3:prefix": [f"{prefix}*" for prefix in store.list]}}
        statements.append(listing)
    return {"Version": "2012-10-17", "Statement": statements}


def kafka_rules(access: Access, *, principal: str = "", prefix: str = "") -> list[AccessRule]:
    """What the authorizer of a Kafka cluster has to allow.

    Args:
        access: of a service.
        principal: who the service is to the brokers; by default the user `gim-SERVICE`.
        prefix: `kafka.prefix` of the system, before the name of every topic and group.

    Returns:
        The rules, sorted. To read and to write a resource includes to describe it.
    """
    who = principal or f"User:gim-{access.service}"
    topics = access.topics
    wanted: list[tuple[Resource, Iterable[str], Operation]] = [
        ("topic", topics.read, "Read"),
        ("topic", topics.write, "Write"),
        ("topic", topics.create, "Create"),
        ("topic", topics.watched_topics, "Describe"),
        ("group", topics.groups, "Read"),
        ("group", topics.watched_groups, "Describe"),
    ]
    return sorted(
        _rule(who, resource, prefix + name, operation) for resource, names, operation in wanted for name in names
    )


def _rule(principal: str, resource: Resource, name: str, operation: Operation) -> AccessRule:
    is_prefix = name.endswith(_ANY) and name != _ANY  # a star alone is Kafka's own name for every resource
    return AccessRule(principal, resource, name.removesuffix(_ANY) if is_prefix else name, operation, is_prefix)


def _names(path: Path, table: str, entries: Any, kind: type) -> dict[str, tuple[str, ...]]:
    known = [field.name for field in fields(kind)]
    if not isinstance(entries, Mapping):
        raise ConfigError(f"{path}: {table} is no table")
    for name, value in entries.items():
        if name not in known:
            raise ConfigError(f"{path}: unknown entry {table}.{name}: expected {', '.join(known)}")
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{path}: {table}.{name} is no list of texts")
    return {name: tuple(value) for name, value in entries.items()}


def _allow(actions: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resources}
