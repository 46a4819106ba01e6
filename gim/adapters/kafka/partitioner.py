"""Which partition a message goes to: consecutive segments of a video to consecutive partitions.

Kafka's own choice, the hash of the whole key, throws the dozen segments of a video at random: of two matchers one often
gets twice the work of the other. Here the hash of all but the number says where the video's first segment goes, and the
rest follow in turn. A key always goes to the same partition, so the order per key is kept.
"""

import re
from typing import Any

from kafka.partitioner.abc import Partitioner
from kafka.partitioner.default import murmur2

_NUMBERED = re.compile(rb"(.*/)([0-9]{1,9})", re.DOTALL)


class TurnPartitioner(Partitioner):  # type: ignore[misc]  # the client has no types
    """Keys that end in a number take turns; others go where any client of Kafka would send them."""

    def partition(  # as the client calls it
        self, topic: str, _key: object, key: bytes, _value: object, _bytes: bytes, cluster: Any
    ) -> int:
        """The number of one of the topic's partitions."""
        return choose_partition(key, len(cluster.partitions_for_topic(topic)))


def choose_partition(key: bytes, num_partitions: int) -> int:
    """The partition of a key, from 0 to `num_partitions` - 1."""
    numbered = _NUMBERED.fullmatch(key)
    prefix, turn = (numbered[1], int(numbered[2])) if numbered else (key, 0)
    return int(((murmur2(prefix) & 0x7FFFFFFF) + turn) % num_partitions)
