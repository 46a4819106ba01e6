"""TLS to the brokers: certificates from files, and why a handshake fails, which the client does not tell."""

import socket
import ssl

from gim.adapters.kafka.config import KafkaConfig
from gim.errors import ConfigError


def tls_context(config: KafkaConfig) -> ssl.SSLContext:
    """Whom we trust, and our own certificate where there is one.

    Raises:
        ConfigError: a file is missing, or not what it should be.
    """
    try:
        context = ssl.create_default_context(cafile=config.ca_file or None)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"kafka.ca_file {config.ca_file}: {_reason(error)}") from error
    if config.cert_file:
        try:
            context.load_cert_chain(config.cert_file, config.key_file or None)
        except OSError as error:
            files = " and ".join(filter(None, (config.cert_file, config.key_file)))
            raise ConfigError(f"kafka.cert_file and kafka.key_file {files}: {_reason(error)}") from error
    return context


def find_tls_fault(config: KafkaConfig) -> str:
    """What is wrong with the brokers' TLS, in one line, or nothing; a broker that is away is no fault of TLS."""
    if not config.security_protocol.endswith("SSL"):
        return ""
    context = tls_context(config)
    for server in config.bootstrap_servers:
        host, _, port = server.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), config.request_timeout_seconds) as plain:
                with context.wrap_socket(plain, server_hostname=host.strip("[]")):
                    return ""
        except ssl.SSLError as error:
            return f"Kafka at {server}: TLS fails: {_reason(error)}; see kafka.security_protocol and kafka.ca_file"
        except (OSError, ValueError):
            continue
    return ""


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return str(getattr(error, "reason", None) or error.strerror or error).splitlines()[0]
