"""KEDA brings pods of every service for the messages that wait for it, and takes the last one away when none do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import System, overlay_with
from tests.cluster.kube import Kube, wait_for
from tests.cluster.work import assert_same_bytes, begin_again
from tests.e2e.undisturbed import Undisturbed

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

_SERVICES = ("downloader", "matcher", "propagator", "evaluator")
# Seconds in place of minutes, and a matcher for every message.
_AT_ONCE = """
- {op: replace, path: /spec/pollingInterval, value: 2}
- {op: replace, path: /spec/cooldownPeriod, value: 5}
- {op: remove, path: /spec/advanced}
- {op: replace, path: /spec/triggers/0/metadata/lagThreshold, value: "1"}
"""


@pytest.fixture
def by_messages(secured: Kube, system: System, tmp_path: Path) -> Iterator[Kube]:
    """All services are scaled by KEDA, which has a certificate too."""
    patches = [{"target": {"kind": "ScaledObject"}, "patch": _AT_ONCE}]
    overlay = overlay_with(["keda", "tls"], tmp_path, system, patches=patches)
    secured.run("apply", "--kustomize", overlay, seconds=600)
    yield secured
    secured.run("delete", "scaledobjects", "--all")


def replicas(kube: Kube) -> dict[str, int]:
    return {name: kube.get("deployment", name)["spec"]["replicas"] for name in _SERVICES}


def test_pods_come_with_the_messages_and_go_with_them(by_messages: Kube, clips: Undisturbed) -> None:
    kube = by_messages

    def nobody() -> bool:
        return not any(replicas(kube).values()) and not any(kube.pods(name) for name in _SERVICES)

    wait_for(nobody, "services to go where nothing waits")
    seen = dict.fromkeys(_SERVICES, 0)
    begin_again(kube, clips)
    wait_for(lambda: replicas(kube)["downloader"], "a downloader")

    def done() -> bool:
        for name, number in replicas(kube).items():
            seen[name] = max(seen[name], number)
        return nobody()

    wait_for(done, "all to be done and gone", 800)
    assert_same_bytes(kube, clips)
    assert min(seen[name] for name in ("downloader", "matcher", "propagator")) >= 1
    assert seen["evaluator"] == 0  # for which nothing has waited
    assert seen["matcher"] > 1
