"""TLS and mutual TLS from files, for both sides. A server takes rotated certificates up by itself."""

import ssl
from pathlib import Path

import grpc

from gim.errors import ConfigError
from gim.rpc.config import RpcConfig

_FILES = ("cert_file", "key_file", "ca_file")
_SYSTEM = "system"  # as a client's ca_file: the authorities that gRPC comes with


def server_credentials(config: RpcConfig) -> grpc.ServerCredentials | None:
    """What a server proves itself by, and asks of clients where there is a `ca_file`; None: no TLS.

    The files are looked at again at every handshake, and taken when they changed and fit together.

    Raises:
        ConfigError: a file is missing or malformed, or key and certificate do not belong together.
    """
    if not config.cert_file:
        if config.key_file or config.ca_file:
            raise ConfigError(
                "rpc.key_file and rpc.ca_file of a server need rpc.cert_file, else it would not serve TLS"
            )
        return None
    files = _ServerFiles(config)
    return grpc.dynamic_ssl_server_credentials(
        files.current, files.renewed, require_client_authentication=bool(config.ca_file)
    )


def channel_credentials(config: RpcConfig) -> grpc.ChannelCredentials | None:
    """What a client trusts, and proves itself by where there is a `cert_file`; None: no TLS.

    Raises:
        ConfigError: a file is missing or malformed.
    """
    if not config.ca_file:
        if config.cert_file or config.key_file:
            raise ConfigError("rpc.cert_file and rpc.key_file of a client need rpc.ca_file: whom it trusts")
        return None
    authorities = None if config.ca_file == _SYSTEM else _read(config, "ca_file")
    if not config.cert_file:
        return grpc.ssl_channel_credentials(authorities)
    _check_pair(config)
    return grpc.ssl_channel_credentials(authorities, _read(config, "key_file"), _read(config, "cert_file"))


class _ServerFiles:
    """A server's files as they were when they were last good."""

    def __init__(self, config: RpcConfig) -> None:
        self._config = config
        self._seen = self._stamps()
        self.current = self._configuration()

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """The configuration when it changed, else None. Called by gRPC at each handshake."""
        stamps = self._stamps()
        if stamps == self._seen:
            return None
        try:
            renewed = self._configuration()
        except (
            ConfigError
        ):  # in the middle of being replaced: the old one serves on, and the next handshake looks again
            return None
        self._seen = stamps
        return renewed

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        _check_pair(self._config)
        authorities = _read(self._config, "ca_file") if self._config.ca_file else None
        pair = (_read(self._config, "key_file"), _read(self._config, "cert_file"))
        return grpc.ssl_server_certificate_configuration([pair], authorities)

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(path) for name in _FILES if (path := getattr(self._config, name)))


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _check_pair(config: RpcConfig) -> None:
    """Refuse bad files, of which gRPC itself says no more than that it cannot listen."""
    if not config.key_file:
        raise ConfigError(f"rpc.cert_file {config.cert_file} needs rpc.key_file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A password would be asked for on the terminal.
        context.load_cert_chain(config.cert_file, config.key_file, password=_no_password)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"rpc.cert_file {config.cert_file} and rpc.key_file {config.key_file}: {error.strerror or error}"
        ) from error


def _no_password() -> str:
    raise ConfigError("rpc.key_file is encrypted: give it without a password, readable by this process alone")


def _read(config: RpcConfig, name: str) -> bytes:
    path = getattr(config, name)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"rpc.{name} {path}: {error.strerror or error}") from error
    if b"-----BEGIN" not in data:
        raise ConfigError(f"rpc.{name} {path}: not a PEM file")
    return data
