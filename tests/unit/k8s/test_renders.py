"""Every sensible combination of components is valid, and fits together: names, ports, settings, images, selectors."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import typer
import yaml
from typer.core import TyperGroup

from gim.cli.main import build_app
from gim.errors import ConfigError
from gim.settings import Settings
from tests.architecture.tree import ROOT
from tests.unit.k8s.render import (
    CHOICES,
    COMPONENTS,
    K8S,
    PARTS,
    Document,
    Pod,
    every_pair,
    of_kind,
    pods,
    render,
    render_overlay,
)
from tests.unit.k8s.validate import Schemas, title

COMBINATIONS = [pytest.param(names, id="+".join(names) or "base") for names in every_pair()]
IMAGES = {
    image["name"]: image["newTag"]
    for image in yaml.safe_load((K8S / "images/kustomization.yaml").read_text())["images"]
}
_ANNOTATION_BYTES = 256 * 1024  # `kubectl apply` writes down what it applied, in an annotation of the object
_JOB_LABELS = "batch.kubernetes.io/"  # that the cluster itself gives the pods of a Job
# Who reads which servers' settings; the others have both.
_READS_ONE = {"minio-setup": "S3", "kafka-topics": "KAFKA", "kafka-rules": "KAFKA"}


@pytest.fixture(params=COMBINATIONS)
def documents(request: pytest.FixtureRequest) -> list[Document]:
    return render(*request.param)


def test_every_component_is_in_a_combination() -> None:
    given = {name for choices in CHOICES for choice in choices for name in choice}
    assert given == set(COMPONENTS) - PARTS
    assert {name for names in every_pair() for name in names} == given


def test_every_object_is_valid(documents: list[Document], schemas: Schemas) -> None:
    assert [problem for document in documents if (problem := schemas.problem(document))] == []


def test_the_base_is_plain_resources(schemas: Schemas) -> None:
    assert [title(document) for document in render() if not schemas.is_builtin(document)] == []
    kinds = {document["kind"] for document in render()}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding", "Ingress", "StorageClass", "PersistentVolume"}


def test_what_is_wrong_is_found(schemas: Schemas) -> None:
    def deployment(**pod: Any) -> Document:
        container = {"name": "c", "image": "c:1"}
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container], **pod}}
        spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}

    assert schemas.problem(deployment()) == ""
    assert "replicaz" in schemas.problem({**deployment(), "replicaz": 1})
    assert "spec.template.spec" in schemas.problem(deployment(volumez=[]))
    assert "spec.template.spec" in schemas.problem(deployment(hostNetwork="yes"))
    assert "no such kind" in schemas.problem({**deployment(), "apiVersion": "apps/v1beta1"})
    scaled = next(document for document in render("keda") if document["kind"] == "ScaledObject")
    assert schemas.problem(scaled) == ""
    assert "maxReplicas" in schemas.problem({**scaled, "spec": {**scaled["spec"], "maxReplicas": 3}})


def test_objects_are_in_the_namespace_named_once_and_small_enough_to_apply(documents: list[Document]) -> None:
    cluster_wide = {"Namespace", "PriorityClass"}  # of custom kinds kustomize does not know; the server drops it
    for document in documents:
        expected = None if document["kind"] in cluster_wide else "gim"
        assert document["metadata"].get("namespace") == expected, title(document)
        assert len(json.dumps(document)) < _ANNOTATION_BYTES, title(document)
    counts = Counter((document["apiVersion"], title(document)) for document in documents)
    assert [name for name, count in counts.items() if count > 1] == []


def test_pods_say_what_they_are_part_of(documents: list[Document]) -> None:
    for pod in pods(documents):
        assert pod.labels.get("app.kubernetes.io/part-of") == "gim", pod.owner
        assert pod.name, pod.owner
        assert pod.labels.get("app.kubernetes.io/component") in {"service", "platform", "setup"}, pod.owner


def test_images_are_named_once_and_never_latest(documents: list[Document]) -> None:
    for pod in pods(documents):
        for container in pod.containers:
            name, _, tag = container["image"].partition(":")
            assert IMAGES.get(name) == tag, f"{pod.owner}: {container['image']}"
            assert container.get("imagePullPolicy", "IfNotPresent") == "IfNotPresent", pod.owner


def test_images_of_the_project_have_its_version() -> None:
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    built = {f"gim/{path.parent.name}" for path in (ROOT / "services").glob("*/Dockerfile")}
    assert {name for name in IMAGES if name.startswith("gim/")} == built
    assert {IMAGES[name] for name in built} == {version[1]}
    assert all(re.search(r"\d", tag) for tag in IMAGES.values())


def test_settings_are_accepted(documents: list[Document]) -> None:
    configured = {document["metadata"]["name"]: document["data"] for document in of_kind(documents, "ConfigMap")}
    for pod in pods(documents):
        for container in pod.containers:
            environment = _environment(container, configured)
            given = {name: value for name, value in environment.items() if name.startswith("GIM_")}
            words = [*container.get("command", []), *container.get("args", [])]
            sets = [value for flag, value in pairwise(words) if flag == "--set"]
            try:
                Settings.load(sets, environ=given)
            except ConfigError as error:
                pytest.fail(f"{pod.owner}: {error}")
            _check_files(pod, container, given)


def test_commands_of_gim_are_accepted() -> None:
    every = render("tls", "weights")
    lines = {(*each.get("command", []), *each.get("args", [])) for pod in pods(every) for each in pod.containers}
    ours = sorted(words[1:] for words in lines if words and words[0] == "gim")
    assert len(ours) > 3
    for words in ours:
        command, rest = typer.main.get_command(build_app()), list(words)
        while isinstance(command, TyperGroup):
            command = command.commands[rest.pop(0)]
        command.make_context(" ".join(words), rest)


def _environment(container: Document, configured: dict[str, dict[str, str]]) -> dict[str, str]:
    environment: dict[str, str] = {}
    for source in container.get("envFrom", []):
        environment |= configured[source["configMapRef"]["name"]]
    return environment | {entry["name"]: entry.get("value", "given") for entry in container.get("env", [])}


def _check_files(pod: Pod, container: Document, given: dict[str, str]) -> None:
    """What a setting names is a file that is mounted."""
    mounted = tuple(f"{mount['mountPath']}/" for mount in container.get("volumeMounts", []))
    section = _READS_ONE.get(pod.name, "")
    for name, value in given.items():
        if name.endswith("_FILE") and value and name.startswith(f"GIM_{section}"):
            assert value.startswith(mounted), f"{pod.owner}: {name} = {value} is not mounted"


def test_references_lead_somewhere(documents: list[Document]) -> None:
    names = {kind: {each["metadata"]["name"] for each in of_kind(documents, kind)} for kind in _REFERRED}
    for pod in pods(documents):
        for kind, name in _references(pod):
            assert name in names[kind], f"{pod.owner}: there is no {kind} {name}"
        volumes = {volume["name"] for volume in pod.spec.get("volumes", [])}
        assert not volumes & pod.claims, pod.owner
        mounted = {mount["name"] for container in pod.containers for mount in container.get("volumeMounts", [])}
        assert mounted == volumes | pod.claims, f"{pod.owner}: volumes and mounts differ"


_REFERRED = ("ConfigMap", "PersistentVolumeClaim", "ServiceAccount", "PriorityClass")


def _references(pod: Pod) -> Iterator[tuple[str, str]]:
    spec = pod.spec
    yield "PriorityClass", spec.get("priorityClassName", "none")
    if "serviceAccountName" in spec:
        yield "ServiceAccount", spec["serviceAccountName"]
    for volume in spec.get("volumes", []):
        for source in [volume, *volume.get("projected", {}).get("sources", [])]:
            if "configMap" in source:
                yield "ConfigMap", source["configMap"]["name"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for container in pod.containers:
        for source in container.get("envFrom", []):
            yield "ConfigMap", source["configMapRef"]["name"]


def test_services_select_pods_that_have_their_ports(documents: list[Document]) -> None:
    for service in of_kind(documents, "Service"):
        selector = {k: v for k, v in service["spec"]["selector"].items() if not k.startswith(_JOB_LABELS)}
        chosen = _selected(documents, selector)
        assert chosen, f"{title(service)} selects nobody"
        for pod in chosen:
            ports = _ports(pod)
            for port in service["spec"]["ports"]:
                target = port.get("targetPort", port["port"])
                assert target in ports or target in ports.values(), (
                    f"{title(service)}: {pod.owner} has no port {target}"
                )
                number = ports.get(target, target)
                assert number == port["port"], f"{title(service)}: {port['port']} leads to {number}"


def test_workloads_and_budgets_select_their_own_pods_only(documents: list[Document]) -> None:
    for document in of_kind(documents, "Deployment", "StatefulSet"):
        chosen = {pod.owner for pod in _selected(documents, document["spec"]["selector"]["matchLabels"])}
        assert chosen == {title(document)}
    for document in of_kind(documents, "PodDisruptionBudget"):
        chosen = {pod.owner for pod in _selected(documents, document["spec"]["selector"]["matchLabels"])}
        assert len(chosen) == 1, f"{title(document)}: {chosen}"
        assert chosen.pop().endswith(f"/{document['metadata']['name']}")


def test_stateful_sets_are_governed_by_a_service_that_is_there(documents: list[Document]) -> None:
    services = {service["metadata"]["name"] for service in of_kind(documents, "Service")}
    assert {each["spec"]["serviceName"] for each in of_kind(documents, "StatefulSet")} <= services


def test_what_scales_has_a_target(documents: list[Document]) -> None:
    known = {title(document) for document in documents}
    for document in of_kind(documents, "HorizontalPodAutoscaler", "ScaledObject"):
        target = document["spec"]["scaleTargetRef"]
        assert f"{target.get('kind', 'Deployment')}/{target['name']}" in known
        scaled = next(each for each in of_kind(documents, "Deployment") if each["metadata"]["name"] == target["name"])
        assert "replicas" not in scaled["spec"], f"{title(document)}: every apply would set the number back"
    logins = {each["metadata"]["name"] for each in of_kind(documents, "TriggerAuthentication")}
    for document in of_kind(documents, "ScaledObject"):
        for trigger in document["spec"]["triggers"]:
            assert {trigger["authenticationRef"]["name"]} <= logins if "authenticationRef" in trigger else True


def test_what_serves_is_probed_and_has_time_to_end(documents: list[Document]) -> None:
    for pod in pods(documents):
        for container in pod.spec["containers"]:
            named = {port["name"] for port in container.get("ports", [])}
            probes = {name: container[name] for name in container if name.endswith("Probe")}
            for name, probe in probes.items():
                port = (probe.get("httpGet") or probe["tcpSocket"])["port"]
                assert port in named, f"{pod.owner}: {name} asks {port}"
            if named and pod.kind in {"Deployment", "StatefulSet"}:
                assert set(probes) == {"startupProbe", "readinessProbe", "livenessProbe"}, pod.owner
            entries = {entry["name"]: entry.get("value", "") for entry in container.get("env", [])}
            grace = float(entries.get("GIM_SERVICE__GRACE_SECONDS", 0))
            assert pod.spec.get("terminationGracePeriodSeconds", 30) > grace, pod.owner


def test_the_base_fits_on_two_cores() -> None:
    asked = 0.0
    for pod in pods(render()):
        if pod.kind in {"Deployment", "StatefulSet"}:
            asked += sum(_cores(container["resources"]["requests"]["cpu"]) for container in pod.spec["containers"])
    assert asked < 1.6


def test_the_same_is_rendered_again() -> None:
    assert render() == render_overlay((), "# the same")


def _selected(documents: list[Document], selector: dict[str, str]) -> list[Pod]:
    return [pod for pod in pods(documents) if selector.items() <= pod.labels.items()]


def _ports(pod: Pod) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for each in pod.containers for port in each.get("ports", [])}


def _cores(quantity: str | int) -> float:
    text = str(quantity)
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)
