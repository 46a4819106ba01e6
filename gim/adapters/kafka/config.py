"""How a Kafka cluster is reached and used. Imports no client."""

from dataclasses import dataclass
from typing import Literal

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    """A cluster, how this process proves who it is, and how it consumes."""

    bootstrap_servers: tuple[str, ...] = ()  # host:port, any of the brokers; empty: there is no Kafka
    prefix: str = ""  # put before the names of topics and groups, so that several systems share a cluster
    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password_file: str = ""  # its first line is the password
    ca_file: str = ""  # PEM; empty: the system's authorities
    cert_file: str = ""  # PEM, of this client, where the brokers ask for one
    key_file: str = ""
    session_timeout_seconds: float = 45.0  # without a heartbeat, then a consumer's partitions go to others
    max_poll_interval_seconds: float = 300.0  # the same for a consumer that heartbeats but takes nothing
    lease_seconds: float = 60.0  # a message whose worker has not spoken for so long goes back
    request_timeout_seconds: float = 30.0  # of one request to a broker
    delivery_timeout_seconds: float = 120.0  # of one published message, retries included
    partitions: int = 24  # of a topic that is made here: the most consumers a group can use
    replication_factor: int = 0  # of a topic that is made here; 0: the brokers' default
    retention_seconds: float = 365 * 86400.0  # of a topic that is made here; 0: for ever. Labels may be long in coming
