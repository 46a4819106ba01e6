"""Matchers by the load that the cluster measures, and what its network keeps apart."""

import os
from collections.abc import Iterator

import pytest

from tests.cluster.conftest import ROOT
from tests.cluster.kube import Kube, KubectlFailed, wait_for
from tests.cluster.work import assert_same_bytes, begin_again
from tests.e2e.undisturbed import Undisturbed

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
OUTSIDE = "gim-outside"
_ASK = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)"


@pytest.fixture
def autoscaled(kube: Kube) -> Iterator[Kube]:
    path = ROOT / "k8s" / "components" / "hpa" / "matcher.yaml"
    kube.run("apply", "--filename", path)
    yield kube
    kube.run("delete", "--filename", path)
    kube.run("scale", "deployment/matcher", "--replicas=1")
    kube.wait_rolled_out("deployment/matcher")


def test_matchers_become_more_under_load_and_the_bytes_stay(autoscaled: Kube, clips: Undisturbed) -> None:
    kube = autoscaled

    def load() -> int:
        """Percent of what the pods asked for, as the autoscaler has read it."""
        metrics = kube.get("hpa", "matcher")["status"].get("currentMetrics") or [{}]
        return int(metrics[0].get("resource", {}).get("current", {}).get("averageUtilization", 0))

    wait_for(load, "a measured load", 120)
    for _ in range(10):
        begin_again(kube, clips)
        assert_same_bytes(kube, clips)
        if kube.get("hpa", "matcher")["status"]["desiredReplicas"] > 1:
            break
    else:
        pytest.fail(f"no more matchers at {load()} % of the processors that one asks for")
    wait_for(lambda: len(kube.pods("matcher")) > 1, "a second matcher")
    begin_again(kube, clips)
    assert_same_bytes(kube, clips)


@pytest.fixture(scope="module")
def outside(kube: Kube) -> Iterator[Kube]:
    """A pod of another namespace, which nothing is denied and which denies nobody."""
    other = Kube(OUTSIDE)
    image = kube.get("deployment", "clips")["spec"]["template"]["spec"]["containers"][0]["image"]
    kube.run("create", "namespace", OUTSIDE)
    other.run("run", "outside", f"--image={image}", "--command", "--", "python", "-m", "http.server", "8000")
    other.run("wait", "--for=condition=Ready", "pod/outside", "--timeout=120s")
    yield other
    kube.run("delete", "namespace", OUTSIDE, "--wait=false")


def reaches(kube: Kube, pod: str, host: str, port: int) -> bool:
    """Whether a pod gets a connection."""
    try:
        kube.run("exec", pod, "--", "python", "-c", _ASK, host, port)
    except KubectlFailed:
        return False
    return True


def test_who_has_no_business_with_a_server_does_not_reach_it(kube: Kube, outside: Kube) -> None:
    address = outside.get("pod", "outside")["status"]["podIP"]
    assert reaches(outside, "pod/outside", address, 8000), "the question itself is at fault"
    assert reaches(kube, "deployment/matcher", "kafka", 9092)
    assert reaches(kube, "deployment/downloader", "clips", 80)
    if not os.environ.get("CLUSTER_ENFORCES_POLICIES") and reaches(outside, "pod/outside", "kafka.gim", 9092):
        pytest.skip("the network of this cluster enforces no policies")
    denied = [
        (outside, "pod/outside", "kafka.gim", 9092),
        (outside, "pod/outside", "minio.gim", 9000),
        (kube, "deployment/matcher", "prometheus", 9090),
        (kube, "deployment/matcher", "clips", 80),
        (kube, "deployment/matcher", address, 8000),  # another network
        (kube, "deployment/downloader", address, 8000),  # the one that may go out, but not to private addresses
        (kube, "deployment/downloader", "169.254.169.254", 80),  # where clouds tell their secrets
    ]
    assert [(pod, host) for where, pod, host, port in denied if reaches(where, pod, host, port)] == []
