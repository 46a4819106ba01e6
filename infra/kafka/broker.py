"""One Kafka broker: its files, its process."""

import base64
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from infra.errors import ServerFailed, ToolMissing
from infra.kafka.settings import HERE, BrokerOptions, broker_properties
from infra.kafka.wire import ask_metadata
from infra.server import Server
from infra.state import TOOLS

_FORMAT_SECONDS = 300.0


class Broker(Server):
    """A broker that is its own controller (KRaft), alone or one of several."""

    name = "kafka"
    needs = ("kafka",)
    default_ports = MappingProxyType({"client": 19092, "controller": 19093})

    def __init__(
        self,
        folder: Path,
        *,
        tools: Path = TOOLS,
        ports: Mapping[str, int] | None = None,
        node: int = 1,
        cluster_id: str = "",
        options: BrokerOptions | None = None,
    ) -> None:
        super().__init__(folder, tools=tools, ports=ports)
        self.node = node
        self.options = options or BrokerOptions()
        self.peers: Sequence[Broker] = (self,)  # all brokers of its cluster, itself among them
        self._cluster_id = cluster_id

    @property
    def address(self) -> str:
        """host:port for clients."""
        return f"{self.host}:{self.ports['client']}"

    @property
    def admin_address(self) -> str:
        """host:port where nobody logs in and everything is allowed; the same where there is no security."""
        return f"{self.host}:{self._admin_port}"

    @property
    def cluster_id(self) -> str:
        """Made at random the first time, kept in the folder."""
        path = self.folder / "cluster_id"
        if not self._cluster_id and path.exists():
            self._cluster_id = path.read_text(encoding="ascii")
        self._cluster_id = self._cluster_id or new_cluster_id()
        return self._cluster_id

    def prepare(self) -> None:
        controllers = {peer.node: f"{peer.host}:{peer.ports['controller']}" for peer in self.peers}
        text = broker_properties(
            self.options,
            node=self.node,
            voters=controllers,
            host=self.host,
            ports=self.ports,
            data=self.folder / "data",
        )
        self._properties.write_text(text, encoding="utf-8")
        self._format()

    def command(self) -> list[str]:
        # The quick compiler only: a broker of tests seldom lives until the better one pays.
        memory = ["-Xms128m", f"-Xmx{self.options.heap_megabytes}m", "-XX:+ExitOnOutOfMemoryError"]
        speed = ["-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}"]
        return [*self._java(), *memory, *speed, "-cp", self._jars, "kafka.Kafka", str(self._properties)]

    def is_answering(self) -> bool:
        cluster = ask_metadata(self.host, self._admin_port)
        return cluster is not None and cluster.controller >= 0 and self.admin_address in cluster.brokers

    def lists(self, others: Sequence["Broker"]) -> bool:
        """Whether it would send clients to all of these."""
        cluster = ask_metadata(self.host, self._admin_port)
        return cluster is not None and {other.admin_address for other in others} <= set(cluster.brokers)

    def state(self) -> dict[str, Any]:
        return {"bootstrap_servers": [self.address]}

    @property
    def _admin_port(self) -> int:
        return self.ports["internal" if self.options.is_secured else "client"]

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    @property
    def _jars(self) -> str:
        return str(self.tools / "kafka" / "*")  # Java, not a shell, expands the star

    def _java(self) -> list[str]:
        java = shutil.which("java")
        if java is None or not (self.tools / "kafka").is_dir():
            raise ToolMissing("no Java or no Kafka here: python -m infra install kafka")
        return [java]

    def _format(self) -> None:
        """Make the data folder of a new broker; one that was begun and not finished is made again."""
        stamp = self.folder / "cluster_id"
        if stamp.exists():
            return
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        tool = [*self._java(), "-XX:TieredStopAtLevel=1", "-cp", self._jars, "kafka.tools.StorageTool", "format"]
        tool += ["-t", self.cluster_id, "-c", str(self._properties)]
        for name, password in self.options.users.items():
            tool += ["--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]"]
        done = subprocess.run(
            tool, capture_output=True, text=True, errors="replace", timeout=_FORMAT_SECONDS, check=False
        )
        if done.returncode != 0:
            raise ServerFailed(f"kafka's data folder cannot be made:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        stamp.write_text(self.cluster_id, encoding="ascii")


def new_cluster_id() -> str:
    """A random id as Kafka writes them: 16 bytes, base64 without padding."""
    while True:
        made = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not made.startswith("-"):  # the tool would take it for an option
            return made
