"""What `gim` and the services need to know to work on the servers here, as lines for a shell."""

import os
import shlex
from pathlib import Path

from infra.errors import InfraError
from infra.state import read_state

_BUCKET = "gim"


def exports(run: Path) -> list[str]:
    """`export NAME=VALUE` for Kafka and MinIO; the keys go into files that only their owner reads.

    Raises:
        InfraError: one of the two does not run.
    """
    kafka, minio = read_state("kafka", run), read_state("minio", run)
    if kafka is None or minio is None:
        raise InfraError("Kafka and MinIO are not both up: make servers-up")
    values = {
        "GIM_STORE": f"s3://{_BUCKET}",
        "GIM_S3__ENDPOINT": minio["endpoint"],
        "GIM_S3__REGION": minio["region"],
        "GIM_S3__ACCESS_KEY_FILE": _keep(run / "minio" / "access-key", minio["access_key"]),
        "GIM_S3__SECRET_KEY_FILE": _keep(run / "minio" / "secret-key", minio["secret_key"]),
        "GIM_KAFKA__BOOTSTRAP_SERVERS": ",".join(kafka["bootstrap_servers"]),
    }
    return [f"export {name}={shlex.quote(value)}" for name, value in values.items()]


def _keep(path: Path, secret: str) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{secret}\n")
    return str(path)
