"""versitygw, S3 over a plain folder: the second opinion on whatever works with MinIO."""

from pathlib import Path
from types import MappingProxyType
from typing import Any

from infra.answers import http_status
from infra.server import Server, credentials

REGION = "us-east-1"


class Versitygw(Server):
    """A versitygw server on a folder."""

    name = "versitygw"
    needs = ("versitygw",)
    default_ports = MappingProxyType({"s3": 19600})

    @property
    def endpoint(self) -> str:
        """Where it speaks S3."""
        return f"http://{self.host}:{self.ports['s3']}"

    def prepare(self) -> None:
        for name in ("data", "iam", "versions"):
            (self.folder / name).mkdir(exist_ok=True)

    def command(self) -> list[str]:
        # The order matters, and the paths must be absolute.
        command = [str(self.tools / "bin" / "versitygw"), "--port", f"{self.host}:{self.ports['s3']}"]
        command += ["--iam-dir", str(self.folder / "iam")]
        return [*command, "posix", "--versioning-dir", str(self.folder / "versions"), str(self.folder / "data")]

    def environment(self) -> dict[str, str]:
        keys = credentials(self.folder)
        return {"ROOT_ACCESS_KEY": keys["access_key"], "ROOT_SECRET_KEY": keys["secret_key"]}

    def is_answering(self) -> bool:
        return http_status(self.endpoint) is not None

    def state(self) -> dict[str, Any]:
        return {"endpoint": self.endpoint, "region": REGION, **credentials(self.folder)}


def start(folder: Path) -> Versitygw:
    """Start one of one's own on a free port and wait until it is ready; stop it by `with` or `stop()`.

    Raises:
        ServerFailed: it does not start.
    """
    return Versitygw(folder, ports={"s3": 0}).bring_up()
