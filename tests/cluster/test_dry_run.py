"""Every sensible combination of components, shown to the apiserver: it takes them all, and warns of nothing."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.state import ROOT
from tests.cluster.kube import Kube, kubectl, require_cluster, wait_for
from tests.unit.k8s.render import K8S, Components, every_pair

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
DEFINITIONS = ROOT / ".tools" / "crds"


@pytest.fixture(scope="module")
def namespace() -> Iterator[Kube]:
    """The namespace alone, and the kinds that components use; those that were not there before go again."""
    require_cluster()
    kube = Kube()
    kube.run("apply", "--filename", K8S / "namespace.yaml")
    there = set(kube.run("get", "crds", "--output=name").split())
    kube.run("apply", "--server-side", "--filename", DEFINITIONS, seconds=120)
    mine = sorted(set(kube.run("get", "crds", "--output=name").split()) - there)
    wait_for(
        lambda: kube.run("wait", "--for=condition=Established", *mine, "--timeout=10s") if mine else "none", "kinds"
    )
    yield kube
    if mine:
        kube.run("delete", *mine)


@pytest.mark.parametrize("components", every_pair(), ids=lambda names: "+".join(names) or "base")
def test_the_apiserver_takes_it_and_warns_of_nothing(namespace: Kube, components: Components, tmp_path: Path) -> None:
    base = os.path.relpath(K8S, tmp_path.resolve())
    listed = "".join(f"  - {base}/components/{name}\n" for name in components)
    more = f"components:\n{listed}" if components else ""
    (tmp_path / "kustomization.yaml").write_text(f"namespace: gim\nresources:\n  - {base}\n{more}")
    done = subprocess.run(
        [kubectl(), "apply", "--dry-run=server", "--kustomize", tmp_path],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
