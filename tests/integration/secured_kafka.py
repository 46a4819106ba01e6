"""A Kafka of one's own that asks who one is: TLS, SCRAM passwords, and what no rule allows is denied."""

import contextlib
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gim.adapters.kafka.config import KafkaConfig
from gim.adapters.kafka.topics import ensure_topics
from gim.errors import Unavailable
from gim.wire import topics
from infra.ports import choose_port
from infra.state import TOOLS
from tests.integration.faulty_server import CERTIFICATE
from tests.requirements import lacks

ADMINISTRATOR = "admin"
_START_SECONDS = 120.0
_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=SASL_SSL://127.0.0.1:{port},INTERNAL://127.0.0.1:{internal},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=SASL_SSL://localhost:{port},INTERNAL://127.0.0.1:{internal}
inter.broker.listener.name=INTERNAL
controller.listener.names=CONTROLLER
listener.security.protocol.map=SASL_SSL:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={certificate}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:{administrator}
log.dirs={folder}/data
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""
_LOGGING = """
rootLogger.level=WARN
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c: %m%n
"""


@dataclass
class SecuredKafka:
    """A running broker, its users and their passwords."""

    folder: Path
    port: int
    passwords: dict[str, str]
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder / "log"

    def config(
        self, user: str, password: str = "", *, ca_file: str = str(CERTIFICATE), prefix: str = ""
    ) -> KafkaConfig:
        """What a user sets; another password than its own if given."""
        file = self.folder / f"password-{secrets.token_hex(4)}"
        file.write_text(f"{password or self.passwords[user]}\n")
        return KafkaConfig(
            bootstrap_servers=(f"localhost:{self.port}",),
            prefix=prefix,
            security_protocol="SASL_SSL",
            sasl_username=user,
            sasl_password_file=str(file),
            ca_file=ca_file,
            request_timeout_seconds=20.0,
            partitions=2,
            replication_factor=1,
        )


@contextlib.contextmanager
def running_secured_kafka(folder: Path, users: Sequence[str]) -> Iterator[SecuredKafka]:
    """A broker that runs inside the `with` block, with these users and the administrator."""
    jars = TOOLS / "kafka"
    if not jars.is_dir():
        lacks("servers", "no Kafka to start: make servers-up")
    port, internal, controller = (choose_port() for _ in range(3))
    kafka = SecuredKafka(folder, port, {user: secrets.token_urlsafe(24) for user in (*users, ADMINISTRATOR)})
    properties = folder / "server.properties"
    properties.write_text(
        _PROPERTIES.format(
            port=port,
            internal=internal,
            controller=controller,
            certificate=CERTIFICATE,
            administrator=ADMINISTRATOR,
            folder=folder,
        )
    )
    (folder / "log4j2.properties").write_text(_LOGGING)
    java = ["java", "-Xms128m", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*"]
    added = [f"SCRAM-SHA-512=[name={user},password={password}]" for user, password in kafka.passwords.items()]
    format_store = ["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(properties)]
    scram = [word for text in added for word in ("--add-scram", text)]
    subprocess.run([*java, *format_store, *scram], check=True, capture_output=True, timeout=_START_SECONDS)
    logging = f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}"
    with kafka.log.open("wb") as log:
        process = subprocess.Popen([*java, logging, "kafka.Kafka", str(properties)], stdout=log, stderr=log)
    try:
        _await(kafka, process)
        yield kafka
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(kafka: SecuredKafka, process: "subprocess.Popen[bytes]") -> None:
    """Return once the broker has made our topics."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", kafka.port), 1.0).close()
            ensure_topics(kafka.config(ADMINISTRATOR), topics.ALL)
        except (OSError, Unavailable):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"Kafka does not start:\n{kafka.log.read_text()[-4000:]}") from None
            time.sleep(0.1)
        else:
            return
