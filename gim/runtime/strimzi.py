"""Topics and users of Kafka as Strimzi's resources, of which its operators make what `gim cluster` makes elsewhere."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from gim.adapters.kafka.access_rule import AccessRule
from gim.adapters.kafka.config import KafkaConfig
from gim.runtime.access import Access, kafka_rules
from gim.runtime.cluster import every_topic
from gim.wire import topics
from gim.yaml_text import yaml_text

Json = dict[str, Any]

_API = "kafka.strimzi.io/v1"
_FOR_EVER = -1
_USER = "kafka-"  # before the name of a service; Strimzi gives the Secret of a user the user's name


def strimzi_resources(accesses: Iterable[Access], config: KafkaConfig, cluster: str) -> str:
    """A YAML document for each topic, each topic of dead letters, and each service's user with its access rules.

    Args:
        accesses: of the services.
        config: with the prefix, the partitions, the replicas and the retention of topics.
        cluster: name of the `Kafka` resource.
    """
    made = [_topic(name, config, cluster) for name in every_topic()]
    return yaml_text([*made, *(_user(access, config, cluster) for access in accesses)])


def _topic(name: str, config: KafkaConfig, cluster: str) -> Json:
    is_dead = name not in topics.ALL
    is_kept = is_dead or not config.retention_seconds
    retention = _FOR_EVER if is_kept else round(config.retention_seconds * 1000)
    # Without a number of replicas it is the brokers' choice.
    replicas = {"replicas": config.replication_factor} if config.replication_factor else {}
    spec = {
        "partitions": 1 if is_dead else config.partitions,
        **replicas,
        "config": {"retention.ms": retention, "retention.bytes": _FOR_EVER, "cleanup.policy": "delete"},
    }
    return _resource("KafkaTopic", config.prefix + name, cluster, spec)


def _user(access: Access, config: KafkaConfig, cluster: str) -> Json:
    rules = groupby(
        kafka_rules(access, prefix=config.prefix), key=lambda rule: (rule.resource, rule.name, rule.is_prefix)
    )
    spec = {
        "authentication": {"type": "tls"},
        "authorization": {"type": "simple", "acls": [_acl(list(group)) for _, group in rules]},
    }
    return _resource("KafkaUser", _USER + access.service, cluster, spec)


def _acl(rules: list[AccessRule]) -> Json:
    rule = rules[0]
    pattern = "prefix" if rule.is_prefix else "literal"
    return {
        "resource": {"type": rule.resource, "name": rule.name, "patternType": pattern},
        "operations": [rule.operation for rule in rules],
    }


def _resource(kind: str, name: str, cluster: str, spec: Json) -> Json:
    labels = {
        "strimzi.io/cluster": cluster,
        "app.kubernetes.io/part-of": "gim",
        "app.kubernetes.io/name": "strimzi",
        "app.kubernetes.io/component": "platform",
    }
    metadata = {"name": name, "namespace": "gim", "labels": labels}
    return {"apiVersion": _API, "kind": kind, "metadata": metadata, "spec": spec}
