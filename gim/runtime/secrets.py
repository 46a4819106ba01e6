"""The secrets that settings name, so that logs can leave them out."""

from pathlib import Path

from gim.errors import ConfigError
from gim.settings import Settings


def secrets_of(settings: Settings) -> list[str]:
    """Every secret that these settings hold or point to.

    Raises:
        ConfigError: a file of one cannot be read.
    """
    files = (settings.kafka.sasl_password_file, settings.s3.secret_key_file)
    return [secret for secret in (settings.s3.secret_key, *(read_secret(path) for path in files if path)) if secret]


def read_secret(path: str) -> str:
    """The first line of a file.

    Raises:
        ConfigError: it cannot be read, or is empty.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"secret file {path}: {reason}") from error
    if not lines or not lines[0].strip():
        raise ConfigError(f"secret file {path}: its first line is empty")
    return lines[0].strip()
