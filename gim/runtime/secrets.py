"""The secrets that settings name, so that logs can leave them out."""

from gim.adapters.secret_file import read_secret
from gim.settings import Settings


def secrets_of(settings: Settings) -> list[str]:
    """Every secret that these settings hold or point to.

    Raises:
        ConfigError: a file of one cannot be read.
    """
    files = {
        "kafka.sasl_password_file": settings.kafka.sasl_password_file,
        "s3.secret_key_file": settings.s3.secret_key_file,
    }
    kept = [read_secret(setting, path).strip() for setting, path in files.items() if path]
    return [secret for secret in (settings.s3.secret_key, *kept) if secret]
