"""The access rules of a Kafka cluster: makes those of some users exactly what was stated, and tells what it changed."""

import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from kafka import KafkaAdminClient
from kafka import errors as kafka_errors
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)

from gim.adapters.kafka.access_rule import AccessRule
from gim.adapters.kafka.client import Control
from gim.adapters.kafka.config import KafkaConfig
from gim.errors import Unavailable

_ANY_HOST = "*"
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class RulesChanged:
    """What `apply_rules` did."""

    added: list[AccessRule]
    removed: list[str]  # in words: they need not be of a kind that we make


def apply_rules(config: KafkaConfig, rules: Iterable[AccessRule]) -> RulesChanged:
    """Make these rules, and no others, hold for the principals they name; a second call changes nothing.

    What is missing is added before anything is removed, so that nobody loses a right in between. Rules of other
    principals are left alone.

    Args:
        config: the cluster, and a user that may change its rules.
        rules: all that these principals may do.

    Raises:
        ConfigError: the brokers refuse, or know no rules at all.
        Unavailable: they cannot be reached.
    """
    wanted = {_acl(rule): rule for rule in rules}
    principals = sorted({rule.principal for rule in wanted.values()})
    with _control(config) as control:
        found = _found(control, principals)
        missing, stale = [acl for acl in wanted if acl not in found], sorted(found - wanted.keys(), key=str)
        if missing:
            control.ask(lambda admin: _create(admin, missing))
        if stale:
            control.ask(lambda admin: _delete(admin, [_filter_of(acl) for acl in stale]))
        _await_rules(control, config, principals, set(wanted))
    return RulesChanged(sorted(wanted[acl] for acl in missing), [_in_words(acl) for acl in stale])


def remove_rules(config: KafkaConfig, principals: Sequence[str]) -> None:
    """Take every rule of these principals away.

    Raises:
        ConfigError: the brokers refuse.
        Unavailable: they cannot be reached.
    """
    filters = [_every_rule_of(principal) for principal in principals]
    with _control(config) as control:
        control.ask(lambda admin: _delete(admin, filters))
        _await_rules(control, config, principals, set())


def _control(config: KafkaConfig) -> closing[Control]:
    return closing(Control(config, "gim-access"))


def _found(control: Control, principals: Sequence[str]) -> set[ACL]:
    """Every rule of these principals."""
    found: set[ACL] = set()
    for principal in principals:
        found |= set(control.ask(partial(_rules_of, principal=principal)))
    return found


def _rules_of(admin: KafkaAdminClient, principal: str) -> list[ACL]:
    acls, _ = admin.describe_acls(_every_rule_of(principal))
    return list(acls)


def _await_rules(control: Control, config: KafkaConfig, principals: Sequence[str], wanted: set[ACL]) -> None:
    """Return once a broker goes by these rules: it learns of them a moment after the controller has taken them."""
    deadline = time.monotonic() + config.request_timeout_seconds
    while _found(control, principals) != wanted:
        if time.monotonic() > deadline:
            where = ",".join(config.bootstrap_servers)
            raise Unavailable(f"Kafka at {where}: took the access rules, but does not show them")
        time.sleep(_LOOK_SECONDS)


def _create(admin: KafkaAdminClient, acls: Sequence[ACL]) -> None:
    for error in admin.create_acls(acls)["failed"]:
        raise error("an access rule cannot be made")


def _delete(admin: KafkaAdminClient, filters: Sequence[ACLFilter]) -> None:
    for _, _, error in admin.delete_acls(filters):
        if error is not kafka_errors.NoError:
            raise error("an access rule cannot be removed")


def _acl(rule: AccessRule) -> ACL:
    pattern = ACLResourcePatternType.PREFIXED if rule.is_prefix else ACLResourcePatternType.LITERAL
    resource = ResourcePattern(ResourceType[rule.resource.upper()], rule.name, pattern)
    return ACL(
        principal=rule.principal,
        host=_ANY_HOST,
        operation=ACLOperation[rule.operation.upper()],
        permission_type=ACLPermissionType.ALLOW,
        resource_pattern=resource,
    )


def _every_rule_of(principal: str) -> ACLFilter:
    return ACLFilter(
        principal=principal,
        host=None,
        operation=ACLOperation.ANY,
        permission_type=ACLPermissionType.ANY,
        resource_pattern=ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY),
    )


def _filter_of(acl: ACL) -> ACLFilter:
    pattern = acl.resource_pattern
    return ACLFilter(
        principal=acl.principal,
        host=acl.host,
        operation=acl.operation,
        permission_type=acl.permission_type,
        resource_pattern=ResourcePatternFilter(pattern.resource_type, pattern.resource_name, pattern.pattern_type),
    )


def _in_words(acl: ACL) -> str:
    pattern = acl.resource_pattern
    kind, name = pattern.resource_type.name.lower(), pattern.resource_name
    prefixed = "*" if pattern.pattern_type is ACLResourcePatternType.PREFIXED else ""
    return f"{acl.principal} {acl.permission_type.name.lower()} {acl.operation.name.lower()} {kind} {name}{prefixed}"
