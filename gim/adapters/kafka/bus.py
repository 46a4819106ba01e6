"""The Bus port on Kafka, any number of processes and machines.

A message's key decides its partition (`partitioner.py`); a group's consumers share the partitions out, so
`kafka.partitions` is the most consumers that can work at once. What a group has done is Kafka's committed offset; how
often it was handed the message that comes next is written beside it, as the commit's metadata.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence

from kafka.admin import OffsetSpec
from kafka.structs import TopicPartition

from gim.adapters.kafka.client import Control, client_arguments
from gim.adapters.kafka.config import KafkaConfig
from gim.adapters.kafka.membership import Membership
from gim.adapters.kafka.publisher import Publisher, Record
from gim.adapters.kafka.reader import read_between
from gim.adapters.kafka.subscription import KafkaSubscription
from gim.adapters.kafka.topics import check_topics, num_partitions
from gim.ports.bus import Message


class KafkaBus:
    """The Bus port over a Kafka cluster. Any thread may use it."""

    def __init__(self, config: KafkaConfig, *, client_id: str) -> None:
        """Connect to the cluster.

        Args:
            config: where it is, who we are, and its timeouts.
            client_id: the name that its logs and quotas know us by.

        Raises:
            ConfigError: the settings say too little, or the brokers refuse who we are.
            Unavailable: no broker answers.
        """
        self._config = config
        self._client_id = client_id
        self._control = Control(config, client_id)
        self._publisher = Publisher(config, client_id, self._control)
        self._guard = threading.Lock()
        self._subscriptions: list[KafkaSubscription] = []
        self._control.ask(lambda admin: admin.describe_cluster())

    def publish(self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None) -> None:
        self._publisher.put(Record(topic, key, value, dict(headers or {})))

    def flush(self) -> None:
        """Deliver what was published, to all replicas in sync; what could not be delivered stays for the next call.

        Raises:
            ConfigError: a topic is missing, or may not be written.
            InvalidInput: a message is larger than Kafka takes; it is dropped.
            Unavailable: the brokers cannot take it now.
        """
        self._publisher.flush()

    def subscribe(self, topics: Sequence[str], group: str) -> KafkaSubscription:
        """Be ready to join a group, which the first `poll` does.

        Raises:
            ConfigError: a topic is missing, or may not be read.
            Unavailable: the brokers are away.
        """
        config = self._config
        check_topics(self._control, config, topics)
        arguments = client_arguments(config, self._client_id)
        names = [config.prefix + topic for topic in topics]
        subscription = KafkaSubscription(
            config,
            join=lambda: Membership(config, arguments, names, config.prefix + group),
            publisher=self._publisher,
            count_lag=lambda: sum(self.lag(topic, group) for topic in topics),
            check=lambda: check_topics(self._control, config, topics),
        )
        with self._guard:
            self._subscriptions.append(subscription)
        return subscription

    def read(self, topic: str, group: str = "") -> Iterator[Message]:
        """Every message that the topic still holds by now, in order per key, without a part in a group or an effect.

        Args:
            topic: to read.
            group: of whose messages those are left out that it has acknowledged; empty: all are given.

        Raises:
            ConfigError: it is missing, or may not be read.
            Unavailable: the brokers are away.
        """
        starts, ends = self._bounds(topic, group)
        held = {partition: (starts[partition], end) for partition, end in ends.items() if end > starts[partition]}
        return read_between(self._config, f"{self._client_id}-read", held)

    def lag(self, topic: str, group: str) -> int:
        """Messages of a topic that a group has not acknowledged yet; all that it holds for a group never seen.

        Raises:
            ConfigError: the topic is missing, or may not be read.
            Unavailable: the brokers are away.
        """
        starts, ends = self._bounds(topic, group)
        return sum(max(end - starts[partition], 0) for partition, end in ends.items())

    def close(self) -> None:
        """Close the subscriptions, flush, and release everything; a second call does nothing.

        Raises:
            Unavailable: what was published last could not be delivered.
        """
        try:
            with self._guard:
                subscriptions, self._subscriptions = self._subscriptions, []
            for subscription in subscriptions:
                subscription.close()
            self.flush()
        finally:
            self._publisher.close()
            self._control.close()

    def _bounds(self, topic: str, group: str = "") -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        """Of each partition: the first offset it still holds, of a group the first that it has not acknowledged; and
        the one that its next message will have.
        """
        name = self._config.prefix + topic
        count = num_partitions(self._control, self._config, topic)
        partitions = [TopicPartition(name, number) for number in range(count)]
        starts, ends = self._control.ask(
            lambda admin: [
                admin.list_partition_offsets(dict.fromkeys(partitions, spec))
                for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
            ]
        )
        firsts = {at: starts[at].offset for at in partitions}
        if group:
            name = self._config.prefix + group
            committed = self._control.ask(lambda admin: admin.list_group_offsets({name: partitions}))[name]
            # A partition without a commit has -1; retention may have removed what was not acknowledged.
            firsts = {at: max(committed[at].offset, first) for at, first in firsts.items()}
        return firsts, {at: ends[at].offset for at in partitions}
