"""From an empty cluster to training pairs, matches, metrics, a trained matcher and its scores."""

import re
from contextlib import closing

import pytest

from gim.rpc.client import MatcherClient
from gim.rpc.config import RpcConfig
from tests.cluster.bucket import opened_bucket
from tests.cluster.conftest import DEPLOYMENTS, STATEFUL, System
from tests.cluster.kube import Kube, named, restarts, value_of, wait_for
from tests.cluster.prometheus import Prometheus
from tests.cluster.work import assert_same_bytes, publish
from tests.e2e.undisturbed import Undisturbed

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_everything_is_ready_without_a_hand_and_nothing_was_started_twice(kube: Kube) -> None:
    for name in (*DEPLOYMENTS, *STATEFUL):
        assert set(restarts(kube.pods(name)).values()) == {0}, name
    assert all(job["status"].get("succeeded") for job in kube.get("jobs"))
    assert kube.get("cronjob", "trainer")["spec"]["suspend"] is True


def test_the_apiserver_warns_of_nothing(system: System) -> None:
    assert system.warnings == ""


def test_the_same_again_changes_nothing(system: System) -> None:
    kube = system.kube

    def generations() -> dict[str, object]:
        kinds = "deployments,statefulsets,cronjobs,jobs,services,configmaps,persistentvolumeclaims,poddisruptionbudgets"
        about = [each["metadata"] for each in kube.get(f"{kinds},networkpolicies")]
        # What has no generation changes by its version; a Service has neither a generation nor a status that moves.
        return {each["uid"]: each.get("generation", each["resourceVersion"]) for each in about}

    before, pods = generations(), {named(pod): restarts([pod]) for pod in kube.get("pods")}
    kube.run("diff", "--kustomize", system.overlay)  # ends with 1 where something would change
    system.apply()
    assert generations() == before
    assert {named(pod): restarts([pod]) for pod in kube.get("pods")} == pods


def test_published_videos_become_the_bytes_of_one_machine(kube: Kube, clips: Undisturbed) -> None:
    publish(kube, clips)
    assert_same_bytes(kube, clips)


def test_a_match_is_answered_over_grpc(kube: Kube) -> None:
    with opened_bucket(kube) as store:
        images = [store.get(key) for key in sorted(store.list("frames/")) if key.endswith(".jpg")][:2]
    with kube.forwarded("service/matcher-grpc", 50051) as port:
        with closing(MatcherClient(f"127.0.0.1:{port}", RpcConfig())) as client:
            assert "rootsift" in [each.name for each in client.list_matchers()]
            found = client.match(*images, matcher="rootsift")
    assert len(found.points) > 50


def test_the_services_say_what_they_did(kube: Kube, clips: Undisturbed) -> None:
    matcher = kube.metrics(kube.pod("matcher"))
    assert value_of(matcher, "gim_messages_total", stage="label", outcome="done") > 0
    assert value_of(matcher, "gim_labelled_pairs_total", matcher="rootsift") > 0
    assert value_of(kube.metrics(kube.pod("propagator")), "gim_training_pairs_total") > 0
    assert value_of(kube.metrics(kube.pod("downloader")), "gim_videos_total", outcome="failed") == 0


def test_prometheus_has_asked_every_pod(kube: Kube) -> None:
    with kube.forwarded("service/prometheus", 9090) as port:

        def seen() -> bool:
            up = {each["metric"].get("service") for each in Prometheus(port).instant("up == 1")}
            return {"downloader", "matcher", "propagator", "evaluator"} <= up

        wait_for(seen, "metrics of every service in Prometheus", 180)


def test_no_pod_has_a_right_it_does_not_need(kube: Kube) -> None:
    for pod in kube.get("pods"):
        if pod["metadata"]["labels"].get("app.kubernetes.io/name") == "secrets":
            continue
        mounts = [mount["mountPath"] for each in pod["spec"]["containers"] for mount in each.get("volumeMounts", ())]
        assert not [path for path in mounts if path.startswith("/var/run/secrets/kubernetes.io")], named(pod)
    with pytest.raises(Exception, match=re.escape("Read-only file system")):
        kube.run("exec", "deployment/matcher", "--", "python", "-c", "open('/opt/x', 'w')")
