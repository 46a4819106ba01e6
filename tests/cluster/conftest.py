"""The system on a real cluster: applied once, used by all tests of this folder, deleted at the end."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.kube import Kube, KubectlFailed, named, require_cluster, wait_for
from tests.e2e.undisturbed import Undisturbed, undisturbed_run

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENTS = ("downloader", "matcher", "propagator", "evaluator", "operator")
STATEFUL = ("kafka", "minio", "prometheus")
# One cluster for all: first what is said of an undisturbed one, last what disturbs it.
_ORDER = (
    "test_dry_run",
    "test_pipeline",
    "test_training",
    "test_runbook",
    "test_simulation",
    "test_scaling",
    "test_faults",
)


@dataclass(frozen=True)
class System:
    """The applied system."""

    kube: Kube
    overlay: Path
    warnings: str  # of the first `apply`

    def apply(self) -> None:
        self.kube.run("apply", "--kustomize", self.overlay, seconds=600)

    def wait_ready(self) -> None:
        """Wait for every pod, and for the end of the Jobs that set things up."""
        parts = [*(f"deployment/{name}" for name in DEPLOYMENTS), *(f"statefulset/{name}" for name in STATEFUL)]
        self.kube.wait_rolled_out(*parts, seconds=900)
        setup = ["--selector", "app.kubernetes.io/component=setup"]
        self.kube.run("wait", "--for=condition=Complete", "job", *setup, "--timeout=300s", seconds=310)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Two clips, and what one machine makes of them."""
    return undisturbed_run(tmp_path_factory.mktemp("undisturbed"), num_clips=2, seconds=6)


@pytest.fixture(scope="session")
def system(clips: Undisturbed) -> Iterator[System]:
    require_cluster()
    overlay = Path(os.environ.get("CLUSTER_OVERLAY", ROOT / "tests" / "cluster" / "overlay"))
    kube = Kube()
    _, warnings = kube.said("apply", "--kustomize", overlay, seconds=600)
    for clip in clips.clips:  # each in one of its own, which holds 1 MiB
        made = kube.run("create", "configmap", clip.stem, f"--from-file={clip}", "--dry-run=client", "--output=yaml")
        kube.run("apply", "--server-side", "--filename", "-", given=made)
    here = System(kube, overlay, warnings)
    here.wait_ready()
    yield here
    if not os.environ.get("CLUSTER_KEPT"):  # to look at, or for another round
        kube.run("delete", "--kustomize", overlay, "--ignore-not-found", seconds=900)
        assert_nothing_left(kube)


def assert_nothing_left(kube: Kube) -> None:
    """That deleting what was applied has deleted what came of it: Secrets, volumes, what belongs to no namespace."""
    assert kube.namespace not in [named(each) for each in kube.get("namespaces")]
    assert kube.get("priorityclasses", selector="app.kubernetes.io/part-of=gim") == []

    def volumes() -> list[str]:
        claims = [(named(each), each["spec"].get("claimRef", {})) for each in kube.get("persistentvolumes")]
        return [name for name, claim in claims if claim.get("namespace") == kube.namespace]

    wait_for(lambda: not volumes(), "volumes to go")


@pytest.fixture(scope="session")
def kube(system: System) -> Kube:
    return system.kube


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests of this folder, where they stand among the others."""
    places = [place for place, item in enumerate(items) if item.path.parent == ROOT / "tests" / "cluster"]
    ordered = sorted((items[place] for place in places), key=lambda item: _ORDER.index(item.path.stem))
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """What failed on a cluster is told by its pods: their states and last words go into the report."""
    report = (yield).get_result()
    if report.failed and "system" in getattr(item, "fixturenames", ()):
        report.sections.append(("Cluster", _state(Kube())))


def _state(kube: Kube) -> str:
    try:
        told = [
            kube.run("get", "pods,jobs,pvc", "--output", "wide"),
            kube.run("get", "events", "--sort-by=.lastTimestamp"),
        ]
        for pod in kube.get("pods"):
            told.append(f"--- {named(pod)}")
            told.append(kube.run("logs", named(pod), "--all-containers", "--tail=20"))
    except KubectlFailed as error:
        told = [str(error)]
    return "\n".join(told)
