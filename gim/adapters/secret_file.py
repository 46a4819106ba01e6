"""Secrets are given as files: their first line, as it is."""

from pathlib import Path

from gim.errors import ConfigError


def read_secret(setting: str, path: str) -> str:
    """The first line of a file that a setting names.

    Raises:
        ConfigError: it cannot be read, is no text, or is empty; the message names the setting and the file.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{setting} {path}: {getattr(error, 'strerror', '') or 'not a text'}") from error
    if not lines or not lines[0].strip():
        raise ConfigError(f"{setting} {path}: its first line is empty")
    return lines[0]
