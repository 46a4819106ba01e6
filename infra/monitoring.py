"""Prometheus and Alertmanager for development: who is asked for metrics, which rules hold."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from infra.answers import http_status
from infra.server import Server
from infra.state import ROOT, TOOLS, read_state

CONFIG = ROOT / "infra" / "prometheus"
# What a cluster has: the same rules hold here.
RULES = ROOT / "k8s" / "platform" / "prometheus" / "server" / "rules"
ALERTMANAGER_CONFIG = ROOT / "k8s" / "platform" / "prometheus" / "alertmanager" / "alertmanager.yml"

# Where the services of a local run are asked: start them with GIM_SERVICE__HTTP_PORT set to these.
LOCAL_SERVICES = MappingProxyType(
    {"downloader": 18081, "matcher": 18082, "propagator": 18083, "trainer": 18084, "evaluator": 18085}
)


class Alertmanager(Server):
    """Groups alerts and passes them on."""

    name = "alertmanager"
    needs = ("prometheus",)
    default_ports = MappingProxyType({"http": 19703})

    @property
    def url(self) -> str:
        """Its page and API."""
        return f"http://{self.host}:{self.ports['http']}"

    def prepare(self) -> None:
        (self.folder / "data").mkdir(exist_ok=True)

    def command(self) -> list[str]:
        return [
            str(program(self.tools, "prometheus-alertmanager")),
            f"--config.file={ALERTMANAGER_CONFIG}",
            f"--storage.path={self.folder / 'data'}",
            f"--web.listen-address={self.host}:{self.ports['http']}",
            "--cluster.listen-address=",  # alone
        ]

    def work_folder(self) -> Path:
        return self.tools / "prometheus"  # where it looks for its pages: see infra/tools.py

    def is_answering(self) -> bool:
        return http_status(f"{self.url}/-/ready") == 200

    def state(self) -> dict[str, Any]:
        return {"url": self.url}


class Prometheus(Server):
    """Asks the services of a local run, MinIO and itself for metrics, and evaluates the alert rules."""

    name = "prometheus"
    needs = ("prometheus",)
    default_ports = MappingProxyType({"http": 19702})

    def __init__(
        self,
        folder: Path,
        *,
        tools: Path = TOOLS,
        ports: Mapping[str, int] | None = None,
        run: Path | None = None,
        services: Mapping[str, int] = LOCAL_SERVICES,
    ) -> None:
        super().__init__(folder, tools=tools, ports=ports)
        self._run = run if run is not None else folder.parent  # where the other servers' states are
        self._services = services

    @property
    def url(self) -> str:
        """Its page and API."""
        return f"http://{self.host}:{self.ports['http']}"

    def prepare(self) -> None:
        for name in ("data", "targets"):
            (self.folder / name).mkdir(exist_ok=True)
        shutil.copyfile(CONFIG / "prometheus.yml", self.folder / "prometheus.yml")
        shutil.rmtree(self.folder / "rules", ignore_errors=True)
        (self.folder / "rules").mkdir()
        for path in RULES.glob("*.yml"):
            shutil.copyfile(path, self.folder / "rules" / path.name)
        self.write_targets()

    def write_targets(self) -> None:
        """Say who is to be asked; Prometheus notices by itself."""
        services = [
            {"targets": [f"{self.host}:{port}"], "labels": {"service": name}} for name, port in self._services.items()
        ]
        others = {
            "gim": services,
            "minio": self._of("minio", "endpoint"),
            "alertmanager": self._of("alertmanager", "url"),
            "prometheus": [{"targets": [f"{self.host}:{self.ports['http']}"]}],
        }
        for name, targets in others.items():
            making = self.folder / "targets" / f".{name}"
            making.write_text(json.dumps(targets), encoding="utf-8")
            making.replace(self.folder / "targets" / f"{name}.json")

    def command(self) -> list[str]:
        return [
            str(program(self.tools, "prometheus")),
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            "--storage.tsdb.retention.time=7d",
            "--storage.tsdb.retention.size=512MB",
            f"--web.listen-address={self.host}:{self.ports['http']}",
            # 1 min by default, which an alert waits for when Alertmanager was found a moment too late.
            "--rules.alert.resend-delay=5s",
        ]

    def work_folder(self) -> Path:
        return self.tools / "prometheus"  # where it looks for its pages: see infra/tools.py

    def is_answering(self) -> bool:
        return http_status(f"{self.url}/-/ready") == 200

    def state(self) -> dict[str, Any]:
        return {"url": self.url}

    def _of(self, server: str, field: str) -> Sequence[Mapping[str, Any]]:
        state = read_state(server, self._run)
        return [{"targets": [state[field].removeprefix("http://")]}] if state else []


def program(tools: Path, name: str) -> Path:
    """A program of Debian's packages: prometheus, promtool, prometheus-alertmanager, amtool."""
    return tools / "prometheus" / "usr" / "bin" / name
