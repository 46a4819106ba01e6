"""k8s/README.md is true: it names every component, its overlay renders, its commands exist."""

import re
import shlex

import pytest
import typer
import yaml

from gim.cli.main import build_app
from tests.unit.k8s.render import COMPONENTS, K8S, of_kind, pods, render, render_overlay
from tests.unit.k8s.validate import Schemas

_TEXT = (K8S / "README.md").read_text()
_BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", _TEXT, re.MULTILINE | re.DOTALL)


def test_every_component_has_a_line() -> None:
    (table,) = re.findall(r"^\| component \|.*?\n\n", _TEXT, re.MULTILINE | re.DOTALL)
    named = re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)
    assert sorted(named) == [name for name in COMPONENTS if name != "kafka-logins"]
    heads = {name: (K8S / "components" / name / "kustomization.yaml").read_text() for name in COMPONENTS}
    assert all(head.startswith("# ") for head in heads.values())


def test_the_overlay_renders_and_its_settings_win(schemas: Schemas) -> None:
    (text,) = re.findall(r"<!-- overlay:begin -->\n```yaml\n(.*?)```\n<!-- overlay:end -->", _TEXT, re.DOTALL)
    overlay = yaml.safe_load(text)
    components = tuple(path.rpartition("/")[2] for path in overlay["components"])
    more = yaml.safe_dump({name: overlay[name] for name in ("images", "patches")})
    documents = render_overlay(components, more)
    assert [problem for document in documents if (problem := schemas.problem(document))] == []
    configured = {each["metadata"]["name"]: each["data"] for each in of_kind(documents, "ConfigMap")}
    assert configured["gim-weights"] == {"NAMES": "xfeat xfeat_lighterglue"}
    (settings,) = [data for name, data in configured.items() if name.startswith("gim-settings-")]
    assert settings["GIM_MATCHERS"] == "xfeat_lighterglue"
    images = {container["image"] for pod in pods(documents) for container in pod.containers}
    assert "registry.example.org/gim/matcher:0.1.0" in images
    assert not any(image.startswith("gim/downloader") for image in images)


def test_addresses_and_logins_of_external_servers_come_from_the_overlay() -> None:
    data = {"GIM_S3__ENDPOINT": "https://s3.example.org", "GIM_KAFKA__BOOTSTRAP_SERVERS": "a.example.org:9093"}
    servers = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "gim-servers"}, "data": data}
    more = yaml.safe_dump({"patches": [{"patch": yaml.safe_dump(servers)}]})
    for components in [("external-kafka", "external-s3"), ("tls", "external-kafka", "external-s3")]:
        documents = render_overlay(components, more)
        (given,) = [
            each["data"] for each in of_kind(documents, "ConfigMap") if each["metadata"]["name"] == "gim-servers"
        ]
        assert data.items() <= given.items()
        assert given["GIM_KAFKA__SECURITY_PROTOCOL"] == "SASL_SSL"
        assert {given[name] for name in ("GIM_S3__CA_FILE", "GIM_KAFKA__CA_FILE", "GIM_KAFKA__CERT_FILE")} == {""}
        assert {each["metadata"]["name"] for each in of_kind(documents, "StatefulSet")} == {
            "prometheus",
            "alertmanager",
        }
        assert not {"minio-setup", "kafka-rules"} & {pod.name for pod in pods(documents)}


def test_files_and_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#\s]+)", _TEXT):
        assert (K8S / link).exists(), link
    for folder in re.findall(r"^\| `([\w./-]+/[\w./-]*|kustomization.yaml)`", _TEXT, re.MULTILINE):
        assert (K8S / folder).exists(), folder


def test_secrets_that_are_told_of_are_those_that_are_made() -> None:
    told = set(re.findall(r"^\| `([a-z0-9-]+)`", _TEXT, re.MULTILINE)) - set(COMPONENTS)
    (maker,) = [pod for pod in pods(render()) if pod.name == "secrets"]
    made = {word.partition("=")[2] for word in maker.containers[0]["args"]}
    assert {name for name in made if not name.startswith("s3-")} <= told


def test_jobs_that_are_deleted_before_an_upgrade_are_those_of_the_base() -> None:
    (line,) = re.findall(r"^kubectl -n gim delete job (.*) --ignore-not-found$", _TEXT, re.MULTILINE)
    assert set(line.split()) == {job["metadata"]["name"] for job in of_kind(render(), "Job")}


@pytest.mark.parametrize("line", [line for _, code in _BLOCKS for line in code.splitlines() if line.startswith("gim ")])
def test_commands_of_gim_are_accepted(line: str) -> None:
    words = shlex.split(line)[1:]
    typer.main.get_command(build_app()).commands[words[0]].make_context(words[0], words[1:])
