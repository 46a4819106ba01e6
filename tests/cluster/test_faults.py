"""Pods that are killed, moved and multiplied in mid-work: the bytes are those of an undisturbed run."""

import time

import pytest

from tests.cluster.conftest import System
from tests.cluster.kube import Kube, is_ready, named, value_of, wait_for
from tests.cluster.work import assert_same_bytes, begin_again
from tests.e2e.undisturbed import Undisturbed

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def is_at_work(kube: Kube, name: str) -> bool:
    return any(
        value_of(kube.metrics(named(pod)), "gim_in_hand_seconds") > 0 for pod in kube.pods(name) if is_ready(pod)
    )


@pytest.mark.parametrize("name", ["downloader", "matcher", "propagator"])
@pytest.mark.parametrize("how", ["--grace-period=0 --force", "--wait=false"])
def test_a_pod_deleted_in_mid_work_costs_nothing(kube: Kube, clips: Undisturbed, name: str, how: str) -> None:
    begin_again(kube, clips)
    wait_for(lambda: is_at_work(kube, name), f"a {name} at work", pause_seconds=0.1)
    kube.run("delete", "pod", kube.pod(name), *how.split())
    assert_same_bytes(kube, clips)


@pytest.mark.parametrize("name", ["kafka", "minio"])
def test_a_server_killed_in_mid_run_costs_nothing(kube: Kube, clips: Undisturbed, name: str) -> None:
    begin_again(kube, clips)
    wait_for(lambda: is_at_work(kube, "matcher"), "a matcher at work", pause_seconds=0.1)
    kube.run("delete", "pod", f"{name}-0", "--grace-period=0", "--force")
    kube.wait_rolled_out(f"statefulset/{name}")
    assert_same_bytes(kube, clips)


def test_matchers_scaled_up_and_down_in_mid_run_lose_nothing(kube: Kube, clips: Undisturbed) -> None:
    begin_again(kube, clips)
    kube.run("scale", "deployment/matcher", "--replicas=3")
    wait_for(lambda: sum(map(is_ready, kube.pods("matcher"))) == 3, "three matchers")
    time.sleep(5)  # they share the partitions out
    kube.run("scale", "deployment/matcher", "--replicas=1")
    assert_same_bytes(kube, clips)


def test_a_drained_node_gives_its_work_back(system: System, clips: Undisturbed) -> None:
    kube = system.kube
    (node, *_) = [named(each) for each in kube.get("nodes")]
    begin_again(kube, clips)
    wait_for(lambda: is_at_work(kube, "matcher"), "a matcher at work", pause_seconds=0.1)
    try:
        kube.run(
            "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=300s",
            "--pod-selector=app.kubernetes.io/part-of=gim", seconds=330,
        )  # fmt: skip
        assert not [pod for pod in kube.get("pods", selector="app.kubernetes.io/component=service") if is_ready(pod)]
    finally:
        kube.run("uncordon", node)
    system.wait_ready()
    assert_same_bytes(kube, clips)
