"""Kafka without docker: one broker for development, clusters of tests. `start` is what tests call."""

from infra.kafka.cluster import KafkaCluster, start

__all__ = ["KafkaCluster", "start"]
