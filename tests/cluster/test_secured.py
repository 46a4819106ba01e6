"""A system that is in use is given certificates (k8s/components/tls), and goes on: for those who have one."""

import re
from contextlib import closing
from pathlib import Path

import pytest

from gim.errors import Unavailable
from gim.rpc.client import MatcherClient
from gim.rpc.config import RpcConfig
from tests.cluster.bucket import authority
from tests.cluster.kube import Kube, KubectlFailed, wait_for
from tests.cluster.prometheus import Prometheus
from tests.cluster.test_runbook import CALL_WITH_CERTIFICATE, furnished
from tests.cluster.work import assert_same_bytes, begin_again
from tests.e2e.undisturbed import Undisturbed

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

# What a server says to who shakes hands with it: an error, or nothing while it waits for a request.
_SHAKE_HANDS = """
import socket, ssl, sys
host, port, *files = sys.argv[1:]
context = ssl.create_default_context(cafile="/var/run/gim/tls/ca.crt")
if files:
    context.load_cert_chain(*files)
with socket.create_connection((host, int(port)), timeout=5) as plain:
    with context.wrap_socket(plain, server_hostname=host) as secured:
        try:
            print(repr(secured.recv(1)))
        except TimeoutError:
            print("waits")
"""
_GET = """
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile="/var/run/gim/tls/ca.crt")
print(urllib.request.urlopen(sys.argv[1], context=context, timeout=5).status)
"""
_CERTIFICATE = ("/var/run/gim/tls/tls.crt", "/var/run/gim/tls/tls.key")


def test_work_that_was_begun_in_the_clear_is_finished(secured: Kube, clips: Undisturbed) -> None:
    assert_same_bytes(secured, clips)


def test_work_is_done_with_certificates(secured: Kube, clips: Undisturbed) -> None:
    begin_again(secured, clips)
    assert_same_bytes(secured, clips)


def said_by(kube: Kube, pod: str, script: str, *arguments: object) -> str:
    """What a script prints in a pod, or the last line of its error."""
    try:
        return kube.run("exec", pod, "--", "python", "-c", script, *arguments).strip()
    except KubectlFailed as error:
        return next(line for line in reversed(str(error).splitlines()) if "Error" in line)


def test_kafka_hears_nobody_without_a_certificate(secured: Kube) -> None:
    assert said_by(secured, "deployment/matcher", _SHAKE_HANDS, "kafka", 9092, *_CERTIFICATE) == "waits"
    assert "CERTIFICATE_REQUIRED" in said_by(secured, "deployment/matcher", _SHAKE_HANDS, "kafka", 9092)


def test_the_store_speaks_https_only(secured: Kube) -> None:
    assert said_by(secured, "deployment/matcher", _GET, "https://minio:9000/minio/health/live") == "200"
    assert "400" in said_by(secured, "deployment/matcher", _GET, "http://minio:9000/minio/health/live")


def test_a_service_does_in_kafka_what_its_access_file_states_and_no_more(secured: Kube) -> None:
    publish = ("exec", "deployment/propagator", "--", "gim", "publish", "http://clips/clip0.mp4")
    with pytest.raises(KubectlFailed, match=r"gim\.ingest\.v1: this user may not use it"):
        secured.run(*publish)


def test_matches_are_for_clients_with_a_certificate(secured: Kube, tmp_path: Path) -> None:
    desk = furnished(tmp_path, secured)
    (found,) = re.findall(r"^(\d+) matches", desk.run(CALL_WITH_CERTIFICATE), re.MULTILINE)
    assert int(found) > 50
    with authority(secured) as ca_file, secured.forwarded("service/matcher-grpc", 50051) as port:
        nobody = RpcConfig(ca_file=ca_file, retry_seconds=0)
        with closing(MatcherClient(f"localhost:{port}", nobody)) as client, pytest.raises(Unavailable):
            client.list_matchers()


def test_prometheus_asks_the_store_over_https(secured: Kube) -> None:
    with secured.forwarded("service/prometheus", 9090) as port:
        wait_for(lambda: Prometheus(port).instant('up{job="minio"} == 1'), "metrics of MinIO", 180)
