"""The system on a real cluster: applied once, used by all tests of this folder, deleted at the end."""

import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.cluster.kube import Kube, KubectlFailed, named, require_cluster, wait_for
from tests.cluster.work import begin_again
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
    "test_secured",
    "test_keda",
)
collect_ignore = [] if os.environ.get("KEDA") else ["test_keda.py"]  # of those who have it


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


def overlay_with(components: Sequence[str], folder: Path, system: System, **more: object) -> Path:
    """The system's overlay and more components, with the images that this cluster has.

    Args:
        components: names, in their order.
        folder: gets the overlay.
        system: what has been applied.
        more: of the kustomization.
    """
    given = yaml.safe_load((system.overlay / "kustomization.yaml").read_text(encoding="utf-8"))
    here = folder.resolve()
    overlay = {
        "resources": [os.path.relpath(system.overlay.resolve(), here)],
        "components": [os.path.relpath(ROOT / "k8s" / "components" / name, here) for name in components],
        "images": given.get("images", []),
        **more,
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def secured(system: System, clips: Undisturbed, tmp_path_factory: pytest.TempPathFactory) -> Kube:
    """The system after what k8s/README.md says of switching `tls` on, which is said while there is work."""
    overlay = overlay_with(["tls"], tmp_path_factory.mktemp("secured"), system)
    begin_again(system.kube, clips)
    system.kube.run("delete", "jobs", "--selector", "app.kubernetes.io/component=setup")
    _, warnings = system.kube.said("apply", "--kustomize", overlay, seconds=600)
    assert warnings == ""
    system.wait_ready()
    return system.kube


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
    """What there is to tell, within a minute or two: a report must not take the time of the tests that follow."""
    deadline = time.monotonic() + 90

    def told(*command: object) -> str:
        if time.monotonic() > deadline:
            return "(not asked for: what came before took too long)"
        try:
            return kube.run(*command, seconds=20)
        except (KubectlFailed, subprocess.TimeoutExpired) as error:
            return str(error)

    said = [told("get", "pods,jobs,pvc", "--output=wide"), told("get", "events", "--sort-by=.lastTimestamp")]
    for pod in re.findall(r"^pod/\S+", told("get", "pods", "--output=name"), re.MULTILINE):
        said += [f"--- {pod}", told("logs", pod, "--all-containers", "--tail=20")]
    return "\n".join(said)
