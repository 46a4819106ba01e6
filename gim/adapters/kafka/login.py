"""Why the brokers do not let us in, which the client does not tell.

A broker answers a wrong password and hangs up. The client drops an answer that comes together with the end of the
connection, takes the refusal for an absence, and tries on. So the login is tried here once before, by its own parts.
"""

import socket
from typing import Any, Protocol

from kafka import errors as kafka_errors
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

from gim.adapters.kafka.config import KafkaConfig
from gim.adapters.kafka.tls import tls_context

_VERSION = 1  # of both requests; Kafka 1.0 and newer
_READ_BYTES = 64 * 1024


class _Connection(Protocol):
    """A socket, encrypted or not."""

    def sendall(self, data: bytes, /) -> None: ...
    def recv(self, size: int, /) -> bytes: ...


def find_login_fault(config: KafkaConfig, arguments: dict[str, Any]) -> str:
    """What is wrong with our user or password, in one line, or nothing; a broker that is away is no such fault.

    Args:
        config: the cluster.
        arguments: of a client, as `client_arguments` makes them.
    """
    if not config.security_protocol.startswith("SASL"):
        return ""
    for server in config.bootstrap_servers:
        host, _, port = server.rpartition(":")
        host = host.strip("[]")
        try:
            with socket.create_connection((host, int(port)), config.request_timeout_seconds) as plain:
                if config.security_protocol == "SASL_PLAINTEXT":
                    refusal = _log_in(plain, host, arguments)
                else:
                    with tls_context(config).wrap_socket(plain, server_hostname=host) as encrypted:
                        refusal = _log_in(encrypted, host, arguments)
        except (OSError, ValueError):
            continue
        if refusal:
            return (
                f"Kafka at {server} refuses user {config.sasl_username!r} ({refusal}): "
                "see kafka.sasl_username, kafka.sasl_password_file and kafka.sasl_mechanism"
            )
        return ""
    return ""


def _log_in(connection: _Connection, host: str, arguments: dict[str, Any]) -> str:
    """The name of the broker's refusal, or nothing."""
    protocol = KafkaProtocol(client_id=arguments["client_id"])
    answer = _ask(connection, protocol, SaslHandshakeRequest(mechanism=arguments["sasl_mechanism"], version=_VERSION))
    if answer.error_code:
        return str(kafka_errors.for_code(answer.error_code).__name__)
    mechanism = get_sasl_mechanism(arguments["sasl_mechanism"])(host=host, **arguments)
    while not mechanism.is_done():
        answer = _ask(connection, protocol, SaslAuthenticateRequest(mechanism.auth_bytes(), version=_VERSION))
        if answer.error_code:
            return str(kafka_errors.for_code(answer.error_code).__name__)
        mechanism.receive(answer.auth_bytes)
    return ""


def _ask(connection: _Connection, protocol: KafkaProtocol, request: Any) -> Any:
    protocol.send_request(request)
    connection.sendall(protocol.send_bytes())
    while True:
        data = connection.recv(_READ_BYTES)
        if not data:
            raise ConnectionError("the broker hung up")
        for _, answer in protocol.receive_bytes(data):
            return answer
