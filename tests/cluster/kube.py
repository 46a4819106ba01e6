"""A real cluster, asked through kubectl: what is there, what is done to it, and waiting for what must come."""

import base64
import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from infra.state import TOOLS
from infra.tools import ALL
from tests.requirements import lacks

T = TypeVar("T")
NAMESPACE = "gim"
PATIENT_SECONDS = 300.0  # for what must come, on two cores that do everything


def kubectl() -> str:
    """The program."""
    return str(ALL["kubectl"].path(TOOLS))


class KubectlFailed(Exception):
    """A command that the cluster refused, with its words."""


@dataclass(frozen=True)
class Kube:
    """One namespace of the cluster of KUBECONFIG."""

    namespace: str = NAMESPACE

    def run(self, *arguments: object, given: str | None = None, seconds: float = PATIENT_SECONDS) -> str:
        """What a command prints."""
        return self.said(*arguments, given=given, seconds=seconds)[0]

    def said(self, *arguments: object, given: str | None = None, seconds: float = PATIENT_SECONDS) -> tuple[str, str]:
        """What a command prints, and what it says beside it: warnings of the apiserver."""
        command = [kubectl(), "--namespace", self.namespace, *map(str, arguments)]
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=seconds, check=False)
        if done.returncode:
            raise KubectlFailed(f"{' '.join(command[3:])}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout, done.stderr

    def write(self, target: str, path: str, content: bytes) -> None:
        """Put a file into a pod."""
        command = [
            kubectl(),
            "--namespace",
            self.namespace,
            "exec",
            "--stdin",
            target,
            "--",
            "sh",
            "-c",
            f"cat > {path}",
        ]
        subprocess.run(command, input=content, check=True, capture_output=True, timeout=PATIENT_SECONDS)

    def get(self, kind: str, name: str = "", selector: str = "") -> Any:
        """An object, or a list of those of a kind."""
        options = [*([name] if name else []), *(["--selector", selector] if selector else [])]
        found = json.loads(self.run("get", kind, *options, "--output", "json"))
        return found if name else found["items"]

    def secret(self, name: str) -> dict[str, bytes]:
        """What a Secret holds."""
        return {key: base64.b64decode(value) for key, value in self.get("secret", name)["data"].items()}

    def pods(self, name: str) -> list[dict[str, Any]]:
        """Pods of one part that are not on their way out, the oldest first."""
        found = self.get("pods", selector=f"app.kubernetes.io/name={name}")
        living = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        return sorted(living, key=lambda pod: pod["metadata"]["creationTimestamp"])

    def pod(self, name: str) -> str:
        """The name of a pod that is ready."""
        return wait_for(lambda: next((named(pod) for pod in self.pods(name) if is_ready(pod)), ""), f"a ready {name}")

    def wait_rolled_out(self, *names: str, seconds: float = PATIENT_SECONDS) -> None:
        """Wait until these (deployment/matcher, statefulset/kafka, ...) are as they should be."""
        for name in names:
            self.run("rollout", "status", name, f"--timeout={seconds:.0f}s", seconds=seconds + 10)

    def gim(self, *arguments: object, seconds: float = PATIENT_SECONDS) -> str:
        """What `gim` prints in the operator's pod."""
        return self.run("exec", "deployment/operator", "--", "gim", *arguments, seconds=seconds)

    def metrics(self, pod: str, port: int = 8080) -> str:
        """What a pod says to Prometheus."""
        return self.run("get", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/{pod}:{port}/proxy/metrics")

    @contextmanager
    def forwarded(self, target: str, port: int) -> Iterator[int]:
        """A port of this machine that leads to one of the cluster."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            local = free.getsockname()[1]
        command = [kubectl(), "--namespace", self.namespace, "port-forward", target, f"{local}:{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                assert "Forwarding from" in line, line
                yield local
            finally:
                process.terminate()


def wait_for(look: Callable[[], T], what: str, seconds: float = PATIENT_SECONDS, pause_seconds: float = 1.0) -> T:
    """What `look` gives once it gives something; a command that fails meanwhile counts as nothing."""
    deadline, last = time.monotonic() + seconds, ""
    while True:
        try:
            if found := look():
                return found
        except KubectlFailed as error:
            last = str(error)
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}. {last}"
        time.sleep(pause_seconds)


def named(item: dict[str, Any]) -> str:
    return str(item["metadata"]["name"])


def is_ready(pod: dict[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ()))


def restarts(pods: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Pod -> how often one of its containers was started again."""
    return {named(pod): sum(each["restartCount"] for each in pod["status"]["containerStatuses"]) for pod in pods}


def value_of(exposition: str, metric: str, **labels: str) -> float:
    """The sum of a metric's series with these labels."""
    total = 0.0
    for line in exposition.splitlines():
        if match := re.fullmatch(rf"{metric}(?:\{{(.*)\}})? (\S+)", line):
            found = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[1] or ""))
            if labels.items() <= found.items():
                total += float(match[2])
    return total


def require_cluster() -> None:
    """Skip, or fail where GIM_REQUIRE names it, without a cluster to work on."""
    if not os.environ.get("KUBECONFIG") or not ALL["kubectl"].is_installed(TOOLS):
        lacks("cluster", "no KUBECONFIG, or no kubectl: make test-cluster starts a cluster")
