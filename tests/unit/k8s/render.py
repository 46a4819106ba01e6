"""The manifests as `kubectl apply -k` sees them: the base, and overlays of components, each rendered once a process."""

import functools
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from tests.architecture.tree import ROOT
from tests.servers import needs_tool
from tests.unit.k8s.validate import read_documents, title

K8S = ROOT / "k8s"
COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir() if path.is_dir())
PARTS = {"kafka-logins"}  # of other components, never given by themselves

Document = dict[str, Any]
Components = tuple[str, ...]

# What a site chooses, and for each choice what it may be, in the order in which components are given.
CHOICES: list[list[Components]] = [
    [(), ("dev-small",), ("dev-small", "kind"), ("spread",)],
    [(), ("gpu",), ("weights", "gpu")],
    [
        (),
        ("a100-trainer",),
        ("jobset",),
        ("kubeflow-trainer",),
        ("a100-trainer", "jobset", "kubeflow-trainer", "kueue"),
    ],
    [(), ("hpa",), ("keda",)],
    [(), ("prometheus-operator",)],
    [(), ("tls",)],
    [(), ("network-policies",)],
    [(), ("external-kafka",), ("strimzi",)],
    [(), ("external-s3",)],
]
_NEEDED = {"a100-trainer": "gpu"}  # component -> one that has to come before it


def every_pair() -> list[Components]:
    """Combinations of components such that every two choices meet in one of them; the base comes first."""
    places = range(len(CHOICES))
    missing = {((i, a), (j, b)) for i, j in combinations(places, 2) for a in CHOICES[i] for b in CHOICES[j]}
    rows: list[dict[int, Components]] = [dict.fromkeys(places, ())]
    missing -= set(combinations(rows[0].items(), 2))
    while missing:
        row = dict(min(missing))  # one pair that is missing, and with it as many others as there is room for
        for place in places:
            if place not in row:
                row[place] = max(CHOICES[place], key=lambda choice: len(missing & _pairs_with(row, place, choice)))
        rows.append(dict(sorted(row.items())))
        missing -= set(combinations(rows[-1].items(), 2))
    return list(dict.fromkeys(_given(row.values()) for row in rows))


def _pairs_with(row: dict[int, Components], place: int, choice: Components) -> set[Any]:
    new = (place, choice)
    return {(old, new) if old < new else (new, old) for old in row.items()}


def _given(row: Iterable[Components]) -> Components:
    names = [name for choice in row for name in choice]
    for name, needed in _NEEDED.items():
        if name in names and needed not in names:
            names.insert(names.index(name), needed)
    return tuple(names)


def render(*components: str) -> list[Document]:
    """Every object of the base with these components; not to be changed."""
    return _rendered(components, "")


def render_overlay(components: Components, more: str) -> list[Document]:
    """The same, with `more` at the end of the overlay's kustomization.yaml."""
    return _rendered(components, more)


@functools.cache
def _rendered(components: Components, more: str) -> list[Document]:
    kubectl = str(needs_tool("kubectl"))
    with tempfile.TemporaryDirectory(prefix="overlay-") as name:
        folder = Path(name)
        base = os.path.relpath(K8S, folder)
        lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization", "namespace: gim"]
        lines += ["resources:", f"  - {base}"]
        lines += ["components:", *(f"  - {base}/components/{each}" for each in components)] if components else []
        (folder / "kustomization.yaml").write_text("\n".join([*lines, more, ""]))
        done = subprocess.run([kubectl, "kustomize", name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr  # a warning of kustomize is something that will be gone
    return read_documents(done.stdout)


@dataclass(frozen=True)
class Pod:
    """A pod that some object makes."""

    owner: str  # as `title` says
    kind: str
    labels: dict[str, str]
    spec: Document
    claims: frozenset[str] = frozenset()  # of its StatefulSet: each pod's own

    @property
    def name(self) -> str:
        """Who it is, by the label that Services and policies select."""
        return self.labels.get("app.kubernetes.io/name", "")

    @property
    def containers(self) -> list[Document]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def pods(documents: list[Document]) -> list[Pod]:
    """Every pod template, however deep it lies."""
    found = []
    for document in documents:
        claims = frozenset(claim["metadata"]["name"] for claim in _claims(document))
        for metadata, spec in _templates(document):
            found.append(Pod(title(document), document["kind"], metadata.get("labels", {}), spec, claims))
    return found


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    """The objects of some kinds."""
    return [document for document in documents if document["kind"] in kinds]


def _claims(document: Document) -> list[Document]:
    return document["spec"].get("volumeClaimTemplates", []) if document["kind"] == "StatefulSet" else []


def _templates(value: Any) -> Iterator[tuple[Document, Document]]:
    if isinstance(value, list):
        for item in value:
            yield from _templates(item)
    elif isinstance(value, dict):
        spec = value.get("spec")
        if isinstance(spec, dict) and isinstance(spec.get("containers"), list):
            yield value.get("metadata", {}), spec
        else:
            for item in value.values():
                yield from _templates(item)
