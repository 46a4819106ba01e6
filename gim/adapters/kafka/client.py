"""The client library: what it is given of the settings, how it is opened and closed, and what its errors mean.

A client that cannot connect has started a thread already; it is closed here before the error goes on.
"""

import logging
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from kafka import KafkaAdminClient
from kafka import errors as kafka_errors
from kafka.net.compat import KafkaNetClient
from kafka.net.selector import NetworkSelector

from gim.adapters.kafka.config import KafkaConfig
from gim.adapters.kafka.login import find_login_fault
from gim.adapters.kafka.tls import find_tls_fault, tls_context
from gim.adapters.secret_file import read_secret
from gim.errors import ConfigError, GimError, InvalidInput, Unavailable

Result = TypeVar("Result")

_RETRY_SECONDS = 0.2
_RECONNECT_MS = 1000  # at most between two attempts to reach a broker; the library's 30 s outlast most restarts
_WIRE_LOGGERS = ("kafka.net.connection", "kafka.protocol.parser")  # at DEBUG they write what a password is sent in
_REFUSED = (
    kafka_errors.AuthorizationError,
    kafka_errors.SaslAuthenticationFailedError,
    kafka_errors.UnsupportedSaslMechanismError,
    kafka_errors.IllegalSaslStateError,
    kafka_errors.SecurityDisabledError,
    kafka_errors.KafkaConfigurationError,
    kafka_errors.InvalidGroupIdError,
    kafka_errors.InvalidSessionTimeoutError,
    kafka_errors.InconsistentGroupProtocolError,
    kafka_errors.InvalidTopicError,
    kafka_errors.InvalidReplicationFactorError,
    kafka_errors.InvalidPartitionsError,
    kafka_errors.PolicyViolationError,
)
_TOO_LARGE = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)


class _Password(str):
    """Text that does not show itself where settings are printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def client_arguments(config: KafkaConfig, client_id: str) -> dict[str, Any]:
    """What every kind of client is given.

    Raises:
        ConfigError: no server is named, or a file of a password or certificate cannot be used.
    """
    if not config.bootstrap_servers:
        raise ConfigError("no Kafka: set kafka.bootstrap_servers, as in GIM_KAFKA__BOOTSTRAP_SERVERS=localhost:9092")
    arguments: dict[str, Any] = {
        "bootstrap_servers": list(config.bootstrap_servers),
        "client_id": client_id,
        "security_protocol": config.security_protocol,
        "request_timeout_ms": milliseconds(config.request_timeout_seconds),
        "bootstrap_timeout_ms": milliseconds(config.request_timeout_seconds),
        "reconnect_backoff_max_ms": _RECONNECT_MS,
    }
    if config.security_protocol.endswith("SSL"):
        arguments["ssl_context"] = tls_context(config)
    if config.security_protocol.startswith("SASL"):
        arguments["sasl_mechanism"] = config.sasl_mechanism
        arguments["sasl_plain_username"] = config.sasl_username
        arguments["sasl_plain_password"] = _read_password(config)
        for name in _WIRE_LOGGERS:
            logging.getLogger(name).setLevel(logging.INFO)
    return arguments


def milliseconds(seconds: float) -> int:
    """As the client counts."""
    return round(seconds * 1000)


@contextmanager
def translated_errors(config: KafkaConfig) -> Iterator[None]:
    """Make what the client raises ours: one line, with the servers' names.

    Raises:
        ConfigError: the brokers refuse who we are or what we ask.
        InvalidInput: a message is too large for them.
        Unavailable: they are away, or cannot now.
    """
    try:
        yield
    except kafka_errors.KafkaError as error:
        raise translated(error, config) from error


def translated(error: BaseException, config: KafkaConfig) -> GimError:
    """One of our errors for one of the client's."""
    if isinstance(error, GimError):
        return error
    where = f"Kafka at {','.join(config.bootstrap_servers)}"
    name = type(error).__name__
    told = str(error.args[0]).splitlines() if error.args else []
    reason = f"{told[0]} ({name})" if told and told[0].strip() else str(getattr(error, "description", "") or name)
    if isinstance(error, _TOO_LARGE):
        return InvalidInput(f"{where}: a message is larger than it takes: {reason}")
    if isinstance(error, _REFUSED):
        return ConfigError(f"{where} refuses: {reason}")
    return Unavailable(f"{where}: {reason}")


