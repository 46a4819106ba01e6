"""Clusters of brokers on one machine, for tests that kill brokers or need access rights."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from infra.errors import ServerFailed
from infra.kafka.broker import Broker, new_cluster_id
from infra.kafka.settings import BrokerOptions
from infra.ports import choose_port, is_free
from infra.state import TOOLS

_POLL_SECONDS = 0.2
_STARTS = 3


class KafkaCluster:
    """One or more brokers below one folder; nodes are numbered from 1."""

    def __init__(self, folder: Path, *, brokers: int, options: BrokerOptions, tools: Path = TOOLS) -> None:
        cluster_id = new_cluster_id()
        self.options = options
        self.brokers = [
            Broker(folder / f"broker-{node}", node=node, cluster_id=cluster_id, options=options, tools=tools)
            for node in range(1, brokers + 1)
        ]
        for broker in self.brokers:
            broker.peers = self.brokers

    @property
    def bootstrap_servers(self) -> tuple[str, ...]:
        """Where clients connect to, running or not."""
        return tuple(broker.address for broker in self.brokers)

    @property
    def admin_servers(self) -> tuple[str, ...]:
        """Where nobody logs in and everything is allowed."""
        return tuple(broker.admin_address for broker in self.brokers)

    @property
    def is_ready(self) -> bool:
        """Whether every broker that runs does its work and knows of all others that run."""
        running = [broker for broker in self.brokers if broker.pid is not None]
        return bool(running) and all(broker.is_ready and broker.lists(running) for broker in running)

    def bring_up(self, timeout_seconds: float = 180.0) -> Self:
        """Start all brokers on free ports and wait until clients can work.

        Raises:
            ServerFailed: one ended, or the time is over.
        """
        for remaining in reversed(range(_STARTS)):
            self._choose_ports()
            with ThreadPoolExecutor(len(self.brokers)) as pool:  # each takes seconds of Java
                list(pool.map(_prepare, self.brokers))
            for broker in self.brokers:
                broker.start()
            try:
                return self.wait_until_ready(timeout_seconds)
            except ServerFailed:
                self.kill()
                if remaining == 0 or all(is_free(port) for broker in self.brokers for port in broker.ports.values()):
                    raise
        raise AssertionError("the last round returns or raises")

    def wait_until_ready(self, timeout_seconds: float = 180.0) -> Self:
        """Wait until all brokers that run know of each other.

        Raises:
            ServerFailed: one ended, or the time is over.
        """
        deadline = time.monotonic() + timeout_seconds
        for broker in self.brokers:
            if broker.is_wanted:
                broker.wait_until_ready(max(deadline - time.monotonic(), 1.0))
        while not self.is_ready:
            if time.monotonic() > deadline:
                raise ServerFailed(f"the brokers do not know of each other after {timeout_seconds:.0f} s")
            time.sleep(_POLL_SECONDS)
        return self

    def kill(self, node: int | None = None) -> None:
        """End a broker, or all, as a power cut does."""
        for broker in self._chosen(node):
            broker.kill()

    def stop(self, node: int | None = None) -> None:
        """End a broker, or all, in order. All at once: a last one alone would wait for its peers."""
        chosen = self._chosen(node)
        with ThreadPoolExecutor(len(chosen)) as pool:
            list(pool.map(Broker.stop, chosen))

    def restart(self, node: int | None = None, timeout_seconds: float = 180.0) -> Self:
        """Start a broker, or all, again on the same data and ports."""
        for broker in self._chosen(node):
            broker.start()
        return self.wait_until_ready(timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.stop()

    def _chosen(self, node: int | None) -> list[Broker]:
        return self.brokers if node is None else [self.brokers[node - 1]]

    def _choose_ports(self) -> None:
        uses = ("client", "controller", "internal") if self.options.is_secured else ("client", "controller")
        taken: set[int] = set()
        for broker in self.brokers:
            broker.ports = {}
            for use in uses:
                port = choose_port()
                while port in taken:
                    port = choose_port()
                taken.add(port)
                broker.ports[use] = port


def start(
    folder: Path,
    brokers: int = 1,
    *,
    users: Mapping[str, str] | None = None,
    properties: Mapping[str, str] | None = None,
) -> KafkaCluster:
    """Start a cluster of one's own on free ports and wait until it is ready; stop it by `with` or `stop()`.

    Args:
        folder: an empty one, for data and logs.
        brokers: 1, or 3 so that one may be lost.
        users: name -> password. Given, clients log in by SCRAM-SHA-512 and may do only what an access rule grants;
            make rules through `admin_servers`.
        properties: settings of the brokers on top of infra/kafka/broker.properties.

    Raises:
        ToolMissing: Kafka or Java is not installed.
        ServerFailed: it does not start.
    """
    options = BrokerOptions(users or {}, properties or {}, heap_megabytes=512 if brokers == 1 else 384)
    return KafkaCluster(folder, brokers=brokers, options=options).bring_up()


def _prepare(broker: Broker) -> None:
    broker.folder.mkdir(parents=True, exist_ok=True)
    broker.prepare()
