"""Topics and users of Kafka as Strimzi's resources, of which its operators make what `gim cluster` makes elsewhere.

Text, not objects: the main package has no YAML library, and people read these files.
"""

from collections.abc import Iterable
from itertools import groupby

from gim.adapters.kafka.access_rule import AccessRule
from gim.adapters.kafka.config import KafkaConfig
from gim.runtime.access import Access, kafka_rules
from gim.wire import topics

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
    names = [name for topic in topics.ALL for name in (topic, topic + topics.DEAD_SUFFIX)]
    documents = [_topic(config.prefix + name, config, cluster, is_dead=name not in topics.ALL) for name in names]
    documents += [_user(access, config, cluster) for access in accesses]
    return "---\n".join(documents)


def _topic(name: str, config: KafkaConfig, cluster: str, *, is_dead: bool) -> str:
    is_kept = is_dead or not config.retention_seconds
    retention = _FOR_EVER if is_kept else round(config.retention_seconds * 1000)
    replicas = (
        f"  replicas: {config.replication_factor}\n" if config.replication_factor else ""
    )  # else the brokers' choice
    return (
        f"{_head('KafkaTopic', name, cluster)}"
        f"  partitions: {1 if is_dead else config.partitions}\n"
        f"{replicas}"
        f"  config: {{retention.ms: {retention}, retention.bytes: {_FOR_EVER}, cleanup.policy: delete}}\n"
    )


def _user(access: Access, config: KafkaConfig, cluster: str) -> str:
    rules = groupby(
        kafka_rules(access, prefix=config.prefix), key=lambda rule: (rule.resource, rule.name, rule.is_prefix)
    )
    return (
        f"{_head('KafkaUser', _USER + access.service, cluster)}"
        "  authentication: {type: tls}\n"
        "  authorization:\n"
        "    type: simple\n"
        f"    acls:\n{''.join(_acl(list(group)) for _, group in rules)}"
    )


def _acl(rules: list[AccessRule]) -> str:
    rule = rules[0]
    pattern = "prefix" if rule.is_prefix else "literal"
    name = f'"{rule.name}"' if rule.name == "*" else rule.name
    return (
        f"      - resource: {{type: {rule.resource}, name: {name}, patternType: {pattern}}}\n"
        f"        operations: [{', '.join(rule.operation for rule in rules)}]\n"
    )


def _head(kind: str, name: str, cluster: str) -> str:
    return (
        f"apiVersion: {_API}\n"
        f"kind: {kind}\n"
        "metadata:\n"
        f"  name: {name}\n"
        "  namespace: gim\n"
        "  labels:\n"
        f"    strimzi.io/cluster: {cluster}\n"
        "    app.kubernetes.io/part-of: gim\n"
        "    app.kubernetes.io/name: strimzi\n"
        "    app.kubernetes.io/component: platform\n"
        "spec:\n"
    )