class _Selector(NetworkSelector):  # type: ignore[misc]  # the client has no types
    """The client's event loop, which when it is closed leaves sockets behind that connect just then (3.0.12)."""

    def __init__(self, **arguments: Any) -> None:
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        super().__init__(**arguments)

    def wait_write(self, fileobj: socket.socket, timeout_at: float | None = None) -> Any:
        self._sockets.add(fileobj)
        return super().wait_write(fileobj, timeout_at)

    def wait_read(self, fileobj: socket.socket, timeout_at: float | None = None) -> Any:
        self._sockets.add(fileobj)
        return super().wait_read(fileobj, timeout_at)

    def close(self) -> None:
        super().close()
        for each in list(self._sockets):
            each.close()


class Client:
    """One client of the library, with its thread and sockets; `close` leaves none behind."""

    def __init__(self, kind: Callable[..., Any], config: KafkaConfig, arguments: dict[str, Any]) -> None:
        """Open a client of this kind, such as `KafkaConsumer`, and connect.

        Raises:
            ConfigError: the brokers refuse who we are, or have no certificate that we trust.
            Unavailable: no broker answers.
        """
        self._nets: list[KafkaNetClient] = []
        # Before the client, which would try on for long, and leaves a socket open for each handshake that fails.
        if fault := find_tls_fault(config) or find_login_fault(config, arguments):
            raise ConfigError(fault)
        try:
            self.use = kind(**arguments, kafka_client=self._open_net)
        except kafka_errors.KafkaError as error:
            self._close_nets()
            raise translated(error, config) from error
        except BaseException:
            self._close_nets()
            raise

    @property
    def cluster(self) -> Any:
        """What the client knows of brokers, topics and partitions."""
        return self._nets[-1].cluster

    def close(self, **arguments: Any) -> None:
        """Say good-bye, and close whatever comes of that; a second call does nothing."""
        try:
            with suppress(kafka_errors.KafkaError):
                self.use.close(**arguments)
        finally:
            sender = getattr(self.use, "_sender", None)
            if sender is None:
                self._close_nets()
            else:  # a producer's connections belong to a thread of its own, which closes them
                sender.force_close()
                sender.join()

    def _open_net(self, **arguments: Any) -> KafkaNetClient:
        self._nets.append(KafkaNetClient(net=_Selector(**arguments), **arguments))
        return self._nets[-1]

    def _close_nets(self) -> None:
        for net in self._nets:
            net.close()


class Control:
    """Questions to the cluster, and orders: topics, offsets. Any thread may use it."""

    def __init__(self, config: KafkaConfig, client_id: str) -> None:
        self._config = config
        self._arguments = client_arguments(config, f"{client_id}-control")
        self._guard = threading.Lock()
        self._client: Client | None = None

    def ask(self, question: Callable[[KafkaAdminClient], Result]) -> Result:
        """Answer a question, trying again for `request_timeout_seconds` while the brokers cannot.

        Raises:
            ConfigError: they refuse.
            Unavailable: they are away for longer.
        """
        deadline = time.monotonic() + self._config.request_timeout_seconds
        while True:
            with self._guard:
                try:
                    if self._client is None:
                        self._client = Client(KafkaAdminClient, self._config, self._arguments)
                    return question(self._client.use)
                except kafka_errors.KafkaError as error:
                    # The client remembers leaders and coordinators of before: start with a new one.
                    self._close()
                    problem = translated(error, self._config)
            if not isinstance(problem, Unavailable) or time.monotonic() > deadline:
                raise problem
            time.sleep(_RETRY_SECONDS)

    def close(self) -> None:
        """Release the connections; a later question opens them again."""
        with self._guard:
            self._close()

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _read_password(config: KafkaConfig) -> str:
    if not config.sasl_username or not config.sasl_password_file:
        raise ConfigError(
            f"kafka.security_protocol {config.security_protocol} needs kafka.sasl_username and kafka.sasl_password_file"
        )
    return _Password(read_secret("kafka.sasl_password_file", config.sasl_password_file))
