"""MinIO, one drive, as an S3 server for development and tests."""

from pathlib import Path
from types import MappingProxyType
from typing import Any

from infra.answers import http_status
from infra.server import Server, credentials

REGION = "us-east-1"


class Minio(Server):
    """A MinIO server on a folder."""

    name = "minio"
    needs = ("minio", "mc")
    default_ports = MappingProxyType({"s3": 19000})

    @property
    def endpoint(self) -> str:
        """Where it speaks S3."""
        return f"http://{self.host}:{self.ports['s3']}"

    def prepare(self) -> None:
        for name in ("data", "certs"):
            (self.folder / name).mkdir(exist_ok=True)

    def command(self) -> list[str]:
        # Certificates below the user's home would turn it into an HTTPS server.
        certificates = ["--certs-dir", str(self.folder / "certs")]
        address = ["--address", f"{self.host}:{self.ports['s3']}"]
        return [str(self.tools / "bin" / "minio"), "server", str(self.folder / "data"), *address, *certificates]

    def environment(self) -> dict[str, str]:
        keys = credentials(self.folder)
        return {
            "MINIO_ROOT_USER": keys["access_key"],
            "MINIO_ROOT_PASSWORD": keys["secret_key"],
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
            "MINIO_PROMETHEUS_AUTH_TYPE": "public",
        }

    def is_answering(self) -> bool:
        return http_status(f"{self.endpoint}/minio/health/ready") == 200

    def state(self) -> dict[str, Any]:
        return {"endpoint": self.endpoint, "region": REGION, **credentials(self.folder)}


def start(folder: Path) -> Minio:
    """Start one of one's own on a free port and wait until it is ready; stop it by `with` or `stop()`.

    Raises:
        ServerFailed: it does not start.
    """
    return Minio(folder, ports={"s3": 0}).bring_up()
