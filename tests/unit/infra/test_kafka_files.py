"""What a broker is told, and how its answer is read."""

import re
import socket
import struct
import threading
from contextlib import contextmanager

import pytest

from infra.kafka.broker import new_cluster_id
from infra.kafka.settings import BrokerOptions, broker_properties
from infra.kafka.wire import Cluster, ask_metadata

PORTS = {"client": 9001, "controller": 9002, "internal": 9003}


def properties(options, tmp_path, brokers=1):
    voters = {node: f"127.0.0.1:{9100 + node}" for node in range(1, brokers + 1)}
    text = broker_properties(options, node=1, voters=voters, host="127.0.0.1", ports=PORTS, data=tmp_path / "data")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_one_broker_can_hold_its_internal_topics(tmp_path):
    told = properties(BrokerOptions(), tmp_path)
    assert told["listeners"] == "PLAINTEXT://127.0.0.1:9001,CONTROLLER://127.0.0.1:9101"
    assert told["offsets.topic.replication.factor"] == "1"
    assert told["log.dirs"] == str(tmp_path / "data")
    assert "authorizer.class.name" not in told


def test_three_brokers_go_on_when_one_is_lost(tmp_path):
    told = properties(BrokerOptions(), tmp_path, brokers=3)
    assert told["controller.quorum.voters"] == "1@127.0.0.1:9101,2@127.0.0.1:9102,3@127.0.0.1:9103"
    assert (told["default.replication.factor"], told["min.insync.replicas"]) == ("3", "2")


def test_users_mean_logging_in_and_access_rights_and_stand_in_no_file(tmp_path):
    told = properties(BrokerOptions(users={"alice": "much-secret"}), tmp_path)
    assert told["listeners"].startswith("CLIENT://127.0.0.1:9001,INTERNAL://127.0.0.1:9003,")
    assert told["allow.everyone.if.no.acl.found"] == "false"
    assert "much-secret" not in str(told)


def test_ones_own_properties_come_last(tmp_path):
    told = properties(BrokerOptions(properties={"auto.create.topics.enable": "true"}), tmp_path)
    assert told["auto.create.topics.enable"] == "true"


def test_cluster_ids_are_what_kafka_takes():
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{21}", new_cluster_id()) for _ in range(200))


@contextmanager
def answering(reply: bytes):
    """A server that reads one request and sends this."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def metadata(*brokers, cluster_id=b"abc", controller=1):
    body = struct.pack(">ii", 1, len(brokers))
    for node, (host, port) in enumerate(brokers, 1):
        body += struct.pack(f">ih{len(host)}sih", node, len(host), host, port, -1)
    body += struct.pack(f">h{len(cluster_id)}sii", len(cluster_id), cluster_id, controller, 0)
    return struct.pack(">i", len(body)) + body


def test_metadata_is_read():
    with answering(metadata((b"b", 2), (b"a", 1))) as port:
        assert ask_metadata("127.0.0.1", port) == Cluster("abc", 1, ("a:1", "b:2"))


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        struct.pack(">i", 2**31 - 1),
        struct.pack(">i", 4) + b"abcd",
        metadata((b"host", 1))[:-9],
        struct.pack(">iiihh", 12, 1, 1, 9000, 0),
    ],
    ids=["nothing", "http", "too large", "too short", "cut", "length beyond the end"],
)
def test_what_is_no_metadata_is_no_answer(reply):
    with answering(reply) as port:
        assert ask_metadata("127.0.0.1", port, timeout_seconds=2.0) is None
